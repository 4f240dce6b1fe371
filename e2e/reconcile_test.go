package e2e

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// command runs the binary to its end.
func (e *env) command(args ...string) (code int, stdout, stderr string) {
	e.t.Helper()
	return e.commandOn(e.url(), args...)
}

// commandOn connects as another role, say.
func (e *env) commandOn(url string, args ...string) (code int, stdout, stderr string) {
	e.t.Helper()
	cmd := exec.Command(binary, append(args, "--database-url", url)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

type report struct {
	Mode      string `json:"mode"`
	Leaves    int    `json:"leaves"`
	Groups    int    `json:"groups"`
	Wrong     int    `json:"groups_wrong"`
	Corrected int    `json:"groups_corrected"`
	Left      int    `json:"groups_left_wrong"`
	MarkerSet bool   `json:"marker_set"`
	Queues    []struct {
		Queue string `json:"queue"`
		Drift int64  `json:"drift"`
	} `json:"queues"`
	Worst []struct {
		Slot  int   `json:"ready_slot"`
		Drift int64 `json:"drift"`
	} `json:"worst"`
	Next string `json:"next_step"`
}

func (e *env) reconcile(wantCode int, args ...string) report {
	e.t.Helper()
	code, out, errs := e.command(append([]string{"reconcile", "--json"}, args...)...)
	require.Equal(e.t, wantCode, code, out+errs)
	var r report
	require.NoError(e.t, json.Unmarshal([]byte(out), &r), out)
	return r
}

func (e *env) insertAt(slot int32, queue string, n int, counted bool) {
	e.t.Helper()
	e.do(counted, func(tx pgx.Tx, w fleet.Writer) error {
		return w.Insert(e.t.Context(), tx, fleet.Key{Slot: slot, Queue: queue, Priority: 1}, n, "failed", "")
	})
}

// Without a slot and without wal_level: compare, correct, trust.
func TestReconcile(t *testing.T) {
	c, err := cluster.Start(t.Context(), cluster.Options{Bin: pgBin, Settings: map[string]string{"wal_level": "replica"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	e := newEnvOn(t, c, fleet.Layout{Shape: fleet.Direct, Slots: 4})
	e.insertAt(0, "email", 7, false)
	e.insertAt(1, "email", 5, true)
	e.insertAt(2, "billing", 30, false)
	e.exec(`insert into awa.queue_terminal_live_counts values (3, 'billing', 1, 0, 4), (9, 'gone', 1, 0, 2)`)

	r := e.reconcile(3, "--check")
	require.Equal(t, "check", r.Mode)
	require.Equal(t, 4, r.Leaves)
	require.Equal(t, 5, r.Groups)
	require.Equal(t, 4, r.Wrong)
	require.EqualValues(t, 30, r.Worst[0].Drift)
	require.Len(t, r.Queues, 3)
	require.EqualValues(t, 26, r.Queues[0].Drift)
	require.Contains(t, r.Next, "run awa-counterd reconcile to correct this")
	require.EqualValues(t, 3, e.scalar(`select count(*) from awa.queue_terminal_live_counts`), "--check changed something")

	r = e.reconcile(0)
	require.Equal(t, 4, r.Corrected)
	require.Zero(t, r.Left)
	e.balanced(0)
	e.marker(false, 0)
	require.Zero(t, e.scalar(`select count(*) from pg_replication_slots`))
	require.Zero(t, e.scalar(`select count(*) from pg_namespace where nspname = 'awa_counterd'`), "the one-shot leaves nothing behind")

	r = e.reconcile(0, "--trust", "--observe", "1s")
	require.True(t, r.MarkerSet)
	e.marker(true, 0)

	code, out, _ := e.command("reconcile", "--check")
	require.Zero(t, code)
	require.Contains(t, out, "wrong: 0")
	require.Contains(t, out, "next: the counters are right, and the marker is set: readers use them;", "there is nothing left for --trust to do")
}

// The marker is refused while there is evidence of uncounted writers, with their names.
func TestReconcileTrustIsRefused(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	e.exec(`create table awa.runtime_instances (instance_id text, version text, last_seen_at timestamptz, leader boolean);
		insert into awa.runtime_instances values ('new', '0.6.0-beta.2', now(), true), ('dead', '0.6.0-alpha.3', now() - interval '1 hour', false)`)
	code, out, errs := e.command("reconcile", "--trust", "--observe", "1s")
	require.Zero(t, code, out+errs)
	for _, said := range []string{out, errs} {
		require.Contains(t, said, "producers, command lines and psql do not register with awa")
		require.NotContains(t, said, "old workers cannot be seen")
	}
	e.marker(true, 0)
	e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = null`)
	e.exec(`insert into awa.runtime_instances values ('worker-7', '0.6.0-beta.1', now(), false)`)
	code, _, errs = e.command("reconcile", "--trust", "--observe", "1s")
	require.Equal(t, refused, code)
	require.Contains(t, errs, "pre-#290 runtimes are live: worker-7 (0.6.0-beta.1)")
	e.exec(`delete from awa.runtime_instances where instance_id = 'worker-7'`)

	f := e.fleet(fleet.Config{Pre: 1, Pause: 20 * time.Millisecond, Seed: 71, Queues: []string{"email"}})
	code, _, errs = e.command("reconcile", "--trust", "--observe", "2s")
	require.Equal(t, refused, code, errs)
	require.Contains(t, errs, "new drift within 2s on queue email")
	f.Stop()
	e.marker(false, 0)
}

// Over and over beside counted and uncounted writers, both kinds of pruner and rebuilds; when the
// uncounted writers have stopped, the next run leaves every group right.
func TestReconcileBesideAFleet(t *testing.T) {
	e := newEnv(t, fleet.Layout{})
	counted := e.fleet(fleet.Config{Post: 4, Pause: 15 * time.Millisecond, Seed: 81})
	mixed := e.fleet(fleet.Config{Pre: 4, Pause: 15 * time.Millisecond, Seed: 82, Prune: 150 * time.Millisecond, Chaos: 700 * time.Millisecond})
	runs := 200
	if testing.Short() {
		runs = 20
	}
	for range runs {
		code, _, errs := e.command("reconcile")
		require.Contains(t, []int{0, 3}, code, errs)
	}
	mixed.Stop()
	// On the ledger a fold may yet drop changes of another generation, which old leaders have left; reconcile says so.
	for tries := 0; ; tries++ {
		e.reconcile(0)
		e.wait(300 * time.Millisecond)
		_, wrong, err := fleet.Compare(t.Context(), e.pool, "awa")
		require.NoError(t, err)
		if len(wrong) == 0 {
			break
		}
		require.Equal(t, fleet.Ledger, e.layout.Shape, "%v", wrong)
		require.Less(t, tries, 20, "%v", wrong)
	}
	counted.Stop()
	e.balanced(0)
	e.readersAgree(fourQueues...)
	e.undisturbed(counted, mixed)
}

// Beside a running daemon both correct the same drift; the daemon nets it out, and takes none of it
// for an uncounted write.
func TestReconcileBesideADaemon(t *testing.T) {
	e := newEnv(t, fleet.Layout{})
	f := e.fleet(fleet.Config{Pre: 2, Post: 2, Pause: 10 * time.Millisecond, Prune: 500 * time.Millisecond, Seed: 91})
	d := e.daemon()
	e.marker(true, 10*time.Second)
	s := e.sample(10 * time.Millisecond)
	for range 10 {
		e.command("reconcile")
	}
	f.Stop()
	s.honest(t)
	e.balanced(2 * time.Second)
	e.noMismatch(d)
}

func TestDistrust(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	code, out, _ := e.command("distrust")
	require.Zero(t, code)
	require.Equal(t, "the marker was not set; readers scan\n", out)
	e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = now()`)
	code, out, _ = e.command("distrust", "--json")
	require.Zero(t, code)
	require.JSONEq(t, `{"schema": "awa", "cleared": true}`, out)
	e.marker(false, 0)
	e.daemon()
	e.marker(true, 10*time.Second)
	code, out, _ = e.command("distrust")
	require.Zero(t, code)
	require.True(t, strings.HasPrefix(out, "the marker was cleared; readers scan\na daemon is running ("), out)
	code, _, errs := e.command("distrust", "--schema", "nowhere")
	require.Equal(t, refused, code)
	require.Contains(t, errs, "there is no table nowhere.done_entries")
}

// Interrupted anywhere, by SIGINT or SIGKILL, it leaves nothing half done and nothing behind.
func TestReconcileInterrupted(t *testing.T) {
	e := newEnv(t, fleet.Layout{})
	f := e.fleet(fleet.Config{Pre: 2, Post: 2, Pause: 10 * time.Millisecond, Prune: 300 * time.Millisecond, Seed: 95})
	for i := range 30 {
		cmd := exec.Command(binary, "reconcile", "--database-url", e.url())
		require.NoError(t, cmd.Start())
		e.wait(time.Duration(5+i*2) * time.Millisecond)
		how := syscall.SIGINT
		if i%2 == 0 {
			how = syscall.SIGKILL
		}
		_ = cmd.Process.Signal(how)
		_ = cmd.Wait()
	}
	f.Stop()
	e.disconnected()
	require.Zero(t, e.scalar(`select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`))
	e.reconcile(0)
	e.balanced(0)
	e.undisturbed(f)
}

// status --watch refreshes until it is interrupted, and ends well then.
func TestStatusWatch(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	cmd := exec.Command(binary, "status", "--watch", "--database-url", e.url())
	var out bytes.Buffer
	cmd.Stdout = &out
	require.NoError(t, cmd.Start())
	e.wait(2500 * time.Millisecond)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.NoError(t, cmd.Wait())
	require.Equal(t, 2, strings.Count(out.String(), "next      awa-counterd has never run here"))
}
