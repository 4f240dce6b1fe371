package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// When the daemons have left, nobody follows any more. What an old binary writes then, before finish has come to its slot for the last
// time, is not mended and forgotten.
func TestFinishSeesWhoWritesWhenDaemonsHaveLeft(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d := e.daemon("--checkpoint-interval", "200ms")
	d.logged("marker set", 20*time.Second)
	e.insertAt(3, "q", 5, false)
	e.balanced(5 * time.Second)
	next := e.connect() // has the lead when the daemon gives it up, before finish
	leads := make(chan error, 1)
	go func() {
		_, err := next.Exec(t.Context(), `select pg_advisory_lock(hashtextextended($1, 0))`, checkpoint.LockKey("awa"))
		leads <- err
	}()
	said, how := e.finishes("5s", "1m")
	require.NoError(t, <-leads)
	e.insertAt(3, "q", 1, false)
	require.NoError(t, next.Close(t.Context()))
	said("awa-counterd: not finished: the counters of 1 groups became wrong when the daemons had left, the first on queue q")
	require.Equal(t, refused, how())
	e.balanced(10 * time.Second)
	e.marker(true, 20*time.Second)
}

// The same where corrections go to awa's own rows, and the daemon still corrects: an old binary that writes when finish has asked the
// daemon, and before it has asked it to leave.
func TestFinishOfSharedRowsAsksAgain(t *testing.T) {
	t.Parallel()
	e := newEnvOn(t, ownServer(t), fleet.Layout{Shape: fleet.Direct, Slots: 4})
	_, said, look, how := e.finishLooks("1m")
	e.insertAt(3, "q", 1, false)
	ctx, cancel := contextWithin(20 * time.Second)
	defer cancel()
	e.until(ctx, func() bool {
		return e.scalar(`select sum(live_terminal_count)::int8 from awa.queue_terminal_live_counts`) == 6
	}, func() string { return "the daemon does not correct" })
	look()
	said("awa-counterd: not finished: pre-#290 writers still active on queue q")
	require.Equal(t, refused, how())
	e.marker(true, 20*time.Second)
}

// Somebody holds a leaf, so that a look at the counters cannot go on: finish says so, and waits no longer than it was told.
func TestFinishSaysThatItsLookWaits(t *testing.T) {
	t.Parallel()
	e := newEnvOn(t, ownServer(t), fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	_, said, look, how := e.finishLooks("6s")
	_ = e.holds(`lock table awa.done_entries_2 in access exclusive mode`)
	look()
	said("finish: ring slot 2 is locked; waiting for it")
	said("awa-counterd: not finished within 6s: scan ring slot 2")
	require.Equal(t, refused, how())
}
