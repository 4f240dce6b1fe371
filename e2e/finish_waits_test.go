package e2e

import (
	"bufio"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// stale is a change of another generation, as an old leader leaves them; the next fold of awa's drops it, with the same effect on the
// drift, and of the same kind: neither tells of an old binary.
func (e *env) stale(slot int32) error {
	return fleet.Do(context.Background(), e.pool, func(tx pgx.Tx) error {
		return e.layout.Writer(true).LateDelta(context.Background(), tx, fleet.Key{Slot: slot, Queue: "q", Priority: 1}, 1)
	})
}

// holds a lock, until it is let go. On a server of the test's own: the transaction has an id.
func (e *env) holds(lock string) (letGo func()) {
	e.t.Helper()
	holder, err := e.pool.Begin(e.t.Context())
	require.NoError(e.t, err)
	e.t.Cleanup(func() { _ = holder.Rollback(context.Background()) })
	_, err = holder.Exec(e.t.Context(), lock)
	require.NoError(e.t, err)
	return func() { require.NoError(e.t, holder.Rollback(e.t.Context())) }
}

// finishes runs finish, and says when it says something. Its end is known to how.
func (e *env) finishes(quiet, timeout string) (said func(text string) (line string), how func() int) {
	e.t.Helper()
	return e.finishesOn(e.url(), quiet, timeout)
}

func (e *env) finishesOn(url, quiet, timeout string) (said func(text string) (line string), how func() int) {
	e.t.Helper()
	cmd := exec.Command(binary, "finish", "--database-url", url, "--quiet-period", quiet, "--timeout", timeout)
	out, err := cmd.StderrPipe()
	require.NoError(e.t, err)
	require.NoError(e.t, cmd.Start())
	hangs := time.AfterFunc(2*patiently(30*time.Second), func() { _ = cmd.Process.Kill() })
	e.t.Cleanup(func() { hangs.Stop(); _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	said = func(text string) string {
		e.t.Helper()
		for lines.Scan() {
			e.t.Log(lines.Text())
			if strings.Contains(lines.Text(), text) {
				return lines.Text()
			}
		}
		require.FailNow(e.t, "not said: "+text)
		return ""
	}
	return said, func() int {
		for lines.Scan() {
			e.t.Log(lines.Text())
		}
		_ = cmd.Wait()
		return cmd.ProcessState.ExitCode()
	}
}

// finishLooks is a finish that has the daemon's figures, by which nothing stands in the way, and has yet to look at the counters, until look
// lets it go on: within 2 s. An old binary wrote in ring slot 3 once.
func (e *env) finishLooks(quiet, timeout string) (d *daemon, said func(text string) (line string), look func(), how func() int) {
	e.t.Helper()
	e.exec(`create table awa.runtime_instances (instance_id text, version text, last_seen_at timestamptz, leader boolean)`) // is read last
	d = e.daemon("--checkpoint-interval", "200ms", "--audit-interval", "1h")
	d.logged("marker set", 20*time.Second)
	e.insertAt(3, "q", 5, false)
	e.balanced(5 * time.Second)
	e.none(`select 1 - count(*) from awa_counterd.uncounted_writes`, 20*time.Second, "the daemon does not say who wrote")
	least, err := time.ParseDuration(quiet)
	require.NoError(e.t, err)
	watched, over := contextWithin(20 * time.Second)
	defer over()
	e.until(watched, func() bool { return e.status().Observed > least.Seconds() }, func() string { return "the daemon does not watch" })
	look = e.holds(`lock table awa.runtime_instances in access exclusive mode`)
	said, how = e.finishes(quiet, timeout)
	ctx, cancel := contextWithin(20 * time.Second)
	defer cancel()
	e.until(ctx, func() bool {
		return e.scalar(`select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and application_name = 'awa-counterd command'`) > 0
	}, func() string { return "finish does not ask for the runtimes" })
	return d, said, look, how
}

// finished waits for the end of both, and demands that the upgrade is over: the marker stands, over counters as awa itself would hold them.
func (e *env) finished(d *daemon, how func() int) {
	e.t.Helper()
	require.Zero(e.t, how())
	require.Zero(e.t, d.wait(10*time.Second))
	e.balanced(0)
	e.byBucket()
	e.marker(true, 0)
}

// When awa's first new leader takes over, it drops what the old one left in ledgers, one ring slot after the other, and the daemon corrects that.
// finish waits for it, and says so; it does not take a correction that is under way for an old binary.
func TestFinishWaitsForCorrections(t *testing.T) {
	t.Parallel()
	e := newEnvOn(t, ownServer(t), fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d, said, look, how := e.finishLooks("1s", "1m")
	row := e.holds(`select 1 from awa.queue_terminal_live_counts where ready_slot = 3 for update`) // the correction waits
	require.NoError(t, e.stale(3))
	look()
	said("finish: waiting: the counters of 1 groups are wrong, the first on queue q")
	row()
	e.finished(d, how)
}

// finishMoves is a finish that has been at ring slot 1 and waits at ring slot 3, where an old binary wrote once, until row lets it go on.
func (e *env) finishMoves(quiet string) (d *daemon, row func(), said func(text string) (line string), how func() int) {
	e.t.Helper()
	d = e.daemon("--checkpoint-interval", "200ms")
	d.logged("marker set", 20*time.Second)
	e.insertAt(1, "q", 5, true)
	e.insertAt(3, "q", 5, false)
	e.balanced(5 * time.Second)
	row = e.holds(`select 1 from awa.queue_terminal_live_counts where ready_slot = 3 for update`)
	said, how = e.finishes(quiet, "1m")
	said("finish: ring slot 3 is locked; waiting for it")
	return d, row, said, how
}

// The same comes while the daemon holds its corrections back, to a slot that finish has been at already: it goes there again. If it was
// an old binary, finish ends there, whether the counters are right by then or not.
func TestFinishMovesAgain(t *testing.T) {
	t.Parallel()
	for name, old := range map[string]func(e *env){
		"awa drops": nil, "an old binary": func(e *env) { e.insertAt(3, "q", 1, false) }, "an old binary, which takes back": func(e *env) { e.exchanges(3) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnvOn(t, ownServer(t), fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			d, row, said, how := e.finishMoves("10s")
			if old != nil {
				old(e) // finish has yet to come there, and mends it
				row()
				said("awa-counterd: not finished: pre-#290 writers still active on queue q")
				require.Equal(t, refused, how())
				e.balanced(10 * time.Second)
				e.marker(true, 20*time.Second)
				return
			}
			require.NoError(t, e.stale(1))
			row()
			e.finished(d, how)
		})
	}
}

// The same comes when all has been moved and was found right, before the daemon says what it knows: that is moved as well. An upgrade that awa's
// own folds disturb is no reason to run finish again.
func TestFinishMovesWhatComesBehindTheMove(t *testing.T) {
	t.Parallel()
	e := newEnvOn(t, ownServer(t), fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d, row, _, how := e.finishMoves("2s")
	ctx, cancel := contextWithin(30 * time.Second)
	defer cancel()
	listener, err := pgx.Connect(ctx, e.url())
	require.NoError(t, err)
	defer func() { _ = listener.Close(context.Background()) }()
	_, err = listener.Exec(ctx, `listen awa_counterd`)
	require.NoError(t, err)
	d.signal(stopped)
	row()
	_, err = listener.WaitForNotification(ctx) // finish asks the daemon
	require.NoError(t, err)
	require.NoError(t, e.stale(1))
	at := e.scalar(`select (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint`)
	e.until(ctx, func() bool {
		return e.scalar(`select count(*) from pg_stat_replication where application_name = 'awa-counterd stream' and sent_lsn - '0/0'::pg_lsn >= $1::bigint`, at) > 0
	}, func() string { return "the daemon is not sent what awa dropped" })
	d.signal(resumed)
	e.finished(d, how)
}
