package e2e

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

var queues = []string{"email", "billing"}

// seeded makes an environment with failed rows for retries and deletes to work on.
func seeded(t *testing.T) *env {
	t.Helper()
	e := newEnv(t, fleet.Layout{})
	for _, q := range queues {
		e.do(true, func(tx pgx.Tx, w fleet.Writer) error {
			for slot := range int32(4) {
				if err := w.Insert(t.Context(), tx, fleet.Key{Slot: slot, Queue: q, Priority: 1}, 300, "failed", ""); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return e
}

func operations(t *testing.T) []fleet.Op {
	t.Helper()
	ops := fleet.Ops()
	for slot := range int32(4) {
		ops = append(ops, fleet.Op{Name: "prune", Run: func(ctx testContext, tx pgx.Tx, w fleet.Writer, _ fleet.Pick) error {
			return w.Prune(ctx, tx, slot)
		}})
	}
	return append(ops,
		fleet.Op{Name: "rotate", Run: func(ctx testContext, tx pgx.Tx, w fleet.Writer, _ fleet.Pick) error { return w.Rotate(ctx, tx) }},
		fleet.Op{Name: "rebuild", Run: func(ctx testContext, tx pgx.Tx, w fleet.Writer, _ fleet.Pick) error { return w.Rebuild(ctx, tx) }},
		fleet.Op{Name: "reset", Run: func(ctx testContext, tx pgx.Tx, w fleet.Writer, _ fleet.Pick) error { return w.Reset(ctx, tx) }},
	)
}

// oneByOne does each operation by itself: within that time the counters are right, and both of awa's reading paths agree.
func (e *env) oneByOne(t *testing.T, counted bool, within time.Duration) {
	t.Helper()
	pick := fleet.Pick{Rand: rand.New(rand.NewPCG(1, 1)), Queues: queues, Slots: 4}
	for _, op := range operations(t) {
		t.Run(op.Name, func(t *testing.T) {
			e.do(counted, func(tx pgx.Tx, w fleet.Writer) error { return op.Run(t.Context(), tx, w, pick) })
			e.balanced(within)
			e.readersAgree(queues...)
		})
	}
}

// Each of awa's operations alone, from a post-#290 binary: nothing is corrected, and nothing is
// taken for an uncounted write.
func TestEachOperationCounted(t *testing.T) {
	e := seeded(t)
	d := e.daemon()
	e.marker(true, 10*time.Second)
	e.oneByOne(t, true, 0)
	require.Zero(t, d.stop())
	require.Zero(t, e.scalar(`select count(*) from awa_counterd.uncounted_writes`), "a counted write passed for an uncounted one")
	trusted, err := fleet.Trusted(t.Context(), e.pool, "awa")
	require.NoError(t, err)
	require.Equal(t, e.layout.Shape != fleet.Ledger, trusted, "nobody wrote uncounted, so the marker stays when the daemon leaves, unless awa spreads a group over buckets")
}

// Each of awa's operations alone, from a pre-#290 binary: both of awa's reading paths agree again
// at once.
func TestEachOperationUncounted(t *testing.T) {
	e := seeded(t)
	d := e.daemon()
	e.marker(true, 10*time.Second)
	e.oneByOne(t, false, 2*time.Second)
	require.Zero(t, d.stop())
	require.Positive(t, e.scalar(`select sum(rows_off)::bigint from awa_counterd.uncounted_writes`))
	trusted, err := fleet.Trusted(t.Context(), e.pool, "awa")
	require.NoError(t, err)
	require.False(t, trusted, "uncounted writes are recent, so the marker goes when the daemon leaves")
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
