package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// load is writers of a database: transactions of a few rows of one group each, in the statements and round trips of
// a worker, at a rate or as fast as they can.
type load struct {
	writers int
	batch   int     // rows a transaction
	rate    float64 // transactions a second, all writers together; 0 for no bound
	counted bool    // in #306's way: an upsert in the same transaction
	slots   int     // how many of the ring they write to, from 0 on
	queues  int     // of two priorities each
}

// written is what they did.
type written struct {
	transactions int
	rows         int
	took         time.Duration
	waits        []time.Duration // from when each transaction was due to when it was committed, sorted
}

// perSecond is the rate of rows.
func (w written) perSecond() float64 { return float64(w.rows) / w.took.Seconds() }

const (
	insertRows = `insert into awa.done_entries (ready_slot, ready_generation, job_id, kind, queue, state, priority, attempt, run_lease, lane_seq, attempted_at)
		select $1, $2, nextval('awa.job_id_seq'), 'job', $3, 'completed', $4, 1, 1, nextval('awa.lane_seq'), now() from generate_series(1, $5::int)`
	upsertCounter = `insert into awa.queue_terminal_live_counts as c (ready_slot, queue, priority, enqueue_shard, live_terminal_count) values ($1, $2, $3, 0, $4::int)
		on conflict (ready_slot, queue, priority, enqueue_shard) do update set live_terminal_count = c.live_terminal_count + excluded.live_terminal_count`
)

// write has the writers write for that long. Who has a rate does not wait for a slow server: what is due is due, and
// what was due and not committed in the end has waited until then at least.
func (d *base) write(ctx context.Context, l load, length time.Duration) (written, error) {
	var generations []int64
	for slot := range l.slots {
		g, err := one[int64](ctx, d.pool, `select generation from awa.queue_ring_slots where slot = $1`, slot)
		if err != nil {
			return written{}, err
		}
		generations = append(generations, g)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var sum written
	var failed error
	began := time.Now()
	until := began.Add(length)
	for i := range l.writers {
		wg.Go(func() {
			waits, err := d.writer(ctx, l, i, generations, began, until)
			mu.Lock()
			defer mu.Unlock()
			done := waits.done
			sum.transactions += done
			sum.waits = append(sum.waits, waits.all...)
			failed = errors.Join(failed, err)
		})
	}
	wg.Wait()
	sum.took = time.Since(began)
	sum.rows = sum.transactions * l.batch
	slices.Sort(sum.waits)
	return sum, failed
}

type waiting struct {
	done int
	all  []time.Duration
}

func (d *base) writer(ctx context.Context, l load, i int, generations []int64, began, until time.Time) (w waiting, err error) {
	err = d.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		pause := time.NewTimer(0)
		defer pause.Stop()
		for n := i; ; n += l.writers {
			due := time.Now()
			if l.rate > 0 {
				due = began.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
				pause.Reset(time.Until(due))
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-pause.C:
				}
			}
			if !due.Before(until) {
				return nil
			}
			if l.rate > 0 && !time.Now().Before(until) { // overdue, and the time is over
				w.all = append(w.all, until.Sub(due))
				continue
			}
			g := fleet.Key{Slot: int32(n % l.slots), Queue: fmt.Sprintf("queue %d", n/l.slots%l.queues), Priority: int16(1 + n/l.slots/l.queues%2)}
			if err := pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error { return l.transaction(ctx, tx, g, generations[g.Slot]) }); err != nil {
				return fmt.Errorf("a writer: %w", err)
			}
			w.done++
			w.all = append(w.all, time.Since(due))
		}
	})
	return w, err
}

func (l load) transaction(ctx context.Context, tx pgx.Tx, g fleet.Key, generation int64) error {
	if _, err := tx.Exec(ctx, insertRows, g.Slot, generation, g.Queue, g.Priority, l.batch); err != nil {
		return err
	}
	if !l.counted {
		return nil
	}
	_, err := tx.Exec(ctx, upsertCounter, g.Slot, g.Queue, g.Priority, l.batch)
	return err
}

// right fails unless every counter is right. Nobody may write meanwhile.
func (d *base) right(ctx context.Context) error {
	_, wrong, err := fleet.Compare(ctx, d.pool, "awa")
	if err == nil && len(wrong) > 0 {
		err = fmt.Errorf("%d groups wrong, the first: %+v", len(wrong), wrong[0])
	}
	return err
}

// righted waits until every counter is right.
func (d *base) righted(ctx context.Context) error {
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := d.right(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return err
		case <-tick.C:
		}
	}
}
