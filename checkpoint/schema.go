package checkpoint

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// SchemaName is our schema; everything of ours in a database is in it, but for the slot and the
// publication.
const SchemaName = "awa_counterd"

// DDL makes the schema. It is idempotent, and runs as one transaction.
const DDL = `
create schema if not exists awa_counterd;
comment on schema awa_counterd is 'awa-counterd: made by the sidecar, removed with it';

create table if not exists awa_counterd.leader (
	awa_schema   text primary key,
	instance     text not null,
	host         text not null,
	pid          integer not null,
	version      text not null,
	leads_since  timestamptz not null default now(),
	heartbeat_at timestamptz not null default now(),
	state        text not null default 'starting',
	leaving      boolean not null default false
);
comment on table awa_counterd.leader is 'who keeps the counters of which awa schema; heartbeat_at moves with every token';

create table if not exists awa_counterd.checkpoint (
	awa_schema        text primary key,
	position          pg_lsn not null,
	persisted_at      timestamptz not null default now(),
	persisted_by      text not null,
	slot_name         text not null,
	publication_oid   oid not null,
	publication_state text not null default '',
	system_identifier text not null,
	timeline          integer not null,
	relations         oid[] not null,
	last_token        bigint not null,
	unseen_xids       bigint[] not null,
	trusted           boolean not null,
	reason            text not null,
	last_audit_at     timestamptz,
	observed_since    timestamptz not null default now()
);
comment on table awa_counterd.checkpoint is 'where the books stand: everything up to position is in awa_counterd.books';

alter table awa_counterd.checkpoint add column if not exists publication_state text not null default '';
comment on column awa_counterd.checkpoint.publication_state is 'changes with every ALTER of the publication; then everything is scanned afresh';

comment on column awa_counterd.checkpoint.observed_since is 'every change since then was seen, through restarts';

create table if not exists awa_counterd.books (
	awa_schema    text not null,
	ready_slot    integer not null,
	queue         text not null,
	priority      smallint not null,
	enqueue_shard smallint not null,
	rows          bigint not null,
	counter       bigint,
	primary key (awa_schema, ready_slot, queue, priority, enqueue_shard)
) with (fillfactor = 70);
comment on column awa_counterd.books.rows is 'rows of done_entries in the group at checkpoint.position';
comment on column awa_counterd.books.counter is 'awa''s counter of the group at that position; null: no counter row';

create table if not exists awa_counterd.uncounted_writes (
	awa_schema   text not null,
	queue        text not null,
	rows_off     bigint not null,
	transactions bigint not null,
	per_second   double precision not null default 0,
	last_at      timestamptz not null,
	last_lsn     pg_lsn not null,
	primary key (awa_schema, queue)
);
comment on table awa_counterd.uncounted_writes is 'writes that left a counter wrong: queues that pre-#290 binaries still write';
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
func Ensure(ctx context.Context, c Conn) error {
	there, err := Exists(ctx, c)
	if err != nil || there {
		return err
	}
	tx, err := c.Begin(ctx)
	if err != nil {
		return fmt.Errorf("make schema %s: %w", SchemaName, err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	// Two that start at once must not both make it: IF NOT EXISTS does not keep them apart.
	if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended('awa_counterd.setup', 0))`); err != nil {
		return fmt.Errorf("make schema %s: %w", SchemaName, err)
	}
	if _, err := tx.Exec(ctx, DDL); err != nil {
		return fmt.Errorf("make schema %s: %w", SchemaName, err)
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("make schema %s: %w", SchemaName, err)
	}
	return nil
}

// Exists reports whether our tables are there, in the form that this build needs.
func Exists(ctx context.Context, c Conn) (bool, error) {
	var there bool
	err := c.QueryRow(ctx, `select to_regclass('awa_counterd.leader') is not null
		and to_regclass('awa_counterd.checkpoint') is not null and to_regclass('awa_counterd.books') is not null
		and to_regclass('awa_counterd.uncounted_writes') is not null
		and exists (select 1 from pg_attribute where attrelid = to_regclass('awa_counterd.checkpoint') and attname = 'publication_state')`).Scan(&there)
	if err != nil {
		return false, fmt.Errorf("look for schema %s: %w", SchemaName, err)
	}
	return there, nil
}
