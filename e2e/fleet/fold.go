package fleet

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Outcome of a fold.
type Outcome string

// A fold that a lock kept from its work is an error: ErrBlocked.
const (
	Folded    Outcome = "folded"
	Nothing   Outcome = "nothing to fold"
	Current   Outcome = "the current slot"
	StoodDown Outcome = "stood down: a snapshot is held"
)

// FoldCandidates are the slots that a leader's tick looks at: sealed ones with deltas of their generation.
func (w Writer) FoldCandidates(ctx context.Context, q Querier) ([]int32, error) {
	rows, err := q.Query(ctx, fmt.Sprintf(`
		select slot from %[1]s.queue_ring_slots r where generation >= 0 and slot <> (select current_slot from %[1]s.queue_ring_state where singleton)
		and exists (select 1 from %[1]s.queue_terminal_count_deltas d where d.ready_slot = r.slot and d.ready_generation = r.generation)
		order by generation, slot`, w.Schema))
	if err != nil {
		return nil, fmt.Errorf("look for slots to fold: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[int32])
}

// Fold is awa's rollup_terminal_count_deltas for one slot: into the counter what the ledger holds of the
// slot's generation, and the whole leaf is truncated. It loses what it clamps, a negative sum without a
// counter row, and deltas of other generations.
func (w Writer) Fold(ctx context.Context, tx pgx.Tx, slot int32) (Outcome, error) {
	var current int32
	var generation int64
	err := tx.QueryRow(ctx, fmt.Sprintf(`select current_slot from %s.queue_ring_state where singleton for update`, w.Schema)).Scan(&current)
	if err != nil {
		return "", fmt.Errorf("fold: %w", err)
	}
	err = tx.QueryRow(ctx, fmt.Sprintf(`select generation from %s.queue_ring_slots where slot = $1 for update`, w.Schema), slot).Scan(&generation)
	if err != nil {
		return "", fmt.Errorf("fold: %w", err)
	}
	if current == slot {
		return Current, nil
	}
	if pinned, err := w.pinned(ctx, tx); err != nil || pinned {
		return StoodDown, err
	}
	leaf := fmt.Sprintf("%s.queue_terminal_count_deltas_%d", w.Schema, slot)
	if _, err := tx.Exec(ctx, fmt.Sprintf(`set local lock_timeout = '%s'; lock table %s in access exclusive mode`, w.form().patience(), leaf)); err != nil {
		return "", blocked("fold", err)
	}
	var some bool
	if err := tx.QueryRow(ctx, fmt.Sprintf(`select exists (select 1 from %s where ready_generation = $1)`, leaf), generation).Scan(&some); err != nil {
		return "", fmt.Errorf("fold: %w", err)
	}
	if !some {
		return Nothing, nil
	}
	if !w.Silent {
		if err := w.losses(ctx, tx, leaf, slot, generation); err != nil {
			return "", blocked("fold", err)
		}
	}
	_, err = tx.Exec(ctx, fmt.Sprintf(`
		with d as materialized (select %[3]s, sum(terminal_delta)::int8 as n from %[2]s where ready_generation = $1 group by %[3]s having sum(terminal_delta) <> 0),
		updated as (
			update %[1]s.queue_terminal_live_counts c set live_terminal_count = greatest(0, c.live_terminal_count + d.n) from d
			where (c.ready_slot, c.queue, c.priority, c.enqueue_shard, c.counter_bucket) = (d.ready_slot, d.queue, d.priority, d.enqueue_shard, d.counter_bucket)
			returning c.ready_slot, c.queue, c.priority, c.enqueue_shard, c.counter_bucket)
		insert into %[1]s.queue_terminal_live_counts as c (%[3]s, live_terminal_count)
		select %[3]s, n from d where n > 0 and (%[3]s) not in (select * from updated) order by %[3]s
		on conflict (%[3]s) do update set live_terminal_count = greatest(0, c.live_terminal_count + excluded.live_terminal_count)`,
		w.Schema, leaf, w.form().key()), generation)
	if err != nil {
		return "", blocked("fold", err)
	}
	if _, err := tx.Exec(ctx, `truncate `+leaf); err != nil {
		return "", blocked("fold", err)
	}
	return Folded, nil
}

// pinned: another client holds a snapshot, any before 0.7, one of 5 s from then on; or sits idle in a
// transaction that has written. awa then leaves the ledger for another time.
func (w Writer) pinned(ctx context.Context, tx pgx.Tx) (pinned bool, err error) {
	age := "0"
	if w.form().since(Next) {
		age = "5"
	}
	err = tx.QueryRow(ctx, `select exists (select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
		and (backend_xmin is not null and coalesce(xact_start, now()) <= clock_timestamp() - interval '`+age+`s' or backend_xid is not null and state like 'idle in transaction%'))`).Scan(&pinned)
	if err != nil {
		return false, fmt.Errorf("fold: %w", err)
	}
	return pinned, nil
}

// losses records, before the fold, by how much it will change the counter of a group: what it should not.
// It locks the counter rows that the fold updates next, so that nobody changes them between the two.
func (w Writer) losses(ctx context.Context, tx pgx.Tx, leaf string, slot int32, generation int64) error {
	_, err := tx.Exec(ctx, fmt.Sprintf(`
		with d as materialized (
			select %[3]s, sum(terminal_delta) as due, coalesce(sum(terminal_delta) filter (where ready_generation = $1), 0) as n from %[2]s group by %[3]s),
		held as materialized (
			select %[3]s, live_terminal_count as c from %[1]s.queue_terminal_live_counts
			where (%[3]s) in (select %[3]s from d where n <> 0) order by %[3]s for no key update),
		lost as (
			select ready_slot, queue, priority, enqueue_shard, sum(case when n = 0 then due else coalesce(c, 0) + due - greatest(0, coalesce(c, 0) + n) end) as off
			from d left join held using (%[3]s) group by 1, 2, 3, 4),
		log as (insert into fleet_log.uncounted_%[1]s select ready_slot, queue, priority, enqueue_shard, off from lost where off <> 0 returning 1)
		insert into fleet_log.disturbed_%[1]s select $2, 'fold' where exists (select 1 from log)`, w.Schema, leaf, w.form().key()), generation, slot)
	return err
}
