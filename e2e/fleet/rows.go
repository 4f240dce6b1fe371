package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Key is a group, in the order awa sorts its batches.
type Key struct {
	Slot     int32
	Queue    string
	Priority int16
	Shard    int16
}

// Writer is one binary: a post-#290 one counts in its own transactions, as its shape does; a pre-#290 one
// does not.
type Writer struct {
	Schema  string
	Shape   string // of the tables; Direct if empty
	Release string // of this binary, on the ledger; Latest if empty
	Counted bool
	// Retain has a prune carry failed rows on that are younger; 0 for none. From 0.6.0 on.
	Retain time.Duration
	// Silent writers leave no record for the sampler; for bulk loads.
	Silent bool
}

func (w Writer) form() form { return form{w.Shape, w.Release} }

// Insert adds n rows to a group; extra are the literals for state and lane_seq ("" for awa's usual).
func (w Writer) Insert(ctx context.Context, tx pgx.Tx, k Key, n int, state, lane string) error {
	if state == "" {
		state = "completed"
	}
	if lane == "" {
		lane = fmt.Sprintf("nextval('%s.lane_seq')", w.Schema)
	}
	generation, err := w.generation(ctx, tx, k.Slot)
	if err != nil {
		return err
	}
	return w.add(ctx, tx, k, generation, fmt.Sprintf(`
		insert into %[1]s.done_entries (ready_slot, ready_generation, job_id, kind, queue, state, priority, attempt, run_lease, lane_seq, enqueue_shard, attempted_at, finalized_at)
		select $1, $7, nextval('%[1]s.job_id_seq'), 'job', $2, $3::awa.job_state, $4, 1, 1, %[2]s, $5, now(), clock_timestamp() from generate_series(1, $6)`,
		w.Schema, lane), k.Slot, k.Queue, state, k.Priority, k.Shard, n, generation)
}

// InsertWide adds one synthetic row, as a cancelled available job leaves it: args and payload in it.
func (w Writer) InsertWide(ctx context.Context, tx pgx.Tx, k Key) error {
	generation, err := w.generation(ctx, tx, k.Slot)
	if err != nil {
		return err
	}
	return w.add(ctx, tx, k, generation, fmt.Sprintf(`
		insert into %[1]s.done_entries (ready_slot, ready_generation, job_id, kind, queue, args, state, priority, attempt, run_lease, max_attempts, lane_seq,
			enqueue_shard, run_at, attempted_at, finalized_at, created_at, unique_key, unique_states, payload)
		values ($1, $5, nextval('%[1]s.job_id_seq'), 'job', $2, jsonb_build_object('a', repeat('x', 400)), 'cancelled', $3, 1, 1, 3, nextval('%[1]s.lane_seq'),
			$4, now(), null, clock_timestamp(), now(), '\x01', 'running', jsonb_build_object('p', repeat('y', 3000)))`, w.Schema),
		k.Slot, k.Queue, k.Priority, k.Shard, generation)
}

// InsertCompact completes n plain jobs. Counted binaries since 0.6.0 leave one batch of receipts and no
// row; others insert rows.
func (w Writer) InsertCompact(ctx context.Context, tx pgx.Tx, k Key, n int) error {
	if !w.Counted || !w.form().receipts() {
		return w.Insert(ctx, tx, k, n, "", "")
	}
	generation, err := w.generation(ctx, tx, k.Slot)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, fmt.Sprintf(`
		insert into %[1]s.receipt_completion_batches (ready_slot, ready_generation, claim_slot, queue, priority, enqueue_shard, completed_count,
			job_ids, run_leases, lane_seqs, attempts, attempted_ats)
		select $1, $6, 0, $2, $3, $4, count(*), array_agg(nextval('%[1]s.job_id_seq')), array_agg(1::bigint), array_agg(nextval('%[1]s.lane_seq')),
			array_agg(1::smallint), array_agg(now()) from generate_series(1, $5)`, w.Schema), k.Slot, k.Queue, k.Priority, k.Shard, n, generation)
	if err != nil {
		return fmt.Errorf("insert a batch of receipts: %w", err)
	}
	return nil
}

// generation is that of a slot's rows. awa takes it from the job's ready row, and no slot is pruned or
// rotated to while it has jobs that are not done. These writers have no such jobs and hold the leaf
// instead, which a prune waits for, and Rotate. Elsewhere than on the ledger nobody asks.
func (w Writer) generation(ctx context.Context, tx pgx.Tx, slot int32) (generation int64, err error) {
	if !w.form().ledger() {
		return 7, nil
	}
	b := &pgx.Batch{} // one round trip, but a snapshot each: the second one after the lock
	b.Queue(fmt.Sprintf(`lock table only %[1]s.done_entries, %[1]s.done_entries_%[2]d in row exclusive mode`, w.Schema, slot))
	b.Queue(fmt.Sprintf(`select generation from %s.queue_ring_slots where slot = $1`, w.Schema), slot).QueryRow(func(r pgx.Row) error { return r.Scan(&generation) })
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return 0, fmt.Errorf("read a slot's generation: %w", err)
	}
	return generation, nil
}

// add runs an INSERT of rows of one group, and counts them.
func (w Writer) add(ctx context.Context, tx pgx.Tx, k Key, generation int64, insert string, args ...any) error {
	changes := make(map[part]int64)
	if !w.Counted || !w.form().bucketed() {
		done, err := tx.Exec(ctx, insert, args...)
		if err != nil {
			return fmt.Errorf("insert done rows: %w", err)
		}
		changes[part{Key: k}] = done.RowsAffected()
		return w.account(ctx, tx, changes)
	}
	rows, err := tx.Query(ctx, `with made as (`+insert+` returning job_id) select mod(job_id, 256), count(*) from made group by 1`, args...)
	if err != nil {
		return fmt.Errorf("insert done rows: %w", err)
	}
	var bucket, n int64
	if _, err := pgx.ForEachRow(rows, []any{&bucket, &n}, func() error { changes[w.part(k, generation, bucket)] = n; return nil }); err != nil {
		return fmt.Errorf("insert done rows: %w", err)
	}
	return w.account(ctx, tx, changes)
}

// Delete removes up to n failed or cancelled rows of a queue, as retry, DLQ moves and discards do,
// and returns the jobs.
func (w Writer) Delete(ctx context.Context, tx pgx.Tx, queue string, n int) ([]int64, error) {
	rows, err := tx.Query(ctx, fmt.Sprintf(`
		delete from %[1]s.done_entries d where (ready_slot, queue, priority, enqueue_shard, lane_seq) in (
			select ready_slot, queue, priority, enqueue_shard, lane_seq from %[1]s.done_entries
			where queue = $1 and state in ('failed', 'cancelled') limit $2 for update skip locked)
		returning job_id, ready_generation, ready_slot, queue, priority, enqueue_shard`, w.Schema), queue, n)
	if err != nil {
		return nil, fmt.Errorf("delete done rows: %w", err)
	}
	var jobs []int64
	gone := make(map[part]int64)
	var job, generation int64
	var k Key
	if _, err := pgx.ForEachRow(rows, []any{&job, &generation, &k.Slot, &k.Queue, &k.Priority, &k.Shard}, func() error {
		jobs = append(jobs, job)
		gone[w.part(k, generation, job)]--
		return nil
	}); err != nil {
		return nil, fmt.Errorf("delete done rows: %w", err)
	}
	return jobs, w.account(ctx, tx, gone)
}
