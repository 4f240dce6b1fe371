package e2e

import (
	"cmp"
	"context"
	"encoding/json"
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

// Round after round, right each time, by bucket too. The first run of a round works beside writers and leaders of both
// kinds: then a group is wrong by the last of its uncounted changes, and by nothing else. The second one works when the
// uncounted ones rest, beside counted writers, folds and prunes: then one snapshot has to be right. Beside every other
// round awa's rebuild works as well, which makes everything right by itself; so in the rounds without, the one-shot must
// have found something to correct. AWACD_ROUNDS=200 is the full length.
func TestReconcileIsRightEachTime(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 8})
	rounds, err := strconv.Atoi(cmp.Or(os.Getenv("AWACD_ROUNDS"), "5"))
	require.NoError(t, err)
	counted := e.fleet(fleet.Config{
		Post: 3, Pause: 10 * time.Millisecond, Prune: 150 * time.Millisecond, OldLeads: -1, Retain: 3 * time.Second, Fold: 150 * time.Millisecond, Seed: 241,
	})
	rebuilt, corrected, late := 0, 0, 0
	for round := range rounds {
		alone := round%2 == 1
		rest := func() int { return 0 }
		if !alone {
			rest = e.rebuilds()
		}
		judge := func(r report) {
			rebuilt += rest()
			if !alone {
				return
			}
			corrected += r.Corrected
			require.Positive(t, r.Corrected, "round %d: nothing was wrong, so nothing was shown", round)
		}
		e.spoil(int64(round))
		began := e.clock()
		mixed := e.fleet(fleet.Config{Pre: 3, Post: 2, Pause: 5 * time.Millisecond, Prune: 60 * time.Millisecond, OldLeads: 1, Seed: uint64(round)})
		r := e.corrected(0, 3)
		mixed.Stop()
		judge(r)
		late += e.explained(began, round)
		e.undisturbed(mixed)

		e.spoil(int64(round))
		if !alone {
			rest = e.rebuilds()
		}
		judge(e.corrected(0))
		_, wrong, err := fleet.CompareBuckets(t.Context(), e.pool, e.layout.Schema)
		require.NoError(t, err)
		require.Empty(t, wrong, "round %d", round)
	}
	counted.Stop()
	e.balanced(0)
	e.byBucket()
	e.undisturbed(counted)
	require.NotZero(t, rebuilt)
	require.NotZero(t, late, "no uncounted change came after its scan: the first runs had nobody beside them")
	require.NotZero(t, counted.Folds.Load())
	require.NotZero(t, counted.Prunes.Load())
	t.Logf("%d rounds; %d groups corrected in those without a rebuild, %d wrong after a first run by changes that came after its scan; %d rebuilds, %d folds, %d prunes, %d counted operations beside",
		rounds, corrected, late, rebuilt, counted.Folds.Load(), counted.Prunes.Load(), counted.Ops.Load())
}

// corrected is a run of reconcile that ends with one of these codes.
func (e *env) corrected(codes ...int) (r report) {
	e.t.Helper()
	code, out, errs := e.command("reconcile", "--json")
	require.Contains(e.t, codes, code, out+errs)
	require.NoError(e.t, json.Unmarshal([]byte(out), &r), out)
	return r
}

// explained demands that each group is wrong by its last uncounted changes since a moment, by bucket where it has
// none. It returns how many are wrong.
func (e *env) explained(since time.Time, round int) int {
	e.t.Helper()
	unexplained, err := fleet.Unexplained(e.t.Context(), e.pool, e.layout.Schema, since)
	require.NoError(e.t, err)
	require.Empty(e.t, unexplained, "round %d: the one-shot left this wrong", round)
	buckets, err := fleet.UnexplainedBuckets(e.t.Context(), e.pool, e.layout.Schema, since)
	require.NoError(e.t, err)
	require.Empty(e.t, buckets, "round %d: right as sums at most", round)
	_, wrong, err := fleet.Compare(e.t.Context(), e.pool, e.layout.Schema)
	require.NoError(e.t, err)
	return len(wrong)
}

// spoil drives counters wrong in all ways there are: rows that nobody counted in every slot, counter rows that are too high
// or below 0, in a slot without a leaf as well, a job counted in another bucket than its own, a change that comes a lap late.
func (e *env) spoil(seed int64) {
	e.t.Helper()
	ctx := e.t.Context()
	for slot := range int32(e.layout.Slots) {
		k := fleet.Key{Slot: slot, Queue: fourQueues[slot%4], Priority: 1}
		e.do(false, func(tx pgx.Tx, w fleet.Writer) error { return w.Insert(ctx, tx, k, 3, "failed", "") })
		k.Priority = 2
		e.do(true, func(tx pgx.Tx, w fleet.Writer) error { return w.Poison(ctx, tx, k, 500*int64(slot%2)-seed-1) })
	}
	e.do(true, func(tx pgx.Tx, w fleet.Writer) error {
		return w.Poison(ctx, tx, fleet.Key{Slot: int32(e.layout.Slots) + 3, Queue: "gone", Priority: 1}, seed+1)
	})
	e.do(true, func(tx pgx.Tx, w fleet.Writer) error {
		return w.LateDelta(ctx, tx, fleet.Key{Slot: int32(seed % int64(e.layout.Slots)), Queue: fourQueues[0], Priority: 1}, 4)
	})
	e.exec(`insert into awa.queue_terminal_live_counts as x (ready_slot, queue, priority, enqueue_shard, counter_bucket, live_terminal_count)
		values (2, 'reports', 1, 1, 3, 1), (2, 'reports', 1, 1, 4, -1)
		on conflict (ready_slot, queue, priority, enqueue_shard, counter_bucket) do update set live_terminal_count = x.live_terminal_count + excluded.live_terminal_count`)
}

// rebuilds has awa's rebuild work, over and over, until rest is called, which says how often.
func (e *env) rebuilds() (rest func() int) {
	ctx, end := context.WithCancel(e.t.Context())
	done := make(chan int, 1)
	go func() {
		n := 0
		for ctx.Err() == nil {
			if fleet.Do(ctx, e.pool, func(tx pgx.Tx) error { return e.layout.Writer(true).Rebuild(ctx, tx) }) == nil {
				n++
			}
			select { // one after the other they would keep everybody out
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
		done <- n
	}()
	return func() int { end(); return <-done }
}

// clock is the server's.
func (e *env) clock() (now time.Time) {
	e.t.Helper()
	require.NoError(e.t, e.pool.QueryRow(e.t.Context(), `select clock_timestamp()`).Scan(&now))
	return now
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

// A daemon of another build, whose tables have another form, was stopped. It goes on from its checkpoint, in which changes of another
// generation are pending: no stream would tell it that they have left the ledger, and it would take its counters for too high.
func TestReconcileLeavesTheLedgerOfAnotherBuild(t *testing.T) {
	t.Parallel()
	older := olderBuilds(t, oneRow)[0]
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	e.insertAt(1, "q", 5, true)
	d := e.runs(older, e.url())
	e.serves(d, "leading")
	e.do(true, func(tx pgx.Tx, w fleet.Writer) error {
		return w.LateDelta(t.Context(), tx, fleet.Key{Slot: 1, Queue: "q", Priority: 1}, 3)
	})
	e.balanced(5 * time.Second)
	require.Zero(t, d.stop())
	said := e.says("reconcile")
	d = e.runs(older, e.url())
	d.logged(resumes, 20*time.Second)
	e.marker(true, 20*time.Second) // it has audited what it went on with
	e.noMismatch(d)
	e.balanced(0)
	require.Contains(t, said, "note: the ledger of ring slot 1 (")
	require.Zero(t, d.stop())

	e.says("teardown")
	require.NotContains(t, e.says("reconcile"), "note: the ledger", "nobody goes on from there any more")
	require.Zero(t, e.scalar(`select count(*) from awa.queue_terminal_count_deltas where terminal_delta = 3`))
	e.balanced(0)
}
