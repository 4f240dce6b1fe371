package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// SchemaName is the daemon's schema; everything that awa-counterd made in a database is in it, but for the replication slot and the
// publication.
const SchemaName = "awa_counterd"

// DDL makes the schema. It is idempotent, and runs as one transaction. DROP SCHEMA locks the tables in the order in which they were made:
// who reads two of them locks them in that order as well.
const DDL = `
create schema if not exists awa_counterd;
comment on schema awa_counterd is 'awa-counterd: made by the daemon, removed with it';

create table if not exists awa_counterd.leader (
	awa_schema    text not null,
	beat          bigint not null default 0,
	instance      text not null,
	host          text not null,
	pid           integer not null,
	version       text not null,
	leads_since   timestamptz not null default now(),
	heartbeat_at  timestamptz not null default now(),
	state         text not null default 'starting',
	max_staleness interval not null default '2s',
	primary key (awa_schema, beat)
);
comment on table awa_counterd.leader is 'who keeps the counters of which awa schema; heartbeat_at and beat move with every token';
comment on column awa_counterd.leader.max_staleness is 'the leader''s own bound, by which a standby judges its heartbeat';

create table if not exists awa_counterd.lead (
	awa_schema text primary key,
	instance   text not null,
	holds      boolean not null default false,
	leaving    boolean not null default false
);
comment on table awa_counterd.lead is 'which instance leads; each correction looks here, so it is written only when something changes';
comment on column awa_counterd.lead.holds is 'corrections are held back while awa-counterd finish moves them to awa''s own rows';

create table if not exists awa_counterd.checkpoint (
	awa_schema        text primary key,
	position          pg_lsn not null,
	persisted_at      timestamptz not null default now(),
	persisted_by      text not null,
	slot_name         text not null,
	publications      oid[] not null,
	publication_state text not null,
	system_identifier text not null,
	timeline          integer not null,
	relations         oid[] not null,
	awa_shape         text not null,
	last_token        bigint not null,
	unseen_xids       bigint[] not null,
	trusted           boolean not null,
	reason            text not null,
	last_audit_at     timestamptz,
	last_old_prune_at timestamptz,
	quiet_for         interval not null default '0'
);
comment on table awa_counterd.checkpoint is 'where the books stand: everything up to position is in awa_counterd.books';
comment on column awa_counterd.checkpoint.publication_state is 'changes with every ALTER of the publications, and with those of awa''s tables that may have changed rows; then everything is scanned afresh';

comment on column awa_counterd.checkpoint.last_old_prune_at is 'when a pre-#290 leader emptied a ring slot last';
comment on column awa_counterd.checkpoint.quiet_for is 'for so long a daemon has watched every change, by its own clock, and seen no pre-#290 binary at work';

create table if not exists awa_counterd.books (
	awa_schema    text not null,
	ready_slot    integer not null,
	queue         text not null,
	priority      smallint not null,
	enqueue_shard smallint not null,
	rows          bigint not null,
	counter       bigint not null,
	pending       bigint not null,
	buckets       smallint[] not null,
	counts        bigint[] not null,
	primary key (awa_schema, ready_slot, queue, priority, enqueue_shard)
) with (fillfactor = 70);
comment on column awa_counterd.books.rows is 'rows of done_entries in the group at checkpoint.position';
comment on column awa_counterd.books.counter is 'what a reader of awa gets for the group at that position: pending and the sum of counts';
comment on column awa_counterd.books.pending is 'the sum of awa''s ledger for the group';
comment on column awa_counterd.books.counts is 'awa''s counter rows of the group, one for each of buckets';

create table if not exists awa_counterd.uncounted_writes (
	awa_schema   text not null,
	queue        text not null,
	kind         text not null,
	rows_off     bigint not null,
	transactions bigint not null,
	per_second   double precision not null default 0,
	last_at      timestamptz not null,
	last_lsn     pg_lsn not null,
	primary key (awa_schema, queue, kind)
);

create table if not exists awa_counterd.marker_changes (
	awa_schema text not null,
	place      smallint not null,
	number     bigint not null,
	at         timestamptz not null default clock_timestamp(),
	is_set     boolean not null,
	reason     text not null default '',
	who        text not null default '',
	primary key (awa_schema, place)
);
comment on table awa_counterd.marker_changes is 'the last 500 times that the trust marker of a schema was set or cleared; place is number modulo 500';
comment on column awa_counterd.marker_changes.who is 'the process that did it; empty: not known';

create table if not exists awa_counterd.grants (
	awa_schema text not null,
	role_name  text not null,
	granted    text not null,
	primary key (awa_schema, role_name, granted)
);
comment on table awa_counterd.grants is 'rights on awa''s objects that awa-counterd setup granted, for teardown to revoke those and no others';

comment on table awa_counterd.uncounted_writes is 'writes that left a counter wrong';
comment on column awa_counterd.uncounted_writes.kind is 'rows, prune: a pre-#290 binary did it; counter: a clamp, a rebuild, a migration or a person';
`

// Conn is what this package needs of a connection; a *pgx.Conn is one.
type Conn interface {
	Begin(ctx context.Context) (pgx.Tx, error)
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Ensure makes the schema unless it is there. It asks first: a role with the least rights may use
// what a DBA has made, and must not need the right to make it.
func Ensure(ctx context.Context, c Conn, awaSchema string) error {
	complete, err := Complete(ctx, c)
	if err != nil || complete {
		return err
	}
	err = ensure(ctx, c, awaSchema)
	if pg.IsDenied(err) {
		if there, e := Exists(ctx, c); e == nil && there {
			return nil
		}
	}
	return err
}

func ensure(ctx context.Context, c Conn, awaSchema string) error {
	tx, err := c.Begin(ctx)
	if err != nil {
		return fmt.Errorf("create schema %s: %w", SchemaName, err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	// Two that start at once must not both make it: IF NOT EXISTS does not keep them apart.
	if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended('awa_counterd.setup', 0))`); err != nil {
		return fmt.Errorf("create schema %s: %w", SchemaName, err)
	}
	ddl, err := SchemaScript(ctx, tx, awaSchema)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, ddl); err != nil {
		return fmt.Errorf("create schema %s: %w", SchemaName, err)
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("create schema %s: %w", SchemaName, err)
	}
	return nil
}

// CheckOwner refuses a schema of our name that somebody made who is neither the daemon's role, nor a superuser, nor a member of
// the owner of the database or of awa's table rows: triggers on tables of theirs would run as that role. "" is the current user.
func CheckOwner(ctx context.Context, c Conn, role string, rows uint32) error {
	var what, owner string
	err := c.QueryRow(ctx, `
		select o.what, r.rolname::text from (
			select 'schema awa_counterd' as what, nspowner as owner, 0 as n from pg_namespace where nspname = 'awa_counterd'
			union all select 'table awa_counterd.' || relname, relowner, 1 from pg_class where relnamespace = to_regnamespace('awa_counterd') and relkind <> 'i') o
		join pg_roles r on r.oid = o.owner
		where not (r.rolsuper or exists (select 1 from pg_roles d where d.rolname = coalesce(nullif($2::text, ''), current_user)
				and pg_has_role(d.oid, r.oid, 'usage') and not d.rolsuper) -- who has every role
			or exists (select 1 from (select datdba as owner from pg_database where datname = current_database()
			                          union all select relowner from pg_class where oid = $1) a where pg_has_role(r.oid, a.owner, 'member')))
		order by o.n, o.what limit 1`, rows, role).Scan(&what, &owner)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("look whose schema %s is: %w", SchemaName, err)
	}
	return pg.Refuse("find out who uses it; then, as a superuser, run: DROP SCHEMA awa_counterd CASCADE",
		"%s belongs to role %s, which owns neither awa's tables nor this database; its triggers would run with the daemon's rights", what, owner)
}

// Tables are those that a daemon works with, each by awa schema; who leads is in the first two. What setup granted is in another,
// grants, which a daemon only reads.
func Tables() []string {
	return []string{"leader", "lead", checkpointTable, "books", "uncounted_writes", changesTable}
}

// everyTable lists all that any build has made. Who adds one, or stops making one, leaves those of before in it.
func everyTable() []string { return append(Tables(), grantsTable) }

// checkpointTable is what says of each awa schema what its daemon has made.
const checkpointTable = "checkpoint"

// Tables that a daemon works without. What was granted is known nowhere else: that table has the same form in each build.
const (
	changesTable = "marker_changes"
	grantsTable  = "grants"
)

func qualified(table string) string { return SchemaName + "." + table }

// Exists reports whether the daemon's tables are there, in the form that this build needs.
func Exists(ctx context.Context, c Conn) (bool, error) {
	there, _, err := existsInAnyForm(ctx, c)
	return there, err
}

// ExistsInOtherForm reports tables of awa-counterd that another build has made. A finish and a teardown leave none.
func ExistsInOtherForm(ctx context.Context, c Conn) (bool, error) {
	_, others, err := existsInAnyForm(ctx, c)
	return others, err
}

// existsInAnyForm also reports that there are tables of awa-counterd in another form.
func existsInAnyForm(ctx context.Context, c Conn) (there, others bool, err error) {
	err = c.QueryRow(ctx, `select
		(select count(*) = 6 from (values ('leader', 'max_staleness'), ('lead', 'instance'), ('checkpoint', 'quiet_for'), ('books', 'counts'), ('uncounted_writes', 'kind'), ('grants', 'granted')) w (t, a)
		 where exists (select 1 from pg_attribute where attrelid = to_regclass('awa_counterd.' || w.t) and attname = w.a)),
		exists (select 1 from pg_class where relnamespace = to_regnamespace('awa_counterd') and relname in ('leader', 'checkpoint', 'books', 'uncounted_writes'))`).
		Scan(&there, &others)
	if err != nil {
		return false, false, fmt.Errorf("look for schema %s: %w", SchemaName, err)
	}
	return there, others && !there, nil
}

// Complete reports whether what is worth having beside those is there as well: the history of the marker. A daemon works
// without, as its role may not make it.
func Complete(ctx context.Context, c Conn) (bool, error) {
	there, err := Exists(ctx, c)
	if err != nil || !there {
		return false, err
	}
	return historyExists(ctx, c)
}

// historyExists is false where a build that kept none made the daemon's tables.
func historyExists(ctx context.Context, c Conn) (there bool, err error) {
	if err := c.QueryRow(ctx, `select to_regclass('awa_counterd.marker_changes') is not null`).Scan(&there); err != nil {
		return false, fmt.Errorf("look for the history of the marker: %w", err)
	}
	return there, nil
}

// Remembers reports whether this role can write the history of the marker, and read it.
func Remembers(ctx context.Context, c Conn) (may bool, err error) {
	err = c.QueryRow(ctx, `select coalesce(bool_and(has_table_privilege(t.oid, w.may)), false) and count(*) > 0
		from (select to_regclass('awa_counterd.marker_changes')::oid as oid) t, (values ('select'), ('insert'), ('update')) w (may) where t.oid is not null`).Scan(&may)
	if err != nil {
		return false, fmt.Errorf("look for the history of the marker: %w", err)
	}
	return may, nil
}

// SchemaScript is the script that makes the daemon's tables, on behalf of one awa schema. Those of an older build go: all that they
// hold can be derived again, and what was observed then is not what this build would have. What cannot stays: what was granted, and
// what daemons have made outside of the schema (Made). But they are every schema's, so not while a daemon of that build works with
// them, or had one a moment ago for another schema.
func SchemaScript(ctx context.Context, c Conn, awaSchema string) (string, error) {
	_, others, err := existsInAnyForm(ctx, c)
	if err != nil || !others {
		return DDL, err
	}
	if err := refuseIfInUse(ctx, c, awaSchema); err != nil {
		return "", err
	}
	if err := refuseIfNeeded(ctx, c); err != nil {
		return "", err
	}
	tables, err := tablesBySchema(ctx, c)
	if err != nil {
		return "", err
	}
	var former []string
	for _, t := range tables {
		if t != grantsTable {
			former = append(former, pgx.Identifier{SchemaName, t}.Sanitize())
		}
	}
	if len(former) == 0 { // they are not by awa schema: no build has made them so
		return DDL, nil
	}
	drop := fmt.Sprintf("drop table %s;\n", strings.Join(former, ", "))
	if !slices.Contains(tables, checkpointTable) {
		return drop + DDL, nil
	}
	return keepMade + drop + DDL + restoreMade, nil
}

// keepMade and restoreMade carry over what daemons have made, as if they were yet to write their first checkpoint.
const (
	keepMade    = "create table awa_counterd.former_checkpoint as select * from " + checkpointsOfAnyBuild + " k;\n"
	restoreMade = `
insert into awa_counterd.checkpoint (awa_schema, position, persisted_by, slot_name, publications, system_identifier,
		timeline, relations, last_token, unseen_xids, trusted, reason, publication_state, awa_shape)
	select awa_schema, '` + notYet + `', '', slot_name, publications, system_identifier, 0, relations, 0, '{}', false, '', '', '' from awa_counterd.former_checkpoint;
drop table awa_counterd.former_checkpoint;
`
)

// refuseIfInUse refuses tables that a daemon works with. Of their form only this much is taken for granted: who leads is in
// the table leader, under these names.
func refuseIfInUse(ctx context.Context, c Conn, awaSchema string) error {
	var readable bool
	err := c.QueryRow(ctx, `select count(*) = 5 from pg_attribute
		where attrelid = to_regclass('awa_counterd.leader') and attname in ('awa_schema', 'host', 'pid', 'version', 'heartbeat_at')`).Scan(&readable)
	if err != nil || !readable {
		return err
	}
	var schema, host, version string
	var pid int
	err = c.QueryRow(ctx, `select awa_schema, host, pid, version from awa_counterd.leader
		where (awa_schema <> $1 and heartbeat_at > clock_timestamp() - $2::interval) or exists (
			select 1 from `+advisoryLocks+` l where l.pid <> pg_backend_pid() and l.key = hashtextextended($3 || awa_schema, 0))
		order by heartbeat_at desc limit 1`, awaSchema, hungAfter, LockKey("")).Scan(&schema, &host, &pid, &version)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("look who uses schema %s: %w", SchemaName, err)
	}
	return pg.Refuse(fmt.Sprintf("stop that daemon (%s pid %d) and start it again as this version, or run its version here", host, pid),
		"the tables in schema %s are those of version %s, and its daemon corrects awa's schema %s; this version would have to drop them", SchemaName, version, schema)
}

// refuseIfNeeded refuses tables that have to be dropped, and of which others have made something.
func refuseIfNeeded(ctx context.Context, c Conn) error {
	way, err := inTheWay(ctx, c)
	if err != nil {
		return err
	}
	way = slices.DeleteFunc(way, func(o obstacle) bool { return !o.Needs })
	if len(way) == 0 {
		return nil
	}
	what, mend := name(way)
	return pg.Refuse(mend, "the tables in schema %s are those of another version, and would have to be dropped; what others made depends on them: %s", SchemaName, what)
}
