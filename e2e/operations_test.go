package e2e

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Each of awa's operations alone, from a pre-#290 and from a post-#290 binary: the counters come out
// right, both of awa's reading paths agree, and only what was uncounted is reported as uncounted.
func TestEachOperation(t *testing.T) {
	e := newEnv(t, fleet.Layout{})
	queues := []string{"email", "billing"}
	for _, q := range queues { // something for retries and deletes to work on
		e.do(true, func(tx pgx.Tx, w fleet.Writer) error {
			for slot := range int32(4) {
				if err := w.Insert(t.Context(), tx, fleet.Key{Slot: slot, Queue: q, Priority: 1}, 300, "failed", ""); err != nil {
					return err
				}
			}
			return nil
		})
	}
	d := e.daemon()
	e.marker(true, 10*time.Second)

	pick := fleet.Pick{Rand: rand.New(rand.NewPCG(1, 1)), Queues: queues, Slots: 4}
	ops := fleet.Ops()
	for slot := range int32(4) {
		ops = append(ops, fleet.Op{Name: "prune", Run: func(ctx ctx, tx pgx.Tx, w fleet.Writer, _ fleet.Pick) error {
			return w.Prune(ctx, tx, slot)
		}})
	}
	for _, op := range ops {
		for _, counted := range []bool{true, false} {
			t.Run(op.Name+map[bool]string{true: "/counted", false: "/uncounted"}[counted], func(t *testing.T) {
				before := e.uncounted()
				e.do(counted, func(tx pgx.Tx, w fleet.Writer) error { return op.Run(t.Context(), tx, w, pick) })
				e.balanced(2 * time.Second)
				e.readersAgree(queues...)
				if counted {
					require.Equal(t, before, e.uncounted(), "a counted write passed for an uncounted one")
				}
			})
		}
	}
	require.Zero(t, d.stop())
}

// readersAgree compares awa's two reading paths.
func (e *env) readersAgree(queues ...string) {
	e.t.Helper()
	for _, q := range queues {
		counter, err := fleet.ReadCounter(e.t.Context(), e.pool, e.layout.Schema, q)
		require.NoError(e.t, err)
		scan, err := fleet.ReadScan(e.t.Context(), e.pool, e.layout.Schema, q)
		require.NoError(e.t, err)
		require.Equal(e.t, scan, counter, "terminal of queue %s by counter and by scan", q)
	}
}

// uncounted is how many rows the last checkpoint knows to have been written uncounted.
func (e *env) uncounted() int64 {
	e.t.Helper()
	return e.scalar(`select coalesce(sum(rows_off), 0)::bigint from awa_counterd.uncounted_writes`)
}
