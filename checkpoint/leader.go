package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// ErrDeposed says that another daemon leads now; whatever was to be written was not.
var ErrDeposed = errors.New("another daemon has taken over")

// Leader is who keeps the counters of a schema.
type Leader struct {
	Instance  string
	Host      string
	PID       int
	Version   string
	DryRun    bool          // it only follows and reports
	Bound     time.Duration // its --max-staleness: tokens, and with them heartbeats, come every quarter of it
	Heartbeat time.Duration // age of the last one, by the server's clock; negative when that was set back since
	State     string
	Leads     bool // another session holds the leader lock at this moment
	Holds     bool // corrections are held back for awa-counterd finish
	Finishing bool // a finish is under way at this moment
	Leaving   bool // and has asked every daemon to leave for good
	Another   bool // the tables are in the form of another build, which is the leader's
}

// Silent is how old the leader's heartbeat may get: by then it would have cleared the marker itself.
func (l Leader) Silent() time.Duration { return 2 * l.Bound }

// Vouches reports that the leader is alive by its own bound, and answers for the marker: a dry run never does. Where the server's
// clock was set back, the last heartbeat is yet to come; a leader that lives stamps a new one within a quarter of its bound.
func (l Leader) Vouches() bool {
	return !l.DryRun && l.Heartbeat < l.Silent() && l.Heartbeat > -l.Bound
}

// Process names the leader for people.
func (l Leader) Process() string {
	if l.Host == "" && l.PID == 0 { // it has the lock, and has not written its row yet
		return "a daemon whose name is not known yet"
	}
	return fmt.Sprintf("%s pid %d", l.Host, l.PID)
}

// Unvouched is an expression that tells whether an instance is known to lead, and does not vouch for the marker (Leader.Vouches).
// The parameters are the awa schema and the instance.
func Unvouched(schemaParam, instanceParam int) string {
	return fmt.Sprintf(`exists (select 1 from `+leadersOfAnyBuild+` l where awa_schema = $%d and instance = $%d
		and (heartbeat_at < clock_timestamp() - 2 * max_staleness or heartbeat_at > clock_timestamp() + max_staleness or %s))`, schemaParam, instanceParam, isDryRun)
}

// dryRun follows the version of a leader that only follows and reports.
const dryRun = " --dry-run"

// isDryRun is the same as a condition on the leader's row.
const isDryRun = `version like '%` + dryRun + `'`

// hungAfter is how old a heartbeat may get before its leader is taken for hanging, or cut off with its machine. Until
// then its sessions may keep the lock; a lead that changes too easily costs scans.
const hungAfter = 15 * time.Second

// Hung reports that the leader is taken for hanging.
func (l Leader) Hung() bool {
	if l.Heartbeat < 0 {
		l.Heartbeat = -l.Heartbeat
	}
	return l.Heartbeat >= max(hungAfter, 5*l.Bound)
}

// LockKey is the key text of the session advisory lock that the leader holds.
func LockKey(awaSchema string) string { return "awa_counterd.leader:" + awaSchema }

// TryLead tries to become the only one: the lock goes with the connection.
func TryLead(ctx context.Context, c Conn, awaSchema string) (bool, error) {
	var got bool
	err := c.QueryRow(ctx, `select pg_try_advisory_lock(hashtextextended($1, 0))`, LockKey(awaSchema)).Scan(&got)
	if err != nil {
		return false, fmt.Errorf("try the leader lock: %w", err)
	}
	return got, nil
}

// Led reports that another session leads, or finishes. It goes by their locks: somebody may hold the leader's table.
func Led(ctx context.Context, c Conn, awaSchema string) (led bool, err error) {
	err = c.QueryRow(ctx, `select exists (select 1 from `+advisoryLocks+` k
		where k.key in (hashtextextended($1, 0), hashtextextended($2, 0)) and k.pid <> pg_backend_pid())`, LockKey(awaSchema), FinishKey(awaSchema)).Scan(&led)
	if err != nil {
		return false, fmt.Errorf("look who holds the leader lock: %w", err)
	}
	return led, nil
}

// ReleaseLead lets go of what TryLead took.
func ReleaseLead(ctx context.Context, c Conn, awaSchema string) error {
	if _, err := c.Exec(ctx, `select pg_advisory_unlock(hashtextextended($1, 0))`, LockKey(awaSchema)); err != nil {
		return fmt.Errorf("let go of the leader lock: %w", err)
	}
	return nil
}

// instanceKey is the key text of the session advisory lock by which the session of an instance that leads is known. The leader lock
// does not tell whose it is: between taking it and Claim, the leader's row still names whoever led before.
func instanceKey(instance string) string { return "awa_counterd.instance:" + instance }

// Claim writes the instance that leads from now on. It waits for whatever the instance before it
// still has under way; what that one sends later finds that it does not lead any more.
func Claim(ctx context.Context, c Conn, awaSchema string, l Leader) error {
	if l.DryRun {
		l.Version += dryRun
	}
	tx, err := c.Begin(ctx)
	if err != nil {
		return fmt.Errorf("claim the lead: %w", err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	// It stays with the session, whatever becomes of the transaction.
	if _, err := tx.Exec(ctx, `select pg_try_advisory_lock(hashtextextended($1, 0))`, instanceKey(l.Instance)); err != nil {
		return fmt.Errorf("claim the lead: %w", err)
	}
	if _, err := tx.Exec(ctx, `select 1 from awa_counterd.lead where awa_schema = $1 for update`, awaSchema); err != nil {
		return fmt.Errorf("claim the lead: %w", err)
	}
	if _, err := tx.Exec(ctx, `insert into awa_counterd.lead (awa_schema, instance) values ($1, $2)
		on conflict (awa_schema) do update set instance = excluded.instance, holds = false`, awaSchema, l.Instance); err != nil {
		return fmt.Errorf("claim the lead: %w", err)
	}
	_, err = tx.Exec(ctx, `
		with before as (delete from awa_counterd.leader where awa_schema = $1 returning beat)
		insert into awa_counterd.leader (awa_schema, beat, instance, host, pid, version, max_staleness)
		select $1, coalesce(max(beat), 0) + 1, $2, $3, $4, $5, $6 from before`,
		awaSchema, l.Instance, l.Host, l.PID, l.Version, l.Bound)
	if err != nil {
		return fmt.Errorf("claim the lead: %w", err)
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("claim the lead: %w", err)
	}
	return nil
}

// ReadLeader returns who led last, or false when nobody ever did.
func ReadLeader(ctx context.Context, c Conn, awaSchema string) (Leader, bool, error) {
	var l Leader
	err := c.QueryRow(ctx, `
		select l.instance, host, pid, version, extract(epoch from clock_timestamp() - heartbeat_at)::float8 * 1e9, extract(epoch from max_staleness)::float8 * 1e9, state, held.leads, coalesce(holds, false), held.finishing, coalesce(leaving, false) and held.finishing
		from `+newestOf("$1")+` l left join awa_counterd.lead using (awa_schema), (select coalesce(bool_or(key = hashtextextended($2, 0)), false) as finishing, coalesce(bool_or(key = hashtextextended($3, 0) and pid <> pg_backend_pid()), false) as leads
			from `+advisoryLocks+` k) held`, plannedNow, awaSchema, FinishKey(awaSchema), LockKey(awaSchema)).
		Scan(&l.Instance, &l.Host, &l.PID, &l.Version, (*nanoseconds)(&l.Heartbeat), (*nanoseconds)(&l.Bound), &l.State, &l.Leads, &l.Holds, &l.Finishing, &l.Leaving)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Leader{}, false, nil
	case err != nil:
		return Leader{}, false, fmt.Errorf("read the leader: %w", err)
	}
	l.Version, l.DryRun = strings.CutSuffix(l.Version, dryRun)
	return l, true, nil
}

// ReadLeaderIfAny is ReadLeader where the daemon's tables may not be there, or be removed meanwhile: then nobody leads. They may also be in
// another build's form.
func ReadLeaderIfAny(ctx context.Context, c Conn, awaSchema string) (Leader, bool, error) {
	there, others, err := existsInAnyForm(ctx, c)
	if err != nil || !there && !others {
		return Leader{}, false, err
	}
	read := ReadLeader
	if others {
		read = leaderOfAnotherBuild
	}
	leader, known, err := read(ctx, c, awaSchema)
	if pg.IsNoTable(err) { // removed since
		return Leader{}, false, nil
	}
	return leader, known, err
}

// Depose ends the sessions that hold the leader lock on behalf of a leader that is Hung, only follows, or is instance by
// name: one whose process hangs, or whose machine has gone while the
// server still believes in its connection. It reports whether there was one. Nothing of theirs is in
// danger: what they still send is refused by Guard once another instance has claimed the lead.
//
// Who has just taken the lock, and not yet claimed the lead, is spared: the row is not about that one. Should it hang there, it
// has said nothing to the server for as long as a leader that is Hung; so has a Hung one of a build without instanceKey.
func Depose(ctx context.Context, c Conn, awaSchema, instance string) (bool, error) {
	tag, err := c.Exec(ctx, `
		select pg_terminate_backend(h.pid)
		from `+advisoryLocks+` h join (select pid, application_name, state_change from pg_stat_activity) a using (pid) join `+leadersOfAnyBuild+` l on l.awa_schema = $3
		where h.key = hashtextextended($1, 0) and a.application_name = $2
		  and (l.instance = $4 or `+isDryRun+` or l.heartbeat_at < clock_timestamp() - greatest($5::interval, 5 * l.max_staleness)
		       or l.heartbeat_at > clock_timestamp() + greatest($5::interval, 5 * l.max_staleness))
		  and (a.state_change < clock_timestamp() - greatest($5::interval, 5 * l.max_staleness)
		       or exists (select 1 from `+advisoryLocks+` i where i.pid = h.pid and i.key = hashtextextended($6 || l.instance, 0)))`,
		LockKey(awaSchema), pg.ApplicationName(pg.ControlRole), awaSchema, instance, hungAfter, instanceKey(""))
	if err != nil {
		return false, fmt.Errorf("end the session of the leader: %w", err)
	}
	return tag.RowsAffected() > 0, nil
}

// StampHeartbeat stamps the leader's row outside of tokens: while a replication slot is being made there are none.
func StampHeartbeat(ctx context.Context, c Conn, awaSchema, instance, state string) error {
	tag, err := c.Exec(ctx, `with `+beat+` select 1 from beat`, plannedNow, awaSchema, instance, state)
	if err != nil {
		return fmt.Errorf("stamp the leader's row: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return ErrDeposed
	}
	return nil
}

// nanoseconds scans a float8 into a duration.
type nanoseconds time.Duration

func (n *nanoseconds) Scan(v any) error {
	f, ok := v.(float64)
	if !ok {
		return fmt.Errorf("a duration came as %T", v)
	}
	*n = nanoseconds(f)
	return nil
}

// Guard is a condition that holds only while the instance leads, and keeps it leading to the end
// of the transaction. The arguments are the numbers of the parameters that carry schema and instance.
func Guard(schemaParam, instanceParam int) string {
	return fmt.Sprintf(`exists (select 1 from awa_counterd.lead g
		where g.awa_schema = $%d and g.instance = $%d for key share of g)`, schemaParam, instanceParam)
}

// HoldsLock is a condition that holds while a session of the instance has the leader lock. It waits for nobody, who may hold the
// leader's row; and unlike Guard it does not keep the instance leading. The arguments are as there.
func HoldsLock(schemaParam, instanceParam int) string {
	return fmt.Sprintf(`exists (select 1 from %[1]s h join %[1]s i using (pid)
		where h.key = hashtextextended('%[2]s' || $%[3]d::text, 0) and i.key = hashtextextended('%[4]s' || $%[5]d::text, 0))`,
		advisoryLocks, LockKey(""), schemaParam, instanceKey(""), instanceParam)
}

// Heartbeat is a statement that stamps the leader's row and yields one row, or none when another
// instance leads. $1 is the awa schema, $2 the instance, $3 the state in words, $4 whether
// corrections are held back; columns yields further columns.
func Heartbeat(columns string) string {
	return `with ` + beat + `,
		held as (update awa_counterd.lead set holds = $4 where awa_schema = $1 and instance = $2 and holds <> $4)
		select ` + columns + ` from beat`
}

// plannedNow has a statement on the leaders' rows planned for the table as it is: a plan from when it was small would read all of it.
const plannedNow = pgx.QueryExecModeExec

// newestOf is a relation that has the newest row of the leader of a schema, or none.
func newestOf(schema string) string {
	return `(select * from awa_counterd.leader where awa_schema = ` + schema + ` order by beat desc limit 1)`
}

// beat is a WITH query that stamps the leader's row, and gives it the next number. While somebody has an old snapshot, for days perhaps,
// no version of a row can go; the newest of one number would be found behind all others, that of the highest is at the end of the index.
// Of two stamps at once the later one waits, and finds a number that is higher than the one that it has looked up.
var beat = `beat as (
		update awa_counterd.leader set beat = beat + 1, heartbeat_at = clock_timestamp(), state = $3
		where awa_schema = $1 and instance = $2 and beat >= (select n.beat from ` + newestOf("$1") + ` n) returning beat)`

// slotKey is the key text of the session advisory lock of who works with a replication slot.
func slotKey(slot string) string { return "awa_counterd.slot:" + slot }

// TakeSlot makes this session the only one of a daemon that works with a replication slot. It is false when another one does, on
// behalf of an awa schema; "" where that is not known.
func TakeSlot(ctx context.Context, c Conn, slot string) (taken bool, schema string, err error) {
	if err := c.QueryRow(ctx, `select pg_try_advisory_lock(hashtextextended($1, 0))`, slotKey(slot)).Scan(&taken); err != nil {
		return false, "", fmt.Errorf("take replication slot %s: %w", slot, err)
	}
	if taken {
		return true, "", nil
	}
	err = c.QueryRow(ctx, `select coalesce((select l.awa_schema from awa_counterd.leader l, `+advisoryLocks+` k, `+advisoryLocks+` s
		where s.key = hashtextextended($1, 0) and k.pid = s.pid and k.key = hashtextextended($2 || l.awa_schema, 0) limit 1), '')`, slotKey(slot), LockKey("")).Scan(&schema)
	if err != nil {
		return false, "", fmt.Errorf("look who works with replication slot %s: %w", slot, err)
	}
	return false, schema, nil
}
