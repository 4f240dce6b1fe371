package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Prune empties a slot: F§2.2 to F§2.5 in their lock order. slot −1 is the oldest one. An old leader takes
// the rows and leaves counters and deltas behind. awa's gates (leases, claims, ready jobs without an end)
// are not imitated: there are no such jobs.
func (w Writer) Prune(ctx context.Context, tx pgx.Tx, slot int32) error {
	var current, count int32
	err := tx.QueryRow(ctx, fmt.Sprintf(`select current_slot, slot_count from %s.queue_ring_state where singleton for update`, w.Schema)).Scan(&current, &count)
	if err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	if slot < 0 {
		slot = (current + 1) % count
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf(`select 1 from %s.queue_ring_slots where slot = %d for update`, w.Schema, slot)); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	if w.Counted && w.form().sparing() {
		if spared, err := w.spare(ctx, tx, slot); err != nil || spared {
			return err
		}
	}
	patience := "50ms"
	if w.Counted {
		patience = w.form().patience()
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf(`set local lock_timeout = '%s'; lock table %s in access exclusive mode`, patience, strings.Join(w.leaves(slot), ", "))); err != nil {
		return blocked("prune", err)
	}
	if !w.Counted && !w.Silent {
		// What goes uncounted is the rows, for the sampler; what the counter said stays behind.
		if _, err := tx.Exec(ctx, fmt.Sprintf(`insert into fleet_log.uncounted_%[1]s select ready_slot, queue, priority, enqueue_shard, -count(*)
			from %[1]s.done_entries_%[2]d group by 1, 2, 3, 4`, w.Schema, slot)); err != nil {
			return err
		}
	}
	if w.carries() && slot != current {
		if err := w.carry(ctx, tx, slot, current); err != nil {
			return blocked("prune", err)
		}
	}
	return w.clear(ctx, tx, slot)
}

// spare leaves a slot without rows as it is, but for counter rows that drift left there.
func (w Writer) spare(ctx context.Context, tx pgx.Tx, slot int32) (spared bool, err error) {
	var busy []string
	for _, leaf := range w.leaves(slot) {
		busy = append(busy, fmt.Sprintf("exists (select 1 from %s)", leaf))
	}
	if err := tx.QueryRow(ctx, "select not ("+strings.Join(busy, " or ")+")").Scan(&spared); err != nil || !spared {
		return false, err
	}
	return true, w.uncount(ctx, tx, slot, "spared")
}

// uncount deletes a slot's counter rows, those of anybody.
func (w Writer) uncount(ctx context.Context, tx pgx.Tx, slot int32, what string) error {
	if w.Counted {
		if _, err := tx.Exec(ctx, fmt.Sprintf(`delete from %s.queue_terminal_live_counts where ready_slot = %d`, w.Schema, slot)); err != nil {
			err = blocked("prune", err)
			if errors.Is(err, ErrBlocked) {
				return fmt.Errorf("%w: %w", ErrCounterLocked, err)
			}
			return err
		}
	}
	_, err := tx.Exec(ctx, fmt.Sprintf(`insert into fleet_log.disturbed_%s values (%d, '%s')`, w.Schema, slot, what))
	return err
}

func (w Writer) carries() bool { return w.Counted && w.form().receipts() && w.Retain > 0 }

// young is the condition for a failed row to be carried on.
func (w Writer) young() string {
	return fmt.Sprintf(`state = 'failed' and finalized_at >= now() - make_interval(secs => %g)`, w.Retain.Seconds())
}

// carry takes failed rows on to the current slot, with deltas of their own: the old slot's go with it.
func (w Writer) carry(ctx context.Context, tx pgx.Tx, slot, current int32) error {
	carried, err := tx.Exec(ctx, fmt.Sprintf(`
		insert into %[1]s.done_entries (ready_slot, ready_generation, job_id, kind, queue, args, state, priority, attempt, run_lease, max_attempts, lane_seq,
			enqueue_shard, run_at, attempted_at, finalized_at, created_at, unique_key, unique_states, payload)
		select %[3]d, (select generation from %[1]s.queue_ring_slots where slot = %[3]d), job_id, kind, queue, coalesce(args, '{}'), state, priority, attempt,
			run_lease, coalesce(max_attempts, 25::int2), lane_seq, enqueue_shard, coalesce(run_at, finalized_at), attempted_at, finalized_at,
			coalesce(created_at, finalized_at), unique_key, unique_states, coalesce(payload, '{}')
		from %[1]s.done_entries_%[2]d where %[4]s`, w.Schema, slot, current, w.young()))
	if err != nil || carried.RowsAffected() == 0 {
		return err
	}
	_, err = tx.Exec(ctx, fmt.Sprintf(`
		insert into %[1]s.queue_terminal_count_deltas (ready_slot, ready_generation, queue, priority, enqueue_shard, counter_bucket, terminal_delta)
		select %[3]d, (select generation from %[1]s.queue_ring_slots where slot = %[3]d), queue, priority, enqueue_shard, mod(job_id, 256), count(*)
		from %[1]s.done_entries_%[2]d where %[4]s group by 3, 4, 5, 6 order by 3, 4, 5, 6`, w.Schema, slot, current, w.young()))
	return err
}

// folded are the ends of a slot that its prune adds to the rollups, by queue and priority.
type folded struct {
	queues            []string
	priorities        []int16
	completed, failed []int64
}

// clear truncates the slot's leaves in one statement, folds what was there, and deletes the counter rows.
func (w Writer) clear(ctx context.Context, tx pgx.Tx, slot int32) error {
	ends, err := w.ends(ctx, tx, slot)
	if err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	if _, err := tx.Exec(ctx, `truncate `+strings.Join(w.leaves(slot), ", ")); err != nil {
		return blocked("prune", err)
	}
	if err := w.roll(ctx, tx, ends); err != nil {
		return blocked("prune", err)
	}
	return w.uncount(ctx, tx, slot, "prune")
}

// ends counts rows and, where there are such, receipts. Failed rows count as completed before 0.6.0, and
// not at all while they are carried on.
func (w Writer) ends(ctx context.Context, tx pgx.Tx, slot int32) (f folded, err error) {
	sql := `select queue, priority, count(*), 0 from %[1]s.done_entries_%[2]d group by 1, 2 order by 1, 2`
	carried := "false"
	if w.carries() {
		carried = w.young()
	}
	if w.Counted && w.form().receipts() {
		sql = `select queue, priority, sum(n)::int8, sum(failed)::int8 from (
				select queue, priority, count(*) filter (where state <> 'failed') as n, count(*) filter (where state = 'failed' and not (%[3]s)) as failed
				from %[1]s.done_entries_%[2]d group by 1, 2
				union all
				select queue, priority, count(*), 0 from %[1]s.receipt_completion_batches_%[2]d b, unnest(b.job_ids, b.run_leases) i(job, lease)
				where not exists (select 1 from %[1]s.receipt_completion_tombstones_%[2]d t where (t.ready_generation, t.job_id, t.run_lease) = (b.ready_generation, job, lease))
				group by 1, 2) x
			group by 1, 2 order by 1, 2`
	}
	rows, err := tx.Query(ctx, fmt.Sprintf(sql, w.Schema, slot, carried))
	if err != nil {
		return f, err
	}
	var queue string
	var priority int16
	var completed, failed int64
	_, err = pgx.ForEachRow(rows, []any{&queue, &priority, &completed, &failed}, func() error {
		f.queues, f.priorities = append(f.queues, queue), append(f.priorities, priority)
		f.completed, f.failed = append(f.completed, completed), append(f.failed, failed)
		return nil
	})
	return f, err
}

// roll adds to the rollups, or, from 0.7 on, leaves that to the next fold of them.
func (w Writer) roll(ctx context.Context, tx pgx.Tx, f folded) error {
	if len(f.queues) == 0 {
		return nil
	}
	const ends = `select * from unnest($1::text[], $2::int2[], $3::int8[], $4::int8[]) d(q, p, completed, failed)`
	var sql string
	switch {
	case w.Counted && w.form().deferred():
		sql = `with d as (` + ends + `) insert into %[1]s.queue_terminal_rollup_deltas (queue, priority, pruned_completed_delta, pruned_failed_delta)
			select q, p, completed, failed from d where completed <> 0 or failed <> 0 order by 1, 2`
	case w.Counted && w.form().receipts():
		sql = `with d as (` + ends + `) insert into %[1]s.queue_terminal_rollups as r (queue, priority, pruned_completed_count, pruned_failed_count)
			select q, p, completed, failed from d where completed <> 0 or failed <> 0 order by 1, 2
			on conflict (queue, priority) do update set pruned_completed_count = greatest(0, r.pruned_completed_count + excluded.pruned_completed_count),
				pruned_failed_count = greatest(0, r.pruned_failed_count + excluded.pruned_failed_count)`
	default:
		sql = `with d as (` + ends + `) insert into %[1]s.queue_terminal_rollups as r (queue, priority, pruned_completed_count)
			select q, p, completed + failed from d order by 1, 2
			on conflict (queue, priority) do update set pruned_completed_count = greatest(0, r.pruned_completed_count + excluded.pruned_completed_count)`
	}
	_, err := tx.Exec(ctx, fmt.Sprintf(sql, w.Schema), f.queues, f.priorities, f.completed, f.failed)
	return err
}

// FoldRollups adds what 0.7's prunes appended to the rollups; DELETE and upsert.
func (w Writer) FoldRollups(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, fmt.Sprintf(`
		with d as (delete from %[1]s.queue_terminal_rollup_deltas returning queue, priority, pruned_completed_delta, pruned_failed_delta)
		insert into %[1]s.queue_terminal_rollups as r (queue, priority, pruned_completed_count, pruned_failed_count)
		select queue, priority, sum(pruned_completed_delta), sum(pruned_failed_delta) from d group by 1, 2 order by 1, 2
		on conflict (queue, priority) do update set pruned_completed_count = greatest(0, r.pruned_completed_count + excluded.pruned_completed_count),
			pruned_failed_count = greatest(0, r.pruned_failed_count + excluded.pruned_failed_count)`, w.Schema))
	if err != nil {
		return fmt.Errorf("fold the rollups: %w", err)
	}
	return nil
}
