package fleet

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"
)

// Op is one of awa's operations that touch done_entries (F§2.2, F§2.3), as one transaction.
type Op struct {
	Name   string
	Weight int // in the mix; 0 keeps it out
	Run    func(ctx context.Context, tx pgx.Tx, w Writer, p Pick) error
}

// Pick draws what an operation works on.
type Pick struct {
	Rand   *rand.Rand
	Queues []string
	Slots  int
}

// Key draws a group, mostly in recent slots: completions insert into sealed slots as a matter of
// course, since a row lives in the slot of its ready row.
func (p Pick) Key() Key {
	return Key{
		Slot: int32(p.Rand.IntN(p.Slots)), Queue: p.Queue(),
		Priority: int16(1 + p.Rand.IntN(2)), Shard: int16(p.Rand.IntN(2)),
	}
}

// Queue draws a queue.
func (p Pick) Queue() string { return p.Queues[p.Rand.IntN(len(p.Queues))] }

// Ops are all of awa's operations on done_entries.
func Ops() []Op {
	return []Op{
		{"fused completion", 20, func(ctx context.Context, tx pgx.Tx, w Writer, p Pick) error {
			return w.Insert(ctx, tx, p.Key(), 1+p.Rand.IntN(40), "", "")
		}},
		{"compact completion", 20, func(ctx context.Context, tx pgx.Tx, w Writer, p Pick) error {
			return w.InsertCompact(ctx, tx, p.Key(), 1+p.Rand.IntN(40))
		}},
		{"slow completion", 10, func(ctx context.Context, tx pgx.Tx, w Writer, p Pick) error {
			k := p.Key()
			if err := w.Insert(ctx, tx, k, 1+p.Rand.IntN(5), "", ""); err != nil {
				return err
			}
			k.Priority++ // later in key order, as awa sorts its batches
			return w.Insert(ctx, tx, k, 1+p.Rand.IntN(5), "", "")
		}},
		{"batch by id", 5, func(ctx context.Context, tx pgx.Tx, w Writer, p Pick) error {
			return w.Insert(ctx, tx, p.Key(), 1+p.Rand.IntN(20), "", "")
		}},
		{"fail", 15, insert("failed")},
		{"cancel running", 5, insert("cancelled")},
		{"callback failed", 3, insert("failed")},
		{"callback timeout rescue", 2, func(ctx context.Context, tx pgx.Tx, w Writer, p Pick) error {
			return w.Insert(ctx, tx, p.Key(), 1+p.Rand.IntN(100), "failed", "")
		}},
		{"cancel available", 5, func(ctx context.Context, tx pgx.Tx, w Writer, p Pick) error {
			return w.InsertWide(ctx, tx, p.Key())
		}},
		{"cancel deferred", 3, func(ctx context.Context, tx pgx.Tx, w Writer, p Pick) error {
			k := p.Key()
			k.Shard = 0
			return w.Insert(ctx, tx, k, 1, "cancelled", fmt.Sprintf("-currval('%s.job_id_seq')", w.Schema))
		}},
		{"drain queue", 2, func(ctx context.Context, tx pgx.Tx, w Writer, p Pick) error {
			return w.Insert(ctx, tx, p.Key(), 50+p.Rand.IntN(200), "cancelled", "")
		}},
		{"retry", 8, func(ctx context.Context, tx pgx.Tx, w Writer, p Pick) error {
			jobs, err := w.Delete(ctx, tx, p.Queue(), 1)
			if err != nil {
				return err
			}
			return w.requeue(ctx, tx, jobs)
		}},
		{"retry failed", 3, func(ctx context.Context, tx pgx.Tx, w Writer, p Pick) error {
			jobs, err := w.Delete(ctx, tx, p.Queue(), 60)
			if err != nil {
				return err
			}
			return w.requeue(ctx, tx, jobs)
		}},
		{"move to DLQ", 4, dlq(1)},
		{"bulk move to DLQ", 2, dlq(500)},
		{"discard failed", 2, func(ctx context.Context, tx pgx.Tx, w Writer, p Pick) error {
			_, err := w.Delete(ctx, tx, p.Queue(), 300)
			return err
		}},
		{"compat delete", 4, compatDelete},
		{"compat delete of a compact completion", 1, compactDelete},
		{"rolled back", 5, func(ctx context.Context, tx pgx.Tx, w Writer, p Pick) error {
			if err := w.Insert(ctx, tx, p.Key(), 1+p.Rand.IntN(20), "", ""); err != nil {
				return err
			}
			return ErrRollback
		}},
		{"savepoint", 5, savepoint},
	}
}

func insert(state string) func(context.Context, pgx.Tx, Writer, Pick) error {
	return func(ctx context.Context, tx pgx.Tx, w Writer, p Pick) error {
		return w.Insert(ctx, tx, p.Key(), 1, state, "")
	}
}

func dlq(n int) func(context.Context, pgx.Tx, Writer, Pick) error {
	return func(ctx context.Context, tx pgx.Tx, w Writer, p Pick) error {
		queue := p.Queue()
		jobs, err := w.Delete(ctx, tx, queue, n)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, fmt.Sprintf(`insert into %s.dlq_entries select unnest($1::bigint[]), $2, 'failed' on conflict do nothing`, w.Schema), jobs, queue)
		return err
	}
}

// compatDelete goes through a database function, which counts whatever the binary.
func compatDelete(ctx context.Context, tx pgx.Tx, w Writer, p Pick) error {
	_, err := tx.Exec(ctx, fmt.Sprintf(`select %[1]s.delete_job_compat(job_id) from (
		select job_id from %[1]s.done_entries where queue = $1 and state in ('failed', 'cancelled') limit 1 for update skip locked) j`, w.Schema), p.Queue())
	return err
}

// compactDelete does the same to a job that never had a row; where there are none, it does nothing.
func compactDelete(ctx context.Context, tx pgx.Tx, w Writer, p Pick) error {
	if !w.form().receipts() {
		return nil
	}
	_, err := tx.Exec(ctx, fmt.Sprintf(`select %[1]s.delete_job_compat(job) from (
		select job_ids[1] as job from %[1]s.receipt_completion_batches where queue = $1 limit 1) j`, w.Schema), p.Queue())
	return err
}

// savepoint inserts, thinks better of it, and inserts something else, as the rescue paths do.
func savepoint(ctx context.Context, tx pgx.Tx, w Writer, p Pick) error {
	k := p.Key()
	if err := w.Insert(ctx, tx, k, 2, "", ""); err != nil {
		return err
	}
	inner, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	if err := w.Insert(ctx, inner, k, 1+p.Rand.IntN(30), "", ""); err != nil {
		return err
	}
	if err := inner.Rollback(ctx); err != nil {
		return err
	}
	return w.Insert(ctx, tx, k, 1, "failed", "")
}

// requeue gives retried jobs new ready rows, in the current slot.
func (w Writer) requeue(ctx context.Context, tx pgx.Tx, jobs []int64) error {
	_, err := tx.Exec(ctx, fmt.Sprintf(`insert into %[1]s.ready_entries (ready_slot, ready_generation, job_id, kind, queue, priority, lane_seq)
		select current_slot, generation, j, 'job', 'q', 1, nextval('%[1]s.lane_seq') from unnest($1::bigint[]) j, %[1]s.queue_ring_state where singleton`, w.Schema), jobs)
	return err
}
