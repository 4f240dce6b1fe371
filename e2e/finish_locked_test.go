package e2e

import (
	"bufio"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

const (
	lockLedger   = `lock table awa.queue_terminal_count_deltas_2 in access exclusive mode`
	lockCounters = `lock table awa.queue_terminal_live_counts in access exclusive mode`
)

// Somebody holds a leaf of the ledger: finish says so, and waits no longer than it was told.
func TestFinishWaitsForALedgerNoLongerThanItWasTold(t *testing.T) {
	t.Parallel()
	e := newEnvOn(t, ownServer(t), fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	_, said, look, how := e.finishLooks("1s", "8s")
	_ = e.holds(lockLedger)
	look()
	said("finish: the ledger of ring slot 2 is locked; waiting for it")
	said("awa-counterd: not finished within 8s: the ledger of ring slot 2 is locked, it seems by process ")
	require.Equal(t, refused, how())
}

// The same when the daemons have left: they are not kept away for as long as somebody holds a lock.
func TestFinishGivesUpALockWhenDaemonsHaveLeft(t *testing.T) {
	t.Parallel()
	e := newEnvOn(t, ownServer(t), fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d := e.daemon("--checkpoint-interval", "200ms")
	d.logged("marker set", 20*time.Second)
	e.insertAt(3, "q", 5, true)
	next := e.connect() // has the lead when the daemon gives it up, before finish
	leads := make(chan error, 1)
	go func() {
		_, err := next.Exec(t.Context(), `select pg_advisory_lock(hashtextextended($1, 0))`, checkpoint.LockKey("awa"))
		leads <- err
	}()
	said, how := e.finishes("1s", "1m")
	require.NoError(t, <-leads)
	letGo := e.holds(lockLedger)
	require.NoError(t, next.Close(t.Context()))
	said("finish: the ledger of ring slot 2 is locked; waiting for it")
	said("awa-counterd: not finished: the ledger of ring slot 2 is locked, it seems by process ")
	require.Equal(t, refused, how())
	letGo()
	e.marker(true, 20*time.Second)
}

// Somebody holds the counters for longer than a command waits for a lock: finish waits, and status says so.
func TestCountersAreLockedForAWhile(t *testing.T) {
	t.Parallel()
	e := newEnvOn(t, ownServer(t), fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d := e.daemon("--checkpoint-interval", "200ms")
	d.logged("marker set", 20*time.Second)
	e.insertAt(3, "q", 5, true)
	watch := exec.Command(binary, "status", "--watch", "--database-url", e.url())
	out, err := watch.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, watch.Start())
	t.Cleanup(func() { _ = watch.Process.Kill(); _ = watch.Wait() })
	lines := bufio.NewScanner(out)
	shows := func(text string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), text) {
				return
			}
		}
		require.FailNow(t, "not shown: "+text)
	}
	shows("trust     marker set")
	letGo := e.holds(lockCounters)
	shows("status    could not be read: what tells of the daemon and its counters is locked, it seems by process ")
	code, _, errs := e.command("status")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "what tells of the daemon and its counters is locked, it seems by process ")
	require.Contains(t, errs, "end that transaction, and run it again")
	said, how := e.finishes("1s", "1m")
	said("finish: waiting: what tells of the daemon and its counters is locked, it seems by process ")
	letGo()
	shows("leader    ")
	e.finished(d, how)
}
