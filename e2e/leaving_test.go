package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// postStop runs what the shipped unit runs when the daemon's process has ended.
func (e *env) postStop() {
	e.t.Helper()
	unit, err := os.ReadFile("../deploy/awa-counterd.service")
	require.NoError(e.t, err)
	_, line, ok := strings.Cut(string(unit), "\nExecStopPost=")
	require.True(e.t, ok)
	line, _, _ = strings.Cut(line, "\n")
	code, out, errs := e.command(strings.Fields(line)[1:]...)
	require.Zero(e.t, code, out+errs)
}

// The unit's post-stop hook leaves the marker of a finished upgrade as it is, and clears that of a dead daemon.
func TestPostStopHookKnowsAFinish(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	d := e.daemon("--checkpoint-interval", "200ms")
	e.marker(true, 10*time.Second)
	code, out, errs := e.command("finish", "--quiet-period", "1s", "--timeout", "20s")
	require.Zero(t, code, out+errs)
	require.Zero(t, d.wait(5*time.Second))
	e.postStop()
	e.marker(true, 0)

	d = e.daemon()
	d.logged("marker set", 10*time.Second)
	d.kill()
	e.postStop()
	e.marker(false, 0)
	require.Contains(t, e.says("distrust", "--after-stop"), "the marker was not set")
}

// The post-stop hook of a daemon that stood by leaves the marker of the leader that lives, and costs it no audit; that of a leader
// clears it, be it that the leader hangs, or has died a moment ago and its row looks fresh.
func TestPostStopHookOfAStandby(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Slots: 4})
	leader := e.daemon()
	e.marker(true, 15*time.Second)
	standby := e.daemon()
	standby.logged("standing by", 10*time.Second)
	standby.kill()
	e.postStop()
	e.marker(true, 0)
	require.Contains(t, e.says("distrust", "--after-stop"), fmt.Sprintf("another daemon leads (%s pid %d) and vouches for it", hostname(t), leader.PID()))
	leader.statuses(2)
	require.Equal(t, []string{"set"}, told(e.past()))
	require.NotContains(t, leader.text(), "cleared")

	leader.signal(stopped) // it hangs
	e.postStop()
	e.marker(false, 0)
	leader.signal(resumed)
	e.marker(true, 20*time.Second)
	leader.kill()
	e.postStop()
	e.marker(false, 0)
}

func hostname(t *testing.T) string {
	t.Helper()
	name, err := os.Hostname()
	require.NoError(t, err)
	return name
}

// says runs a command that has to do well.
func (e *env) says(args ...string) string {
	e.t.Helper()
	code, out, errs := e.command(args...)
	require.Zero(e.t, code, out+errs)
	return out
}

// finishing starts a finish, which a test may kill.
func (e *env) finishing() *exec.Cmd {
	e.t.Helper()
	cmd := exec.Command(binary, "finish", "--database-url", e.url(), "--quiet-period", "1s", "--timeout", "20s")
	cmd.Stderr = os.Stderr
	require.NoError(e.t, cmd.Start())
	e.t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

// pairBehind is a leader that has set the marker and a standby, and a transaction that holds a lock against a finish: lock is the
// statement that takes it. Whoever sets the marker takes advisory lock 42.
func (e *env) pairBehind(lock string) (daemons []*daemon, holder pgx.Tx) {
	e.t.Helper()
	e.exec(`create function awa.hold() returns trigger language plpgsql as $$ begin
			if new.terminal_counter_trusted_at is not null then perform pg_advisory_xact_lock(42); end if; return new; end $$;
		create trigger hold before update on awa.queue_ring_state for each row execute function awa.hold()`)
	leader := e.daemon("--checkpoint-interval", "200ms")
	leader.logged("marker set", 20*time.Second)
	e.insertAt(0, "q", 3, false) // so that the daemon clears the marker when it leaves
	e.balanced(10 * time.Second)
	standby := e.daemon("--checkpoint-interval", "200ms")
	standby.logged("standing by", 10*time.Second)
	holder, err := e.pool.Begin(e.t.Context())
	require.NoError(e.t, err)
	e.t.Cleanup(func() { _ = holder.Rollback(context.Background()) })
	_, err = holder.Exec(e.t.Context(), lock)
	require.NoError(e.t, err)
	return []*daemon{leader, standby}, holder
}

// A finish dies (SIGKILL, or SIGHUP with its terminal) when it has asked the daemons to leave, when it sets the
// marker, and when it removes what awa-counterd made. What it asked for ends with it: the daemons go on, and nothing stands
// that nobody vouches for.
func TestFinishDies(t *testing.T) {
	waits := func(what string) string {
		return fmt.Sprintf(`select count(*) from pg_stat_activity where datname = current_database() and application_name ~ 'awa-counterd (command|reconcile)'
			and wait_event_type = 'Lock' and query ilike '%%%s%%'`, what)
	}
	for name, c := range map[string]struct {
		lock string // what a foreign transaction holds
		at   string // counts a state
	}{
		"asked":    {`select 1 from awa.queue_ring_state for update`, `select count(*) from awa_counterd.lead where leaving`},
		"marker":   {`select pg_advisory_xact_lock(42)`, waits("terminal_counter_trusted_at")},
		"removing": {`lock table awa_counterd.books in access share mode`, waits("drop schema")},
	} {
		for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGHUP} {
			t.Run(name+" "+sig.String(), func(t *testing.T) {
				e := newEnv(t, fleet.Layout{Slots: 4})
				daemons, tx := e.pairBehind(c.lock)
				finish := e.finishing()
				ctx, cancel := contextWithin(40 * time.Second)
				defer cancel()
				e.until(ctx, func() bool {
					return e.scalar(`select count(*) from pg_namespace where nspname = 'awa_counterd'`) == 1 && e.scalar(c.at) > 0
				}, func() string { return "finish did not come to " + name })
				require.NoError(t, finish.Process.Signal(sig))
				_ = finish.Wait()
				if sig == syscall.SIGKILL || name == "removing" { // the server would carry out what it was sent, and a finish that far is finished
					e.exec(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name ~ 'awa-counterd (command|reconcile)'`)
				}
				require.NoError(t, tx.Rollback(t.Context()))
				e.insertAt(1, "q", 5, false) // an old binary that was overlooked
				e.balanced(15 * time.Second)
				e.marker(true, 20*time.Second)
				for _, d := range daemons {
					select {
					case <-d.Done():
						require.Fail(t, "a daemon left, and nothing is removed", d.text())
					default:
					}
				}
				for _, d := range daemons {
					require.Zero(t, d.stop())
				}
			})
		}
	}
}

// SIGHUP, which a lost terminal sends, is a stop like SIGTERM.
func TestHangUpIsAStop(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	d := e.daemon()
	e.marker(true, 10*time.Second)
	e.insertAt(1, "q", 7, false)
	d.signal(syscall.SIGHUP)
	require.Zero(t, d.wait(10*time.Second))
	e.balanced(0)
	e.marker(false, 0)
	d.logged("stopping: completing the flush", 0)
}

// A daemon that waits out a fault when everything that awa-counterd made is removed finds that out when it wakes, and makes none
// of it again.
func TestTeardownWhileADaemonWaits(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	before := e.catalogs()
	role := e.role("superuser")
	d := start(t, nil, "run", "--database-url", server.URL(role, "", e.db))
	d.logged("marker set", 15*time.Second)
	ours := `from pg_stat_activity where application_name like 'awa-counterd%' and datname = current_database()`
	e.exec(fmt.Sprintf(`alter role %s connection limit 0; alter role %[1]s nosuperuser; select pg_terminate_backend(pid) %s`, role, ours))
	d.logged("no connection is free", 10*time.Second)
	e.disconnected()
	e.says("teardown")
	e.exec(fmt.Sprintf(`alter role %s connection limit -1; alter role %[1]s superuser`, role))
	require.Zero(t, d.wait(20*time.Second))
	d.logged("ending: everything that awa-counterd created", 0)
	require.Equal(t, before, e.catalogs(), "a trace is left")
}

// Whoever drops schema awa_counterd by hand under a daemon that leads removes it from its lead; the marker does not stay behind.
func TestSchemaIsDroppedByHand(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	d := e.daemon()
	e.marker(true, 10*time.Second)
	e.exec(`drop schema awa_counterd cascade`)
	require.Zero(t, d.wait(15*time.Second))
	d.logged("ending: everything that awa-counterd created", 0)
	e.marker(false, 0)
	require.Zero(t, e.scalar(`select count(*) from pg_namespace where nspname = 'awa_counterd'`))
	require.Zero(t, e.scalar(`select count(*) from pg_replication_slots where database = current_database()`), "nobody reads the slot any more")
}

// The leader's row is deleted by hand, and nothing else. No finish was that, so the marker does not stay.
func TestLeadersRowIsDeletedByHand(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	d := e.daemon("--checkpoint-interval", "200ms")
	e.marker(true, 10*time.Second)
	e.exec(`delete from awa_counterd.leader; delete from awa_counterd.lead`)
	require.Zero(t, d.wait(15*time.Second))
	d.logged("ending: everything that awa-counterd created", 0)
	e.marker(false, 0)
	require.Zero(t, e.scalar(`select count(*) from pg_replication_slots where database = current_database()`), "nobody reads the slot any more")
}
