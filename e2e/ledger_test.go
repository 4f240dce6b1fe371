package e2e

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
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
	require.Zero(e.t, e.scalar(fmt.Sprintf(`select count(*) from %s.queue_terminal_live_counts where counter_bucket > 255`, e.layout.Schema)), "the daemon's own rows are left")
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
			e.marker(true, 20*time.Second)
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
			e.marker(true, 20*time.Second)
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
	e.marker(true, 20*time.Second)
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
	e.marker(true, 20*time.Second)
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
	e.marker(true, 20*time.Second)
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

// A pruner that folds fewer jobs than the slot has rows is reported, whatever release it is of, and nothing is done about it.
func TestPlantedShortfallIsReported(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]fleet.Layout{
		"#306": {Shape: fleet.Direct}, "0.6.0b2": {Release: fleet.Beta2}, "0.6.0": {Release: "0.6.0"}, "0.6.9": {}, "0.7": {Release: fleet.Next},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l.Slots, l.Shape = 4, cmp.Or(l.Shape, fleet.Ledger)
			e := newEnv(t, l)
			d := e.daemon()
			e.marker(true, 20*time.Second)
			k := fleet.Key{Slot: 1, Queue: "q", Priority: 1}
			e.do(true, func(tx pgx.Tx, w fleet.Writer) error { return w.Insert(t.Context(), tx, k, 20, "completed", "") })
			e.balanced(2 * time.Second)
			e.do(true, func(tx pgx.Tx, w fleet.Writer) error {
				if err := w.Prune(t.Context(), tx, k.Slot); err != nil {
					return err
				}
				fewer := `update awa.queue_terminal_rollups set pruned_completed_count = pruned_completed_count - 7`
				if l.Release == fleet.Next {
					fewer = `insert into awa.queue_terminal_rollup_deltas (queue, priority, pruned_completed_delta, pruned_failed_delta) values ('q', 1, -7, 0)`
				}
				_, err := tx.Exec(t.Context(), fewer)
				return err
			})
			said := d.logged("a prune added a different number of jobs to awa's rollups than the books had", 5*time.Second)
			require.EqualValues(t, 20, said["books"])
			require.EqualValues(t, 13, said["folded"])
		})
	}
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
	for _, args := range [][]string{{"reconcile"}, {"reconcile", "--trust"}} {
		code, _, errs := e.command(args...)
		require.Equal(t, refused, code, errs)
		require.Contains(t, errs, "counter_bucket = 511")
	}
	require.EqualValues(t, 4, e.scalar(`select live_terminal_count from awa.queue_terminal_live_counts where counter_bucket = 511`))
}
