package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// The shape changes under a running daemon, with old and new binaries at work: it is noticed, distrusted and
// adopted within seconds, without a person, and without a log line that frightens one.
func TestShapeChangesUnderARunningDaemon(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to fleet.Layout
		waits    string
		shape    string // as the daemon calls the one that it ends up with
	}{
		{"deployed before the migration", fleet.Layout{NoCounter: true, ShardLast: true}, fleet.Layout{Shape: fleet.Ledger, Release: fleet.Beta2}, "waiting for awa's migration", "ledger"},
		{"306 to ledger", fleet.Layout{}, fleet.Layout{Shape: fleet.Ledger}, "", "ledger with receipts"},
		{"b2 to 0.6.9", fleet.Layout{Shape: fleet.Ledger, Release: fleet.Beta2}, fleet.Layout{Shape: fleet.Ledger, Release: fleet.Latest}, "", "ledger with receipts"},
		{"0.6.9 to 0.7's tables", fleet.Layout{Shape: fleet.Ledger}, fleet.Layout{Shape: fleet.Ledger, Release: fleet.Next}, "", "ledger with receipts and rollup deltas"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.from.Slots, c.to.Slots = 8, 8
			if c.from.Shape == "" {
				c.from.Shape = fleet.Direct
			}
			e := newEnv(t, c.from)
			conn := e.connect()
			d := e.daemon("--checkpoint-interval", "300ms")
			if c.waits != "" {
				d.logged(c.waits, 10*time.Second)
			} else {
				e.marker(true, 15*time.Second)
			}
			old := e.fleet(fleet.Config{Pre: 2, Pause: 15 * time.Millisecond, Seed: 301})
			e.wait(time.Second)
			to := c.to
			to.Schema = e.layout.Schema
			require.NoError(t, to.Migrate(t.Context(), conn))
			e.layout = to
			mixed := e.fleet(fleet.Config{Pre: 1, Post: 2, Pause: 15 * time.Millisecond, Prune: 400 * time.Millisecond, Fold: 500 * time.Millisecond, Seed: 302})
			d.logged("leading", 10*time.Second)
			e.adopted(d, c.shape, 10*time.Second)
			e.marker(true, 15*time.Second)
			s := e.sample(20 * time.Millisecond)
			e.wait(3 * time.Second)
			old.Stop()
			mixed.Stop()
			s.honest(t)
			e.balanced(2 * time.Second)
			e.noMismatch(d)
			require.Zero(t, d.stop())
			e.calm(d)
		})
	}
}

// calm demands that nothing in a daemon's log frightens whoever reads it: no session that failed, and of warnings
// and errors none but that the marker was cleared, by the daemon or by the migration itself.
func (e *env) calm(d *daemon) {
	e.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, entry := range d.log {
		level := strings.ToLower(fmt.Sprint(entry["level"]))
		cleared := strings.HasPrefix(entry.Text(), "trust: marker cleared: ") || strings.HasPrefix(entry.Text(), "trust: the marker was cleared by someone else")
		if level == "info" || level == "debug" || level == "warn" && cleared {
			continue
		}
		require.Fail(e.t, "a line that frightens", "%v", entry)
	}
}

// adopted waits until the last thing that the daemon said of leading names the shape.
func (e *env) adopted(d *daemon, shape string, within time.Duration) {
	e.t.Helper()
	ctx, cancel := contextWithin(within)
	defer cancel()
	e.until(ctx, func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		last := ""
		for _, entry := range d.log {
			if entry.Text() == "leading" {
				last = fmt.Sprint(entry["shape"])
			}
		}
		return last == shape
	}, func() string { return "the shape " + shape + " was not adopted" })
}

// A role with the least rights cannot publish tables that were not there at setup: it keeps the marker cleared, waits, and names the
// one command, or the one statement where nothing else is missing; when setup was run it goes on by itself. Where a migration brings
// nothing that has to be published or granted, it goes on without a person.
func TestLeastRightsWaitForSetup(t *testing.T) {
	t.Parallel()
	const setup = "awa-counterd setup --role "
	for _, c := range []struct {
		name     string
		from, to fleet.Layout
		names    string // what has to be run; "": nothing
	}{
		{"no counter to the ledger", fleet.Layout{NoCounter: true}, fleet.Layout{Shape: fleet.Ledger}, setup},
		{"#306 to the ledger", fleet.Layout{Shape: fleet.Direct}, fleet.Layout{Shape: fleet.Ledger}, setup},
		{"b2 to 0.6.9", fleet.Layout{Shape: fleet.Ledger, Release: fleet.Beta2}, fleet.Layout{Shape: fleet.Ledger, Release: fleet.Latest}, ""},
		{"0.6.9 to 0.7's tables", fleet.Layout{Shape: fleet.Ledger}, fleet.Layout{Shape: fleet.Ledger, Release: fleet.Next}, `have the owner of awa's tables run awa-counterd setup, or run: ALTER PUBLICATION "awa_counterd_awa_ledger" ADD TABLE awa.queue_terminal_rollup_deltas`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.from.Slots, c.to.Slots = 4, 4
			e := newEnv(t, c.from)
			role := e.role("replication")
			e.says("setup", "--role", role)
			d := start(t, nil, "run", "--database-url", server.URL(role, "", e.db), "--no-setup")
			if c.from.NoCounter {
				d.logged("waiting for awa's migration", 10*time.Second)
			} else {
				d.logged("marker set", 15*time.Second)
			}

			to := c.to
			to.Schema = e.layout.Schema
			require.NoError(t, to.Migrate(t.Context(), e.connect()))
			e.layout = to
			if c.names != "" {
				said := d.logged(c.names, 30*time.Second)
				if c.names == setup {
					require.Contains(t, said.Text(), setup+role)
				}
				e.marker(false, 5*time.Second)
				e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = now()`) // an installer, say
				e.marker(false, 15*time.Second)
				next, leads := "no daemon has led here yet", `select count(*) from awa_counterd.leader`
				if e.scalar(leads) > 0 {
					next = "no daemon leads (the last was "
					e.silent()
				}
				require.Contains(t, e.nobodyIsCalledDead(), next)
				require.Contains(t, e.status().Next, "one that runs says in its log what it waits for, and awa-counterd doctor --role what its role lacks; if none runs, start ")
				_, doctor, _ := e.command("doctor", "--role", role)
				require.Regexp(t, "GRANT |ALTER PUBLICATION ", doctor, "doctor does not say what it waits for")
				e.says("setup", "--role", role)
				require.EqualValues(t, 1, e.scalar(`select (has_column_privilege($1, 'awa.queue_ring_state', 'terminal_counter_trusted_at', 'update')
					and not has_table_privilege($1, 'awa.queue_ring_state', 'update'))::int`, role))
			} else {
				e.adopted(d, "ledger with receipts", 15*time.Second)
			}
			if c.from.NoCounter { // the migration itself has set the marker
				d.logged("trust: marker set", 20*time.Second)
			}
			e.insertAt(1, "q", 5, false)
			e.marker(true, 20*time.Second)
			e.balanced(5 * time.Second)
			require.Zero(t, d.stop())
			if c.names == "" {
				e.calm(d)
			}
		})
	}
}

// While a migration of awa's is under way nobody works on the counters, and nobody trusts them: its steps
// commit one by one, and one of them sets the marker.
func TestMarkerIsKeptClearedDuringAMigration(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d := e.daemon()
	e.marker(true, 15*time.Second)
	conn := e.connect()
	_, err := conn.Exec(t.Context(), `select pg_advisory_lock(x'4157415f4d494752'::int8)`)
	require.NoError(t, err)
	d.logged("waiting until awa's migrations have ended", 10*time.Second)
	e.marker(false, 2*time.Second)
	e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = now()`)
	e.marker(false, 5*time.Second)
	require.NoError(t, conn.Close(t.Context()))
	e.marker(true, 15*time.Second)
	require.Zero(t, d.stop())
}

// The log has people end the session that holds the lock of awa's migrations when that does nothing any more, so what it does has to be
// seen for what it is, and must not be guessed by a role that is not shown it.
func TestWhoHoldsTheMigrationLockIsSeen(t *testing.T) {
	t.Parallel()
	e := newEnvOn(t, ownServer(t), fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	holder := e.connect()
	pid := int32(holder.PgConn().PID())
	looks := e.connect()
	seen := func(state string) (s pg.Session) {
		t.Helper()
		ctx, cancel := contextWithin(20 * time.Second)
		defer cancel()
		e.until(ctx, func() bool {
			var there bool
			var err error
			s, there, err = pg.ReadSession(t.Context(), looks, pid)
			require.NoError(t, err)
			require.True(t, there)
			return s.State == state
		}, func() string { return "seen as " + s.State + ", not " + state })
		return s
	}
	run := func(sql string) {
		t.Helper()
		_, err := holder.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	run(`set application_name = 'worker'; select pg_advisory_lock(x'4157415f4d494752'::int8)`)
	require.Equal(t, "worker", seen("idle").Application)
	longer := seen("idle").Idle
	ctx, cancel := contextWithin(20 * time.Second)
	defer cancel()
	e.until(ctx, func() bool { return seen("idle").Idle > longer+500*time.Millisecond }, func() string { return "it is not said for how long" })
	run(`begin`)
	require.Less(t, seen("idle in transaction").Idle, 10*time.Second)
	run(`rollback`)
	run(`set track_activities = off`)
	seen("disabled")
	run(`set track_activities = on`)

	step, stop := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = holder.Exec(step, `select pg_sleep(600)`)
	}()
	seen("active")
	role := e.role("")
	_, err := looks.Exec(t.Context(), "set role "+role)
	require.NoError(t, err)
	hidden := seen("")
	require.Equal(t, "worker", hidden.Application)
	require.Zero(t, hidden.Idle)
	e.exec("grant pg_read_all_stats to " + role) // as the log says
	seen("active")
	stop()
	<-over
	none := func() bool {
		_, there, err := pg.ReadSession(t.Context(), looks, pid)
		require.NoError(t, err)
		return !there
	}
	e.until(ctx, none, func() string { return "a session that has ended is seen" })
}

// A daemon that starts while a migration is under way has had no session: it keeps the marker cleared all the
// same, be it one that the daemon before it left, or one that the migration brings.
func TestMarkerIsKeptClearedByADaemonThatStartsDuringAMigration(t *testing.T) {
	for name, before := range map[string]fleet.Layout{
		"killed and started again":      {Shape: fleet.Ledger, Slots: 4},
		"deployed before the migration": {NoCounter: true, Slots: 4},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, before)
			if !before.NoCounter {
				d := e.daemon()
				e.marker(true, 15*time.Second)
				d.kill()
			}
			_, err := e.connect().Exec(t.Context(), `select pg_advisory_lock(x'4157415f4d494752'::int8)`)
			require.NoError(t, err)
			d := e.daemon()
			d.logged("waiting until awa's migrations have ended", 10*time.Second)
			e.exec(`alter table awa.queue_ring_state add column if not exists terminal_counter_trusted_at timestamptz`)
			e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = now()`)
			e.marker(false, 5*time.Second)
			require.Zero(t, d.stop())
		})
	}
}

// Before awa's migration setup does what it can, and says what it cannot; a role with the least rights can wait then.
func TestSetupBeforeTheMigration(t *testing.T) {
	e := newEnv(t, fleet.Layout{NoCounter: true, Slots: 4})
	code, out, errs := e.command("setup")
	require.Zero(t, code, errs)
	require.Contains(t, out, "done: create schema awa_counterd")
	require.Contains(t, errs, "after awa's migration, run this again")
	role := e.role("replication")
	e.says("setup", "--role", role)
	d := start(t, nil, "run", "--database-url", server.URL(role, "", e.db), "--no-setup")
	d.logged("waiting for awa's migration", 10*time.Second)
	require.Zero(t, d.stop())
	require.Contains(t, e.says("distrust", "--after-stop"), "the marker was left as it is: awa-counterd is not installed here") // a supervisor's hook
	require.Contains(t, e.says("distrust"), "the marker was not set")
	code, out, errs = e.command("teardown")
	require.Zero(t, code, errs)
	require.Contains(t, out, "removed: drop schema awa_counterd")
	e.nothingOfOurs()
	code, _, errs = e.command("distrust", "--schema", "awaa")
	require.Equal(t, refused, code)
	require.Contains(t, errs, "there is no table awaa.done_entries")
}

// What needs the counters says before awa's migration what is to be done, and that a daemon need not be waited with.
func TestCommandsBeforeTheMigration(t *testing.T) {
	e := newEnv(t, fleet.Layout{NoCounter: true, Slots: 4})
	for _, args := range [][]string{{"status"}, {"status", "--json"}, {"finish"}, {"reconcile", "--check"}, {"reconcile", "--trust"}} {
		code, out, errs := e.command(args...)
		require.Equal(t, refused, code, out+errs)
		require.Equal(t, "awa-counterd: awa.queue_terminal_live_counts: the counter table does not exist yet; run awa's migrations; awa-counterd run waits for that\n", errs, "%v", args)
	}
}

// What is ours goes whatever became of awa's tables: they are of a shape that this build does not know, or gone.
func TestTeardownWhateverBecameOfAwa(t *testing.T) {
	for name, sql := range map[string]string{
		"of another shape": `alter table awa.queue_terminal_live_counts rename column priority to urgency`,
		"gone":             `drop schema awa cascade`,
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			d := e.daemon()
			e.marker(true, 15*time.Second)
			require.Zero(t, d.stop())
			e.exec(sql)
			args := []string{"teardown"}
			if name == "gone" {
				args = append(args, "--schema", "awa") // nobody says which is active any more
			}
			code, out, errs := e.command(args...)
			require.Zero(t, code, errs)
			require.Contains(t, out, "removed: drop replication slot")
			e.nothingOfOurs()
			if name == "gone" {
				code, _, errs = e.command(args...)
				require.Equal(t, refused, code, "a schema that awa is not in is a slip")
				require.Contains(t, errs, "there is no table awa.done_entries")
			}
		})
	}
}
