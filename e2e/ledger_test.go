package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// byBucket demands that every counter row is what awa itself would hold.
func (e *env) byBucket() {
	e.t.Helper()
	_, wrong, err := fleet.CompareBuckets(e.t.Context(), e.pool, e.layout.Schema)
	require.NoError(e.t, err)
	require.Empty(e.t, wrong, "right as sums at most")
	require.Zero(e.t, e.scalar(fmt.Sprintf(`select count(*) from %s.queue_terminal_live_counts where counter_bucket > 255`, e.layout.Schema)), "rows of ours are left")
}

// foldAll folds every sealed slot, as awa's leader does in its time.
func (e *env) foldAll() {
	e.t.Helper()
	w := e.layout.Writer(true)
	slots, err := w.FoldCandidates(e.t.Context(), e.pool)
	require.NoError(e.t, err)
	for _, slot := range slots {
		e.until(e.t.Context(), func() bool {
			var out fleet.Outcome
			err := fleet.Do(e.t.Context(), e.pool, func(tx pgx.Tx) (err error) {
				out, err = w.Fold(e.t.Context(), tx, slot)
				return err
			})
			return err == nil && out != fleet.StoodDown
		}, func() string { return "a fold stands down for ever" })
	}
}

// After finish nobody is left to mend anything: retries, discards, moves to the DLQ and deletes by SQL of
// rows that only we ever counted, and then awa's folds, leave every counter right. Without redistribution the
// folds throw the decrements away. On a ring that stands nothing was ever pruned; on one that turns, slots were
// used again and again, by leaders of both kinds, failed rows were carried on, and the ring goes on turning.
func TestFinishLeavesNothingForAFoldToThrowAway(t *testing.T) {
	for name, c := range map[string]struct {
		slots int
		fleet fleet.Config
	}{
		"ring stands": {fleet: fleet.Config{Seed: 201}},
		"ring turns":  {slots: 8, fleet: fleet.Config{Seed: 202, Prune: 150 * time.Millisecond, Retain: time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: c.slots})
			d := e.daemon("--checkpoint-interval", "200ms")
			e.marker(true, 15*time.Second)
			c.fleet.Pre, c.fleet.Post, c.fleet.Pause, c.fleet.Fold = 2, 2, 8*time.Millisecond, 300*time.Millisecond
			f := e.fleet(c.fleet)
			e.wait(4 * time.Second)
			f.Stop()
			if c.fleet.Prune > 0 {
				require.Greater(t, f.Prunes.Load(), int64(c.slots), "the ring did not turn")
			}
			for _, queue := range fourQueues { // an old leader's last prune may have taken every failed row with it
				k := fleet.Key{Slot: 1, Queue: queue, Priority: 1}
				e.do(false, func(tx pgx.Tx, w fleet.Writer) error { return w.Insert(t.Context(), tx, k, 40, "failed", "") })
			}
			e.orphans()
			e.balanced(2 * time.Second)
			require.Positive(t, e.scalar(`select count(*) from awa.queue_terminal_live_counts where counter_bucket = 300`), "nothing was corrected")
			code, out, errs := e.command("finish", "--quiet-period", "1s", "--timeout", "30s")
			require.Zero(t, code, out+errs)
			require.Contains(t, out, "moved the corrections to")
			require.Zero(t, d.wait(5*time.Second))
			e.balanced(0)
			e.byBucket()

			now := fourQueues
			if c.fleet.Prune > 0 {
				now = fourQueues[:2] // and the others when they were carried on
			}
			e.operateOnOldJobs(201, now)
			e.balanced(0)
			e.byBucket()
			e.foldAll()
			e.balanced(0)
			e.byBucket()
			e.readersAgree(fourQueues...)
			if c.fleet.Prune > 0 {
				e.lap(c.fleet.Retain)
				e.operateOnOldJobs(203, fourQueues[2:])
				e.foldAll()
				e.balanced(0)
				e.byBucket()
				e.readersAgree(fourQueues...)
			}
		})
	}
}

// operateOnOldJobs retries, discards, moves to the DLQ and deletes by SQL what has failed, as a new binary does.
func (e *env) operateOnOldJobs(seed uint64, queues []string) {
	e.t.Helper()
	failed := func() int64 {
		return e.scalar(`select count(*) from awa.done_entries where state = 'failed' and queue = any($1)`, queues)
	}
	before := failed()
	require.Positive(e.t, before, "no failed jobs to work on")
	p := fleet.Pick{Rand: rand.New(rand.NewPCG(seed, 1)), Queues: queues, Slots: e.layout.Slots}
	// Those that take one job at a time come first: the others leave none.
	for _, name := range []string{"retry", "compat delete", "move to DLQ", "retry failed", "bulk move to DLQ", "discard failed"} {
		for _, op := range fleet.Ops() {
			if op.Name != name {
				continue
			}
			times := 25
			if strings.HasPrefix(name, "bulk") || strings.HasSuffix(name, " failed") {
				times = 1 // takes up to hundreds
			}
			for range times {
				e.do(true, func(tx pgx.Tx, w fleet.Writer) error { return op.Run(e.t.Context(), tx, w, p) })
			}
		}
	}
	require.Less(e.t, failed(), before, "nothing was done")
}

// lap has a new leader empty every slot but the one that is written, carry failed rows on, and turn the ring.
func (e *env) lap(retain time.Duration) {
	e.t.Helper()
	w := e.layout.Writer(true)
	w.Retain = retain
	for range e.layout.Slots {
		for _, step := range []func(pgx.Tx) error{
			func(tx pgx.Tx) error { return w.Prune(e.t.Context(), tx, -1) },
			func(tx pgx.Tx) error { return w.Rotate(e.t.Context(), tx) },
		} {
			e.until(e.t.Context(), func() bool {
				err := fleet.Do(e.t.Context(), e.pool, step)
				if !errors.Is(err, fleet.ErrBlocked) {
					require.NoError(e.t, err)
				}
				return err == nil
			}, func() string { return "a leader is kept out for ever" })
		}
		e.foldAll()
		e.balanced(0)
		e.byBucket()
	}
}

// A mixed fleet on every release of the ledger, whose ring turns: new leaders carry failed rows on at each
// lap, old ones leave counters and ledger behind, folds come and go. No prune is called wrong, and prunes of new
// leaders are nobody's uncounted writes.
func TestRingTurns(t *testing.T) {
	for _, release := range []string{fleet.Beta2, "0.6.0", fleet.Latest, fleet.Next} {
		t.Run(release, func(t *testing.T) {
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Release: release, Slots: 8})
			d := e.daemon("--audit-interval", "2s", "--checkpoint-interval", "300ms")
			e.marker(true, 15*time.Second)
			f := e.fleet(fleet.Config{
				Pre: 2, Post: 2, Pause: 10 * time.Millisecond, Prune: 150 * time.Millisecond, Fold: 400 * time.Millisecond,
				Retain: time.Hour, Seed: 211,
			})
			s := e.sample(15 * time.Millisecond)
			e.wait(6 * time.Second)
			f.Stop()
			s.end()
			require.NoError(t, s.err)
			e.balanced(2 * time.Second)
			t.Logf("%d transactions, %d prunes, %d folds, %d folds skipped, oldest drift while trusted %s", f.Ops.Load(), f.Prunes.Load(), f.Folds.Load(), f.Skipped.Load(), s.Oldest)
			require.Zero(t, s.Dishonest, "%+v", s.First)
			require.GreaterOrEqual(t, s.Trusted, s.Samples/2, "hardly ever trusted")
			e.undisturbed(f)
			require.Positive(t, f.Prunes.Load())
			e.noMismatch(d)
		})
	}
}

// A fleet of new binaries alone gets no correction, whatever it does, but for what its own folds throw away.
func TestCountingFleetIsLeftAlone(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 8})
	d := e.daemon("--audit-interval", "2s", "--checkpoint-interval", "200ms")
	e.marker(true, 15*time.Second)
	f := e.fleet(fleet.Config{
		Post: 3, Pause: 10 * time.Millisecond, Prune: 150 * time.Millisecond, Fold: 300 * time.Millisecond,
		Retain: time.Hour, OldLeads: -1, Seed: 221,
	})
	e.wait(5 * time.Second)
	f.Stop()
	e.balanced(2 * time.Second)
	e.wait(500 * time.Millisecond) // a checkpoint
	require.Positive(t, f.Prunes.Load())
	require.Zero(t, e.scalar(`select count(*) from awa_counterd.uncounted_writes where kind <> 'counter'`), "a new binary passed for an old one")
	require.Zero(t, e.scalar(`select count(*) from awa_counterd.checkpoint where last_old_prune_at is not null`))
	e.noMismatch(d)
}

// What else drives counters wrong on the ledger is corrected, and told apart from old binaries.
func TestKindsOfUncountedWrites(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	conn := e.connect()
	d := e.daemon("--checkpoint-interval", "100ms", "--audit-interval", "1s")
	e.marker(true, 15*time.Second)
	k := fleet.Key{Slot: 1, Queue: "q", Priority: 1}
	counted := func(f func(tx pgx.Tx, w fleet.Writer) error) { e.do(true, f); e.balanced(3 * time.Second) }
	counted(func(tx pgx.Tx, w fleet.Writer) error { return w.Insert(t.Context(), tx, k, 20, "failed", "") })
	counted(func(tx pgx.Tx, w fleet.Writer) error { return w.Poison(t.Context(), tx, k, 99) })
	counted(func(tx pgx.Tx, w fleet.Writer) error { return w.Rebuild(t.Context(), tx) })
	counted(func(tx pgx.Tx, w fleet.Writer) error { return w.Insert(t.Context(), tx, k, 7, "failed", "") })
	require.NoError(t, e.layout.MigrateAgain(t.Context(), conn)) // counts the 7 pending ones twice
	e.balanced(5 * time.Second)
	counted(func(tx pgx.Tx, w fleet.Writer) error { return w.LateDelta(t.Context(), tx, k, 5) })
	e.foldAll()
	e.balanced(3 * time.Second)
	kinds := func(kind string) int64 {
		return e.scalar(`select count(*) from awa_counterd.uncounted_writes where kind = $1`, kind)
	}
	saved := func(ok func() bool, complaint string) {
		ctx, cancel := contextWithin(5 * time.Second)
		defer cancel()
		e.until(ctx, ok, func() string { return complaint })
	}
	saved(func() bool { return kinds("counter") == 1 }, "no checkpoint")
	require.Zero(t, kinds("rows")+kinds("prune"))
	require.NotContains(t, e.status().Next, "pre-#290")

	// An old leader's prune of an empty slot leaves every drift as it was, and still tells of the old leader.
	e.do(false, func(tx pgx.Tx, w fleet.Writer) error { return w.Prune(t.Context(), tx, 3) })
	saved(func() bool {
		return e.scalar(`select count(*) from awa_counterd.checkpoint where last_old_prune_at is not null`) == 1
	}, "an old leader's prune was not noticed")
	require.Zero(t, kinds("prune"))
	require.Contains(t, e.status().Next, "a pre-#290 worker did awa's maintenance")
	e.do(false, func(tx pgx.Tx, w fleet.Writer) error { return w.Prune(t.Context(), tx, 1) })
	e.balanced(3 * time.Second)
	saved(func() bool { return kinds("prune") == 1 }, "no checkpoint")
	require.Zero(t, kinds("rows"))
	next := e.status().Next
	require.Contains(t, next, "a pre-#290 worker did awa's maintenance")
	require.NotContains(t, next, "on queue", "no old binary wrote any")
	e.do(false, func(tx pgx.Tx, w fleet.Writer) error { return w.Insert(t.Context(), tx, k, 3, "failed", "") })
	e.balanced(3 * time.Second)
	saved(func() bool { return kinds("rows") == 1 }, "no checkpoint")
	require.Contains(t, e.status().Next, "pre-#290 writers still active on queue q")
	e.noMismatch(d)
}

// From 0.6.0 on a plain success leaves a batch and no row, and readers add the batches up by themselves: nothing is counted or
// corrected for them, for the tombstone that unmakes one, or for their prune; rows beside them are.
func TestCompactCompletionsAreNotOurs(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d := e.daemon("--checkpoint-interval", "100ms", "--audit-interval", "1s")
	e.marker(true, 15*time.Second)
	for slot, n := range map[int32]int{1: 20, 2: 30} {
		k := fleet.Key{Slot: slot, Queue: "q", Priority: 1}
		e.do(true, func(tx pgx.Tx, w fleet.Writer) error { return w.InsertCompact(t.Context(), tx, k, n) })
	}
	total := func() int64 {
		n, err := fleet.ReadCounter(t.Context(), e.pool, "awa", "q")
		require.NoError(t, err)
		return n
	}
	e.exec(`select awa.delete_job_compat((select job_ids[1] from awa.receipt_completion_batches where ready_slot = 1))`)
	require.EqualValues(t, 1, e.scalar(`select count(*) from awa.receipt_completion_tombstones`))
	require.EqualValues(t, 49, total())
	e.do(true, func(tx pgx.Tx, w fleet.Writer) error { return w.Prune(t.Context(), tx, 1) })
	require.EqualValues(t, 49, total())
	e.insertAt(2, "q", 3, false)
	e.balanced(3 * time.Second)
	e.readersAgree("q")
	require.EqualValues(t, 52, total())
	ctx, cancel := contextWithin(5 * time.Second)
	defer cancel()
	e.until(ctx, func() bool { return e.scalar(`select count(*) from awa_counterd.uncounted_writes`) == 1 }, func() string { return "no checkpoint" })
	require.EqualValues(t, 3, e.scalar(`select rows_off from awa_counterd.uncounted_writes where kind = 'rows'`))
	require.EqualValues(t, 3, e.scalar(`select sum(live_terminal_count)::int8 from awa.queue_terminal_live_counts`))
	require.EqualValues(t, 1, e.scalar(`select count(*) from awa_counterd.books`), "groups of which nothing is a row")
	e.noMismatch(d)
	require.Zero(t, d.stop())
}

// A pruner that folds fewer jobs than the slot has rows is reported, and nothing is done about it.
func TestPlantedShortfallIsReported(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d := e.daemon()
	e.marker(true, 15*time.Second)
	e.do(true, func(tx pgx.Tx, w fleet.Writer) error {
		return w.Insert(t.Context(), tx, fleet.Key{Slot: 1, Queue: "q", Priority: 1}, 20, "failed", "")
	})
	e.balanced(2 * time.Second)
	e.exec(`begin; truncate awa.done_entries_1, awa.queue_terminal_count_deltas_1;
		insert into awa.queue_terminal_rollups (queue, priority, pruned_completed_count, pruned_failed_count) values ('q', 1, 0, 13); commit`)
	said := d.logged("a prune added a different number of jobs to awa's rollups than the books had", 5*time.Second)
	require.EqualValues(t, 20, said["books"])
	require.EqualValues(t, 13, said["folded"])
}

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

// A counter table in which our bucket is not free is refused by name.
func TestRefusesATakenBucket(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	e.exec(`alter table awa.queue_terminal_live_counts add constraint few_buckets check (counter_bucket between 0 and 255)`)
	refuses(t, refused, e.url(), nil, "constraint few_buckets")
	e.exec(`alter table awa.queue_terminal_live_counts drop constraint few_buckets, add constraint not_below check (live_terminal_count >= 0)`)
	refuses(t, refused, e.url(), nil, "constraint not_below")
	e.exec(`alter table awa.queue_terminal_live_counts drop constraint not_below;
		insert into awa.queue_terminal_live_counts values (0, 'q', 1, 0, 511, 4)`)
	refuses(t, refused, e.url(), nil, "counter_bucket = 511")
	for _, args := range [][]string{{"reconcile"}, {"reconcile", "--trust"}, {"finish"}} {
		code, _, errs := e.command(args...)
		require.Equal(t, refused, code, errs)
		require.Contains(t, errs, "counter_bucket = 511")
	}
	require.EqualValues(t, 4, e.scalar(`select live_terminal_count from awa.queue_terminal_live_counts where counter_bucket = 511`))
}
