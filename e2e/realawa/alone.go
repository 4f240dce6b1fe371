package main

import (
	"context"
	"time"
)

const (
	busyFor     = 5 * time.Second  // of load, after finish
	operateFor  = 15 * time.Second // at least
	longestLaps = 2 * time.Minute  // is what two turns of the ring may take, and operators who come late; two turns take 13 s where nothing is in the way
)

// operate has what failed long ago, some of it never counted but by us, retried, discarded, moved to the DLQ and deleted; also where
// the ring turns, which an old leader would not have survived. On a busy machine operators come late, and what had failed is gone
// by then: the load goes on until they have done something.
func (tr *trial) operate(ctx context.Context, from int64) error {
	before := tr.acted()
	acted := func() bool { return tr.acted() > before }
	tr.fleet.tell("resume")
	tr.fleet.tell("operate")
	defer tr.fleet.tell("rest")
	return tr.alone(ctx, from, acted, func(lasts time.Duration) bool { return lasts >= operateFor && acted() })
}

// turn waits until the ring has turned twice since it stood at from. A ring that stands is not waited for.
func (tr *trial) turn(ctx context.Context, from int64) error {
	if !tr.plan.laps() {
		return nil
	}
	always := func() bool { return true }
	return tr.alone(ctx, from, always, func(time.Duration) bool { return tr.res.Laps >= 2 })
}

// alone lets the new fleet work until done, for longestLaps at most. A busy ring turns slowly, and a prune that failed waits longer each
// time; so the load ends on the way, once it is not needed.
func (tr *trial) alone(ctx context.Context, from int64, unneeded func() bool, done func(lasts time.Duration) bool) error {
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

// acted is how many jobs that had failed operators did something with.
func (tr *trial) acted() (n int) {
	olds, news := tr.fleet.tallies()
	for _, what := range []string{"retry_one", "retry_queue", "to_dlq", "bulk_to_dlq", "from_dlq", "discard", "delete_rows"} {
		n += olds.Made[what] + news.Made[what]
	}
	return n
}
