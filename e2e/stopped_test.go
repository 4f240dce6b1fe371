package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// typed is a command that a person has started, and may stop and take up again.
type typed struct {
	*exec.Cmd
	t    *testing.T
	said output
	done chan error
}

// output is what a command has said so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (e *env) types(args ...string) *typed {
	e.t.Helper()
	c := &typed{Cmd: exec.Command(binary, append(args, "--database-url", e.url())...), t: e.t, done: make(chan error, 1)}
	c.Stdout, c.Stderr = &c.said, &c.said
	require.NoError(e.t, c.Start())
	go func() { c.done <- c.Wait() }()
	e.t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGCONT)
		_ = c.Process.Kill()
	})
	return c
}

func (c *typed) signal(s syscall.Signal) {
	c.t.Helper()
	require.NoError(c.t, c.Process.Signal(s))
}

// ends waits for the end, and returns what was said.
func (c *typed) ends(code int, within time.Duration) string {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(within):
		require.FailNow(c.t, "the command does not end")
	}
	require.Equal(c.t, code, c.ProcessState.ExitCode(), c.said.String())
	return c.said.String()
}

// ownLocks counts the relations, and the advisory locks, that commands of awa-counterd hold.
const ownLocks = `select count(*) from pg_locks l join pg_stat_activity a using (pid) where a.datname = current_database() and l.granted
	and a.application_name ~ 'awa-counterd (command|reconcile)' and (l.locktype = 'advisory' or l.relation::regclass::text ~ 'done_entries|queue_terminal')`

// A finish that is stopped (Ctrl-Z) when it has asked the daemons to leave, or when they have left and it sets the marker, asks for
// nothing any more: they go on soon. Taken up again it says so, and leaves them alone.
func TestStoppedFinishAsksForNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ lock, at string }{
		"asked": {`select 1 from awa.queue_ring_state for update`, `select count(*) from awa_counterd.lead where leaving`},
		"marker": {`select pg_advisory_xact_lock(42)`, `select count(*) from pg_stat_activity where datname = current_database()
			and application_name ~ 'awa-counterd reconcile' and wait_event_type = 'Lock' and query ilike '%terminal_counter_trusted_at%'`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnvOn(t, ownServer(t), fleet.Layout{Slots: 4})
			daemons, tx := e.pairBehind(c.lock)
			finish := e.types("finish", "--quiet-period", "1s", "--timeout", "40s")
			ctx, cancel := contextWithin(60 * time.Second)
			defer cancel()
			e.until(ctx, func() bool { return e.scalar(c.at) > 0 }, func() string { return "finish did not come to " + name })
			finish.signal(syscall.SIGSTOP)
			require.NoError(t, tx.Rollback(t.Context()))
			e.until(ctx, func() bool { return e.scalar(ownLocks) == 0 }, func() string { return "a stopped finish keeps daemons away" })
			e.insertAt(1, "q", 5, false) // an old binary that was overlooked
			e.balanced(20 * time.Second)
			e.marker(true, 30*time.Second)

			finish.signal(syscall.SIGCONT)
			require.Contains(t, finish.ends(refused, 20*time.Second), "this process was stopped, or cut off from the server")
			e.insertAt(2, "q", 5, false)
			e.balanced(20 * time.Second)
			e.marker(true, 30*time.Second)
			for _, d := range daemons {
				require.Zero(t, d.stop(), "it has not left for good")
				require.NotContains(t, d.text(), "ending: everything that awa-counterd created")
			}
		})
	}
}

// Two finishes: the second one is refused, and what the first one has asked for stays. What one asked for that has died is void
// before the next one has its lock.
func TestSecondFinishTakesNothingBack(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	ctx := t.Context()
	one, two := e.connect(), e.connect()
	require.NoError(t, checkpoint.Ensure(ctx, one, "awa"))
	try := func(c *pgx.Conn) bool {
		t.Helper()
		got, err := checkpoint.TryFinish(ctx, c, "awa")
		require.NoError(t, err)
		return got
	}
	leaving := func() bool { return e.scalar(`select count(*) from awa_counterd.lead where leaving`) == 1 }
	require.False(t, try(one), "nobody leads")
	require.NoError(t, checkpoint.Claim(ctx, one, "awa", checkpoint.Leader{Instance: "leads"}))
	require.NoError(t, checkpoint.AskToLeave(ctx, one, "awa"))
	require.False(t, leaving(), "who does not finish asks for nothing")
	require.True(t, try(one))
	require.NoError(t, checkpoint.AskToLeave(ctx, one, "awa"))
	require.True(t, leaving())
	require.False(t, try(two))
	require.NoError(t, checkpoint.AskToLeave(ctx, two, "awa"))
	require.NoError(t, checkpoint.TakeBack(ctx, two, "awa", two.PgConn().PID()))
	may, err := checkpoint.MayTakeBack(ctx, two, "awa", two.PgConn().PID())
	require.NoError(t, err)
	require.False(t, may)
	require.True(t, leaving(), "the second one took back what the first one asks for")

	require.NoError(t, one.Close(ctx))
	within, cancel := contextWithin(10 * time.Second)
	defer cancel()
	e.until(within, func() bool { return try(two) }, func() string { return "the lock of a dead finish is not free" })
	require.False(t, leaving(), "what a dead one asked for is taken for this one's")
	require.NoError(t, checkpoint.AskToLeave(ctx, two, "awa"))
	require.True(t, leaving())
	require.NoError(t, checkpoint.TakeBack(ctx, e.pool, "awa", two.PgConn().PID()))
	require.False(t, leaving())
	e.exec(`delete from awa_counterd.leader`)
	may, err = checkpoint.MayTakeBack(ctx, two, "awa", two.PgConn().PID())
	require.NoError(t, err)
	require.False(t, may, "another one has removed everything, and the marker is its own")
}

// A reconcile that is stopped keeps no lock of awa's for long: not the counter rows that it rewrites, nor the leaf and the lock of
// rebuilds that it holds while it corrects. Nor does it keep daemons away.
func TestStoppedReconcileLetsGo(t *testing.T) {
	t.Parallel()
	for _, shape := range []string{fleet.Direct, fleet.Ledger} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			e := newEnvOn(t, ownServer(t), fleet.Layout{Shape: shape, Slots: 4})
			release := func() { e.exec(`drop trigger if exists slow on awa.queue_terminal_live_counts`) }
			holds := `select count(*) from pg_stat_activity where datname = current_database() and application_name = 'awa-counterd reconcile' and state like 'idle in transaction%'`
			if shape == fleet.Direct { // corrections wait for rows that somebody holds, one after the other
				for i := range 20 {
					e.insertAt(1, fmt.Sprintf("q%d", i), 2, true)
				}
				e.exec(`update awa.queue_terminal_live_counts set live_terminal_count = 1`)
				tx, err := e.pool.Begin(t.Context())
				require.NoError(t, err)
				release = func() { _ = tx.Rollback(context.Background()) }
				defer release()
				_, err = tx.Exec(t.Context(), `select 1 from awa.queue_terminal_live_counts for update`)
				require.NoError(t, err)
			} else { // a statement takes its time, when counter rows have been rewritten
				e.insertAt(1, "q", 2, false)
				e.exec(`create function awa.slow() returns trigger language plpgsql as $$ begin perform pg_sleep(1); return null; end $$;
					create trigger slow after delete on awa.queue_terminal_live_counts for each statement execute function awa.slow()`)
				holds = `select count(*) from pg_stat_activity where datname = current_database() and application_name = 'awa-counterd reconcile' and query like 'delete from%'`
			}
			r := e.types("reconcile")
			ctx, cancel := contextWithin(40 * time.Second)
			defer cancel()
			e.until(ctx, func() bool { return e.scalar(holds) > 0 }, func() string { return "it does not hold anything" })
			r.signal(syscall.SIGSTOP)
			stopped := time.Now()
			require.Positive(t, e.scalar(ownLocks))
			e.until(ctx, func() bool { // but for what keeps daemons away
				return e.scalar(ownLocks+` and a.application_name <> 'awa-counterd command'`) == 0
			}, func() string { return "a stopped reconcile keeps its locks" })
			require.Less(t, time.Since(stopped), 8*time.Second, "2 s, and what the machine takes")
			e.until(ctx, func() bool { // one of its two sessions for questions asked daemons to keep away, and is ended
				return e.scalar(ownLocks) == 0 && e.scalar(`select count(*) from pg_stat_activity where datname = current_database() and application_name = 'awa-counterd command'`) == 1
			}, func() string { return "a stopped reconcile keeps daemons away" })
			release()
			d := e.daemon()
			d.logged("leading", 20*time.Second)
			r.signal(syscall.SIGCONT)
			require.Contains(t, r.ends(refused, 40*time.Second), "this process was stopped, or cut off from the server")
			e.balanced(20 * time.Second)
			e.marker(true, 20*time.Second)
			require.Zero(t, d.stop())
		})
	}
}
