package e2e

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// The counters are right, and long after the last uncounted write a daemon stops in good order. That the sum of a group's
// buckets is right says little of each: new binaries count jobs away where there is no counter row, and the next fold of
// awa's throws that away. Nobody vouches for that.
func TestStopVouchesForNoBucket(t *testing.T) {
	t.Parallel()
	k := fleet.Key{Slot: 1, Queue: "q", Priority: 1}
	insert := func(n int) func(pgx.Tx, fleet.Writer) error {
		return func(tx pgx.Tx, w fleet.Writer) error { return w.Insert(t.Context(), tx, k, n, "failed", "") }
	}
	remove := func(n int) func(pgx.Tx, fleet.Writer) error {
		return func(tx pgx.Tx, w fleet.Writer) error { _, err := w.Delete(t.Context(), tx, "q", n); return err }
	}
	const ours = `select count(*) from awa.queue_terminal_live_counts where counter_bucket = 300`
	for _, c := range []struct {
		name          string
		before, after func(e *env)
		own           int64 // counter rows of the daemon
	}{
		{
			"in the daemon's own bucket", func(e *env) { e.do(false, insert(40)) },
			func(e *env) { e.do(true, remove(30)) }, 1,
		},
		{ // an old binary writes a job and retries one that a new binary counted
			"cancelled out", func(e *env) {
				e.do(true, insert(1))
				e.foldAll()
				e.do(false, insert(1))
				e.balanced(10 * time.Second)
				e.exec(`delete from awa.done_entries where job_id = (select min(job_id) from awa.done_entries)`)
			},
			func(e *env) { e.do(true, remove(1)) }, 0,
		},
		{ // rows, and their changes in the ledger, which are of another generation
			"in a stale ledger", func(e *env) {
				e.do(false, func(tx pgx.Tx, w fleet.Writer) error {
					if err := insert(3)(tx, w); err != nil {
						return err
					}
					return w.LateDelta(t.Context(), tx, k, 3)
				})
			},
			func(e *env) { e.do(true, insert(1)) }, 0,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			d := e.daemon("--checkpoint-interval", "200ms", "--quiet-period", "1s")
			e.marker(true, 60*time.Second)
			c.before(e)
			e.balanced(10 * time.Second)
			e.wait(1200 * time.Millisecond) // nothing uncounted is recent any more
			e.marker(true, 10*time.Second)
			require.Equal(t, c.own, e.scalar(ours))
			require.Zero(t, d.stop())
			e.marker(false, 0)
			c.after(e)
			e.foldAll()
			_, wrong, err := fleet.Compare(t.Context(), e.pool, "awa")
			require.NoError(t, err)
			require.NotEmpty(t, wrong, "the fold keeps the counter right: then this test shows nothing")
			e.daemon()
			e.marker(true, 60*time.Second)
			e.balanced(0)
		})
	}
}
