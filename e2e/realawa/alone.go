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
// by then: they are waited for until they have done something.
func (tr *trial) operate(ctx context.Context, from int64) error {
	acted := tr.acted()
	tr.fleet.tell("resume")
	tr.fleet.tell("operate")
	defer tr.fleet.tell("rest")
	return tr.alone(ctx, from, func(lasts time.Duration) bool {
		return lasts >= operateFor && tr.acted() > acted || lasts >= longestLaps
	})
}

// turn waits until the ring has turned twice since it stood at from. A ring that stands is not waited for.
func (tr *trial) turn(ctx context.Context, from int64) error {
	if !tr.plan.laps() {
		return nil
	}
	return tr.alone(ctx, from, func(lasts time.Duration) bool { return tr.res.Laps >= 2 || lasts >= longestLaps })
}

// alone lets the new fleet work until done. A busy ring turns slowly, and a prune that failed waits longer each time; so the load ends
// on the way.
func (tr *trial) alone(ctx context.Context, from int64, done func(lasts time.Duration) bool) error {
	busy, began := true, time.Now()
	for !done(time.Since(began)) {
		if busy && time.Since(began) > busyFor {
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
