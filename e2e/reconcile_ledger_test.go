package e2e

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// The one-shot beside everything: writers of both kinds, folds, prunes, rebuilds. Each time it is right by
// sums and by bucket, once the writers rest.
func TestReconcileOnTheLedger(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 8})
	f := e.fleet(fleet.Config{Pre: 2, Post: 2, Pause: 10 * time.Millisecond, Prune: 300 * time.Millisecond, Fold: 300 * time.Millisecond, Chaos: 500 * time.Millisecond, Seed: 231})
	for range 8 {
		code, out, errs := e.command("reconcile")
		require.Contains(t, []int{0, 3}, code, out+errs)
	}
	f.Stop()
	e.foldAll()
	code, out, errs := e.command("reconcile")
	require.Zero(t, code, out+errs)
	e.balanced(0)
	e.byBucket()
	e.undisturbed(f)
	code, out, _ = e.command("reconcile", "--check")
	require.Zero(t, code, out)
}

// Nothing can be counted in a slot that has no leaf, so the one-shot takes away what counter rows there are.
func TestReconcileTakesAwayWhatHasNoLeaf(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	e.insertAt(1, "q", 5, true)
	e.orphans()
	worst := e.reconcile(3, "--check").Worst
	require.Equal(t, 99, worst[0].Slot)
	require.EqualValues(t, -3, worst[0].Drift)
	require.Equal(t, 1, e.reconcile(0).Corrected)
	e.balanced(0)
	e.byBucket()
}

// orphans leaves counter rows of a slot that has no leaf, one in our bucket among them.
func (e *env) orphans() {
	e.t.Helper()
	e.exec(`insert into awa.queue_terminal_live_counts (ready_slot, queue, priority, enqueue_shard, counter_bucket, live_terminal_count)
		values (99, 'gone', 1, 0, 7, 4), (99, 'gone', 1, 0, 300, -1)`)
}

// Round after round, right each time, by bucket too: in each the one-shot runs beside all of it, and again when
// the uncounted writers rest, beside counted ones, folds, prunes and rebuilds; then one snapshot has to be right.
// AWACD_ROUNDS=200 is the full length.
func TestReconcileIsRightEachTime(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 8})
	rounds, err := strconv.Atoi(cmp.Or(os.Getenv("AWACD_ROUNDS"), "5"))
	require.NoError(t, err)
	counted := e.fleet(fleet.Config{Post: 3, Pause: 10 * time.Millisecond, Prune: 150 * time.Millisecond, OldLeads: -1, Fold: 150 * time.Millisecond, Seed: 241})
	rebuilt := 0
	for round := range rounds {
		mixed := e.fleet(fleet.Config{Pre: 3, Pause: 5 * time.Millisecond, Prune: 60 * time.Millisecond, OldLeads: 1, Chaos: 300 * time.Millisecond, Seed: uint64(round)})
		code, _, errs := e.command("reconcile")
		require.Contains(t, []int{0, 3}, code, errs)
		mixed.Stop()
		quiet, end := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for round%2 == 0 && quiet.Err() == nil { // a rebuild makes everything right by itself
				if fleet.Do(quiet, e.pool, func(tx pgx.Tx) error { return e.layout.Writer(true).Rebuild(quiet, tx) }) == nil {
					rebuilt++
				}
				select { // one after the other they would keep everybody out
				case <-quiet.Done():
				case <-time.After(200 * time.Millisecond):
				}
			}
		}()
		code, out, errs := e.command("reconcile")
		end()
		<-ended
		require.Zero(t, code, out+errs)
		_, wrong, err := fleet.CompareBuckets(t.Context(), e.pool, e.layout.Schema)
		require.NoError(t, err)
		require.Empty(t, wrong, "round %d", round)
		e.undisturbed(mixed)
	}
	counted.Stop()
	e.balanced(0)
	e.byBucket()
	e.undisturbed(counted)
	require.NotZero(t, rebuilt)
	require.NotZero(t, counted.Folds.Load())
	require.NotZero(t, counted.Prunes.Load())
	t.Logf("%d rounds; %d rebuilds, %d folds, %d prunes, %d counted operations beside the ones that had to be right", rounds, rebuilt, counted.Folds.Load(), counted.Prunes.Load(), counted.Ops.Load())
}

// Changes of another generation are counted by readers and dropped by awa's next fold: no command sets the
// marker for good over them. Where nobody follows they move to the counters; where the ring stands because of
// them, no fold would ever come.
func TestNoTrustOverAStaleLedger(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	k := fleet.Key{Slot: 1, Queue: "q", Priority: 1}
	late := func() {
		e.do(true, func(tx pgx.Tx, w fleet.Writer) error { return w.LateDelta(t.Context(), tx, k, 3) })
	}
	moved := func() {
		t.Helper()
		require.Zero(t, e.scalar(`select count(*) from awa.queue_terminal_count_deltas where terminal_delta = 3`), "left in the ledger")
		e.balanced(0)
		e.byBucket()
		e.foldAll()
		e.balanced(0)
		e.byBucket()
	}
	e.do(true, func(tx pgx.Tx, w fleet.Writer) error { return w.Insert(t.Context(), tx, k, 5, "failed", "") })

	// Readers count them, so a scan does.
	late()
	require.EqualValues(t, -3, e.reconcile(3, "--check").Worst[0].Drift)

	// A role that may not delete them says which right it lacks, and sets nothing.
	role := e.role("")
	e.exec(fmt.Sprintf(`grant usage on schema awa to %[1]s; grant select on all tables in schema awa to %[1]s;
		grant insert, update, delete on awa.queue_terminal_live_counts to %[1]s; grant update (terminal_counter_trusted_at) on awa.queue_ring_state to %[1]s`, role))
	e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = null`)
	code, out, errs := e.commandOn(e.server.URL(role, "", e.db), "reconcile", "--trust", "--observe", "1s")
	require.Equal(t, refused, code, out+errs)
	require.Contains(t, errs, "has 1 changes of another generation")
	require.Contains(t, errs, "GRANT DELETE ON awa.queue_terminal_count_deltas_1")
	e.marker(false, 0)

	code, out, errs = e.command("reconcile", "--trust", "--observe", "1s")
	require.Zero(t, code, out+errs)
	e.marker(true, 0)
	moved()

	// While a daemon follows, they stay: no stream tells of a delete on the ledger.
	d := e.daemon("--checkpoint-interval", "100ms")
	e.marker(true, 15*time.Second)
	late()
	e.balanced(5 * time.Second)
	code, out, errs = e.command("reconcile")
	require.Zero(t, code, out+errs)
	require.Contains(t, out, "note: the ledger of ring slot 1 (")
	e.balanced(5 * time.Second)
	code, out, errs = e.command("finish", "--quiet-period", "1s", "--timeout", "20s")
	require.Zero(t, code, out+errs)
	require.Contains(t, out, "moved 1 changes of other generations")
	require.Zero(t, d.wait(5*time.Second))
	e.marker(true, 0)
	moved()
}

// awa 0.7 keeps the ring's generation elsewhere, and writes -1 where it was.
func TestNoTrustOverAStaleLedgerWhereTheRingIsElsewhere(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Release: fleet.Next, Slots: 4})
	k := fleet.Key{Slot: 1, Queue: "q", Priority: 1}
	e.exec(`update awa.queue_ring_state set current_slot = 2, generation = 6`)
	e.exec(`update awa.queue_ring_slots set generation = case slot when 3 then 3 else 4 + slot end`)
	e.do(true, func(tx pgx.Tx, w fleet.Writer) error { return w.Insert(t.Context(), tx, k, 5, "failed", "") })
	e.do(true, func(tx pgx.Tx, w fleet.Writer) error { return w.LateDelta(t.Context(), tx, k, 3) })
	e.exec(`create table awa.queue_ring_rotations (generation bigint primary key, slot integer not null, rotated_at timestamptz not null default now());
		insert into awa.queue_ring_rotations select generation, slot from awa.queue_ring_slots where generation >= 0;
		delete from awa.queue_ring_rotations where generation < (select max(generation) from awa.queue_ring_rotations);
		update awa.queue_ring_slots set generation = -1`)
	code, out, errs := e.command("reconcile", "--trust", "--observe", "1s")
	require.Zero(t, code, out+errs)
	require.Zero(t, e.scalar(`select count(*) from awa.queue_terminal_count_deltas where terminal_delta = 3`), "left in the ledger")
	require.Positive(t, e.scalar(`select count(*) from awa.queue_terminal_count_deltas`), "of its own generation")
	e.balanced(0)
	e.byBucket()
}
