package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	busyFor     = 5 * time.Second  // of load, after finish
	operateFor  = 15 * time.Second // at least
	operateMost = time.Minute      // for what operators have not come to by then; something they have to have done
	foldsFor    = 15 * time.Second // at most, once everybody rests: a fold gives way to whoever has a snapshot
	standsFor   = 10 * time.Second // then something is in the ring's way
	longestLaps = 2 * time.Minute  // is what two turns of the ring may take, and operators who come late; two turns take 13 s where nothing is in the way
)

// operate has what failed long ago, some of it never counted but by us, retried, moved to the DLQ and back, deleted by SQL, and then the
// rest of it as it comes; also where the ring turns, which an old leader would not have survived. On a busy machine operators come late,
// and what had failed is gone by then: the load goes on until they have done each.
func (tr *trial) operate(ctx context.Context, from int64) error {
	before := tr.actions()
	acted := func(n int) bool {
		now := less(tr.actions(), before)
		return len(slices.DeleteFunc(oneByOne(), func(what string) bool { return now[what] == 0 })) >= n
	}
	tr.fleet.tell("resume")
	tr.fleet.tell("operate")
	defer tr.fleet.tell("rest")
	all := len(oneByOne())
	return tr.newFleet(ctx, from, func() bool { return acted(all) }, func(lasts time.Duration) bool {
		return lasts >= operateFor && acted(all) || lasts >= operateMost && acted(1)
	})
}

// fold waits until awa has folded what is left in its ledger, where it comes to that.
func (tr *trial) fold(ctx context.Context, _ int64) error {
	tr.fleet.tell("pause")
	folded := tr.stream.sums().Folds
	for began := time.Now(); time.Since(began) < foldsFor && tr.stream.sums().Folds == folded; {
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// turn waits until the ring has turned twice since it stood at from. A ring that stands is not waited for.
func (tr *trial) turn(ctx context.Context, from int64) error {
	if !tr.plan.laps() {
		return nil
	}
	always := func() bool { return true }
	for began := time.Now(); tr.res.Laps < 2 && time.Since(began) < longestLaps; {
		laps, turned := tr.res.Laps, time.Duration(0)
		err := tr.newFleet(ctx, from, always, func(lasts time.Duration) bool {
			if tr.res.Laps > laps {
				laps, turned = tr.res.Laps, lasts
			}
			return laps >= 2 || lasts-turned > standsFor
		})
		if err != nil {
			return err
		}
		if tr.res.Laps < 2 {
			if err := tr.layGhosts(ctx); err != nil {
				return err
			}
		}
	}
	tr.alone.ended = time.Now()
	if tr.res.Laps < 2 {
		tr.res.Stands = tr.ring(ctx)
	}
	return nil
}

// withoutEnd is the condition that the place where the end of ready row e would be is empty.
const withoutEnd = `not exists (select from awa.done_entries x where (x.ready_slot, x.ready_generation, x.queue, x.priority, x.enqueue_shard, x.lane_seq)
		= (e.ready_slot, e.ready_generation, e.queue, e.priority, e.enqueue_shard, e.lane_seq))
	and not exists (select from awa.ready_tombstones x where (x.ready_slot, x.ready_generation, x.queue, x.priority, x.enqueue_shard, x.lane_seq)
		= (e.ready_slot, e.ready_generation, e.queue, e.priority, e.enqueue_shard, e.lane_seq))`

// ghosts are such rows whose job has ended elsewhere. An attempt that is tried again (rescue_stale_heartbeats, rescue_expired_deadlines,
// fail_retryable) gets another ready row when promote_due brings it back, and its first one neither an end nor a tombstone; prune_oldest
// of 0.6.0b1 and of 0.6.0b2 takes that one for pending for ever. Each does so without the other, and without us: here it is what the
// workers were at that crashes kills, and what a busy machine keeps past its deadline.
const ghosts = `delete from awa.ready_entries e where exists (select from awa.done_entries d where d.job_id = e.job_id) and ` + withoutEnd

// layGhosts takes them out of the way of the ring, which nobody counts.
func (tr *trial) layGhosts(ctx context.Context) error {
	tag, err := tr.conn.Exec(ctx, ghosts)
	if err != nil {
		return fmt.Errorf("ghosts: %w", err)
	}
	tr.res.Ghosts += int(tag.RowsAffected())
	return nil
}

// newFleet lets the new fleet work until done, for longestLaps at most. A busy ring turns slowly, and a prune that failed waits longer each
// time; so the load ends on the way, once it is not needed.
func (tr *trial) newFleet(ctx context.Context, from int64, unneeded func() bool, done func(lasts time.Duration) bool) error {
	busy, began := true, time.Now()
	for lasts := time.Duration(0); lasts < longestLaps && !done(lasts); lasts = time.Since(began) {
		if busy && lasts > busyFor && unneeded() {
			busy = false
			tr.fleet.tell("pause")
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
		now, err := generation(ctx, tr.conn)
		if err != nil {
			return err
		}
		tr.res.Laps = float64(now-from) / 16
	}
	return nil
}

// ofBefore are jobs among those that operators did something with that had failed before they began (worker.py).
const ofBefore = "of_before"

// oneByOne is what operators do with single jobs.
func oneByOne() []string { return []string{"retry_one", "to_dlq", "from_dlq", "delete_rows"} }

// actions is how many jobs that had failed operators did what with.
func (tr *trial) actions() map[string]int {
	olds, news := tr.fleet.tallies()
	n := make(map[string]int)
	for _, what := range append(oneByOne(), "retry_queue", "bulk_to_dlq", "discard", ofBefore) {
		n[what] = olds.Made[what] + news.Made[what]
	}
	return n
}

// less is what has come since, of what has.
func less(now, before map[string]int) map[string]int {
	n := make(map[string]int)
	for what := range now {
		if now[what] > before[what] {
			n[what] = now[what] - before[what]
		}
	}
	return n
}

// jobsOf sums actions up.
func jobsOf(actions map[string]int) (n int) {
	for what, jobs := range actions {
		if what != ofBefore {
			n += jobs
		}
	}
	return n
}
