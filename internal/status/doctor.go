package status

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/pg"
	"github.com/awa-counterd/awa-counterd/internal/provision"
	"github.com/awa-counterd/awa-counterd/replication"
)

// Verdict of a check.
type Verdict string

// The verdicts. A check that could not look says nothing about what it looks at.
const (
	Passed    Verdict = "ok"
	Failed    Verdict = "wanting" // does not work, or soon will not
	Unchecked Verdict = "could not look"
)

// Check is one requirement.
type Check struct {
	Name    string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	Detail  string  `json:"detail,omitempty"` // what was found
	Remedy  string  `json:"remedy,omitempty"` // the statement or setting that mends it
}

// Target is what a doctor looks at.
type Target struct {
	Conn   *pgx.Conn
	Schema awa.Schema
	Names  provision.Names // Role is who the daemon runs as
	Trust  bool            // the daemon is to set the marker
}

// Run runs all checks. It goes on as far as it can when one fails.
func Run(ctx context.Context, p Target) []Check {
	d := &doctor{Target: p}
	d.server(ctx)
	d.walsenders(ctx)
	d.walKeep(ctx)
	d.role(ctx)
	if d.tables(ctx) {
		d.rights(ctx)
		d.rowSecurity(ctx)
		d.triggersAndRules(ctx)
		d.index(ctx)
		d.publications(ctx)
		d.otherPublications(ctx)
		d.bucket(ctx)
		d.marker(ctx)
	}
	d.slots(ctx)
	d.walLevelAfterRestart(ctx)
	d.transactions(ctx)
	d.prepared(ctx)
	return d.checks
}

type doctor struct {
	Target
	layout *awa.Layout
	checks []Check
}

func (d *doctor) add(name string, v Verdict, detail, remedy string) {
	if v == Passed {
		remedy = ""
	}
	d.checks = append(d.checks, Check{Name: name, Verdict: v, Detail: detail, Remedy: remedy})
}

// check adds a check that hangs on one condition, or says that it could not look.
func (d *doctor) check(name string, err error, ok bool, detail, remedy string) {
	switch {
	case err != nil:
		d.add(name, Unchecked, err.Error(), "")
	case ok:
		d.add(name, Passed, detail, "")
	default:
		d.add(name, Failed, detail, remedy)
	}
}

func (d *doctor) queryRow(ctx context.Context, sql string, args []any, into ...any) error {
	return d.Conn.QueryRow(ctx, sql, args...).Scan(into...)
}

func (d *doctor) server(ctx context.Context) {
	var version int
	var text, level string
	var recovery bool
	err := d.queryRow(ctx, `select current_setting('server_version_num')::int, current_setting('server_version'), current_setting('wal_level'), pg_is_in_recovery()`,
		nil, &version, &text, &level, &recovery)
	d.check("server version", err, version >= 140000, "PostgreSQL "+text, "upgrade to PostgreSQL 14 or later")
	d.check("primary", err, !recovery, map[bool]string{true: "this is a standby", false: "this is the primary"}[recovery], "point --database-url at the primary")
	d.check("wal_level", err, level == "logical", "wal_level is "+level, "ALTER SYSTEM SET wal_level = 'logical' and restart the server")
}

func (d *doctor) walsenders(ctx context.Context) {
	var slots, used, senders, sending int
	var ours bool
	err := d.queryRow(ctx, `select current_setting('max_replication_slots')::int, (select count(*) from pg_replication_slots),
		current_setting('max_wal_senders')::int, (select count(*) from pg_stat_activity where backend_type = 'walsender'),
		exists (select 1 from pg_replication_slots where slot_name = $1)`, []any{d.Names.Slot}, &slots, &used, &senders, &sending, &ours)
	d.check("replication slot free", err, ours || used < slots, fmt.Sprintf("%d of %d used", used, slots),
		"ALTER SYSTEM SET max_replication_slots = "+fmt.Sprint(slots+5)+" and restart the server, or drop a slot that nobody needs")
	d.check("walsender free", err, sending < senders, fmt.Sprintf("%d of %d used", sending, senders),
		"ALTER SYSTEM SET max_wal_senders = "+fmt.Sprint(senders+5)+" and restart the server")
}

func (d *doctor) walKeep(ctx context.Context) {
	var keep string
	err := d.queryRow(ctx, `select current_setting('max_slot_wal_keep_size')`, nil, &keep)
	d.check("WAL bounded", err, keep != "-1", "max_slot_wal_keep_size is "+map[bool]string{true: "unlimited: a slot that nobody reads fills the disk", false: keep}[keep == "-1"],
		"ALTER SYSTEM SET max_slot_wal_keep_size = '20GB'; SELECT pg_reload_conf()")
}

func (d *doctor) role(ctx context.Context) {
	right, err := pg.ReadStreamRight(ctx, d.Conn, d.Names.Role)
	if err == nil && !right.Exists {
		d.add("role", Failed, "there is no role "+d.Names.Role, right.Remedy)
		return
	}
	d.check("REPLICATION right", err, right.May, "role "+d.Names.Role, right.Remedy)
}

// tables finds awa's tables; without them there is nothing more to look at.
func (d *doctor) tables(ctx context.Context) bool {
	if pid, err := awa.Migrator(ctx, d.Conn); err != nil || pid != 0 {
		d.check("awa's migrations", err, pid == 0, fmt.Sprintf("are running at this moment (process %d); awa-counterd run waits for their end", pid), "look again afterwards")
	}
	l, err := awa.Discover(ctx, d.Conn, d.Schema)
	var shape *awa.ShapeError
	switch {
	case errors.Is(err, awa.ErrNotYet):
		d.add("awa's tables", Failed, err.Error(), "run awa's migrations; awa-counterd run waits for that")
		return false
	case errors.As(err, &shape):
		d.add("awa's tables", Failed, shape.Error(), "see the message; --schema names another schema")
		return false
	case err != nil:
		d.add("awa's tables", Unchecked, err.Error(), "")
		return false
	}
	d.layout = l
	d.add("awa's tables", Passed, fmt.Sprintf("schema %s, shape %s, %d leaves", l.Schema, l.Describe(), len(l.Leaves)), "")
	if err := l.CheckLeaves(); err != nil {
		before, remedy, _ := strings.Cut(err.Error(), "; run: ")
		d.add("replica identities", Failed, before, remedy)
	} else {
		d.add("replica identities", Passed, "every leaf's changes are streamed, and its deletes carry the key", "")
	}
	d.check("trust marker", nil, l.HasMarker, map[bool]string{true: "the column is there", false: "this awa has no marker: counters yes, trust no"}[l.HasMarker], "run awa's migrations")
	return true
}

func (d *doctor) rights(ctx context.Context) {
	for _, need := range d.layout.NeedsOf("$1::text", d.Trust) {
		var has bool
		err := d.queryRow(ctx, `select `+need.Check, []any{d.Names.Role}, &has)
		d.check("right: "+need.What, err, has, "", fmt.Sprintf("GRANT %s TO %s", need.Grant, pgx.Identifier{d.Names.Role}.Sanitize()))
	}
	if refusal, ok := errors.AsType[*pg.Refusal](checkpoint.CheckOwner(ctx, d.Conn, d.layout.Rows)); ok {
		d.add("schema "+checkpoint.SchemaName, Failed, refusal.Problem, refusal.Remedy)
		return
	}
	there, err := checkpoint.Exists(ctx, d.Conn)
	if err == nil && there {
		d.add("schema "+checkpoint.SchemaName, Passed, "is there", "")
		return
	}
	var may bool
	if err == nil {
		err = d.queryRow(ctx, `select has_database_privilege($1::text, current_database(), 'create')`, []any{d.Names.Role}, &may)
	}
	d.check("schema "+checkpoint.SchemaName, err, may, map[bool]string{true: "is missing; the daemon makes it", false: "is missing, and the role may not make it"}[may],
		"awa-counterd setup --role "+d.Names.Role)
}

func (d *doctor) index(ctx context.Context) {
	var there bool
	err := d.queryRow(ctx, d.layout.HasQueueIndex(), nil, &there)
	d.check("queue-leading index", err, there, map[bool]string{true: "is there", false: "is missing: awa's reads of one queue scan every counter"}[there], d.layout.MakeQueueIndex())
}

func (d *doctor) publications(ctx context.Context) {
	for _, pub := range replication.Needed(d.Names.Publication, d.layout) {
		d.publication(ctx, pub)
	}
}

func (d *doctor) publication(ctx context.Context, pub replication.Publication) {
	_, err := pub.Check(ctx, d.Conn)
	var refusal *pg.Refusal
	switch {
	case errors.Is(err, replication.ErrNoPublication):
		d.add("publication "+pub.Name, Passed, "is missing; the daemon makes it if its role owns awa's tables", "")
		d.owner(ctx, pub)
	case errors.As(err, &refusal):
		d.add("publication "+pub.Name, Failed, refusal.Problem, strings.TrimPrefix(refusal.Remedy, "run: "))
	default:
		d.check("publication "+pub.Name, err, err == nil, "publishes all it has to", "")
	}
}

// bucket looks whether corrections have a counter row to go to that nobody else uses.
func (d *doctor) bucket(ctx context.Context) {
	if !d.layout.Shape.HasBuckets() {
		return
	}
	err := d.layout.CheckBucket(ctx, d.Conn)
	if shape, ok := errors.AsType[*awa.ShapeError](err); ok {
		d.add("bucket of our own", Failed, shape.Reason, "")
		return
	}
	d.check("bucket of our own", err, true, fmt.Sprintf("bucket %d is free", awa.OwnBucket), "")
}

func (d *doctor) owner(ctx context.Context, pub replication.Publication) {
	var owns, may bool
	err := d.queryRow(ctx, `select pg_has_role($1::text, c.relowner, 'usage'), has_database_privilege($1::text, current_database(), 'create')
		from pg_class c where c.oid = $2::text::regclass`, []any{d.Names.Role, d.layout.Schema.RowsTable()}, &owns, &may)
	d.check("may make publication "+pub.Name, err, owns && may, "role "+d.Names.Role, "as the owner of awa's tables: "+pub.CreateSQL())
}

func (d *doctor) marker(ctx context.Context) {
	if !d.layout.HasMarker {
		return
	}
	var set bool
	err := d.queryRow(ctx, `select `+d.layout.MarkerIsSet(), nil, &set)
	vouched := false
	if there, e := checkpoint.Exists(ctx, d.Conn); err == nil && e == nil && there && set {
		var l checkpoint.Leader
		var known bool
		l, known, err = checkpoint.ReadLeader(ctx, d.Conn, string(d.Schema))
		vouched = known && !l.DryRun && l.Heartbeat.Seconds() < aliveWithin
	}
	detail := "not set"
	if set && vouched {
		detail = "set, and a daemon vouches for it"
	} else if set {
		detail = "set, and no daemon vouches for it: wrong if pre-#290 binaries still write"
	}
	d.check("marker vouched for", err, !set || vouched, detail, "awa-counterd distrust")
}

// unreadSlotLimit is what another slot may hold back before it is worth a word.
const unreadSlotLimit = 1 << 30

func (d *doctor) slots(ctx context.Context) {
	s, err := replication.ReadSlot(ctx, d.Conn, d.Names.Slot)
	switch {
	case errors.Is(err, replication.ErrNoSlot):
		d.add("replication slot", Passed, d.Names.Slot+" is not there yet; the daemon makes it", "")
	case err != nil:
		d.add("replication slot", Unchecked, err.Error(), "")
	case s.Lost():
		what, remedy := s.Loss()
		d.add("replication slot", Failed, d.Names.Slot+" "+what, "start awa-counterd run, which makes it anew, and "+remedy)
	default:
		d.add("replication slot", Passed, d.Names.Slot+" is "+s.Status, "")
	}
	rows, err := d.Conn.Query(ctx, `select slot_name from pg_replication_slots where slot_name <> $1 and not active and restart_lsn is not null
		and not pg_is_in_recovery() and pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) > $2 order by 1`, d.Names.Slot, int64(unreadSlotLimit))
	var idle []string
	if err == nil {
		idle, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	detail, remedy := "none retains more than 1 GiB unread", ""
	if len(idle) > 0 {
		detail, remedy = "retain more than 1 GiB and are not read: "+strings.Join(idle, ", "), "if nobody needs it: SELECT pg_drop_replication_slot('"+idle[0]+"')"
	}
	d.check("other slots", err, len(idle) == 0, detail, remedy)
}

// longTransaction is how old a writing transaction may be before it is worth a word: making a slot
// waits for it.
const longTransaction = time.Minute

func (d *doctor) transactions(ctx context.Context) {
	var n int
	var pid *int32
	var who *string
	err := d.queryRow(ctx, `select count(*), min(pid), min(coalesce(usename, '') || '@' || coalesce(datname, '')) from pg_stat_activity
		where backend_xid is not null and xact_start < clock_timestamp() - $1::interval`, []any{longTransaction}, &n, &pid, &who)
	detail, remedy := "none older than a minute", ""
	if n > 0 && pid != nil {
		detail = fmt.Sprintf("%d writing transactions older than a minute, one of process %d (%s): making a slot waits for them", n, *pid, *who)
		remedy = fmt.Sprintf("end it: SELECT pg_terminate_backend(%d)", *pid)
	}
	d.check("long transactions", err, n == 0, detail, remedy)
}

func (d *doctor) prepared(ctx context.Context) {
	var n int
	var gid *string
	err := d.queryRow(ctx, `select count(*), min(gid) from pg_prepared_xacts`, nil, &n, &gid)
	detail, remedy := "none", ""
	if n > 0 && gid != nil {
		detail = fmt.Sprintf("%d prepared transactions, one of them %q: making a slot waits for them", n, *gid)
		remedy = fmt.Sprintf("ROLLBACK PREPARED '%s' or COMMIT PREPARED '%s'", *gid, *gid)
	}
	d.check("prepared transactions", err, n == 0, detail, remedy)
}
