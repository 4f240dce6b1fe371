package fleet

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrBlocked says that a prune gave up on a lock, as awa's do; it tries again at the next tick.
var ErrBlocked = errors.New("blocked")

// Rotate moves the ring on by one slot, unless the next one still has rows.
func (w Writer) Rotate(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, fmt.Sprintf(`
		with r as (select * from %[1]s.queue_ring_state where singleton for update),
		next as (select (current_slot + 1) %% slot_count as slot, generation + 1 as generation from r)
		update %[1]s.queue_ring_state s set current_slot = next.slot, generation = next.generation from next
		where s.singleton and not exists (select 1 from %[1]s.done_entries d where d.ready_slot = next.slot)`, w.Schema))
	if err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	return nil
}

// Prune empties a slot: F§2.2 and F§2.3 in their lock order. slot −1 is the oldest one.
func (w Writer) Prune(ctx context.Context, tx pgx.Tx, slot int32) error {
	var current, count int32
	err := tx.QueryRow(ctx, fmt.Sprintf(`select current_slot, slot_count from %s.queue_ring_state where singleton for update`, w.Schema)).Scan(&current, &count)
	if err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	if slot < 0 {
		slot = (current + 1) % count
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf(`select 1 from %s.queue_ring_slots where slot = %d for update; set local lock_timeout = '50ms';
		lock table %[1]s.ready_entries_%[2]d, %[1]s.done_entries_%[2]d in access exclusive mode`, w.Schema, slot)); err != nil {
		return blocked(err)
	}
	if !w.Counted && !w.Silent {
		// What goes uncounted is the rows, for the sampler; what the counter said stays behind.
		if _, err := tx.Exec(ctx, fmt.Sprintf(`insert into fleet_log.uncounted_%[1]s select ready_slot, queue, priority, enqueue_shard, -count(*)
			from %[1]s.done_entries_%[2]d group by 1, 2, 3, 4`, w.Schema, slot)); err != nil {
			return err
		}
	}
	steps := fmt.Sprintf(`
		create temp table if not exists pg_temp.fold (queue text, priority smallint, n bigint) on commit delete rows;
		delete from pg_temp.fold;
		insert into pg_temp.fold select queue, priority, count(*) from %[1]s.done_entries_%[2]d group by 1, 2;
		truncate %[1]s.ready_entries_%[2]d, %[1]s.done_entries_%[2]d;
		insert into %[1]s.queue_terminal_rollups as r select * from pg_temp.fold order by 1, 2
		on conflict (queue, priority) do update set pruned_completed_count = greatest(0, r.pruned_completed_count + excluded.pruned_completed_count);
		insert into fleet_log.disturbed_%[1]s values (%[2]d, 'prune');`, w.Schema, slot)
	if w.Counted {
		steps += fmt.Sprintf(`delete from %s.queue_terminal_live_counts where ready_slot = %d`, w.Schema, slot)
	}
	if _, err := tx.Exec(ctx, steps); err != nil {
		return blocked(err)
	}
	return nil
}

func blocked(err error) error {
	var e *pgconn.PgError
	if errors.As(err, &e) && e.Code == "55P03" {
		return fmt.Errorf("prune: %w: %w", ErrBlocked, err)
	}
	return fmt.Errorf("prune: %w", err)
}

// Rebuild is awa's rebuild_terminal_counters at #306.
func (w Writer) Rebuild(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, fmt.Sprintf(`
		select pg_advisory_xact_lock(hashtextextended('awa.queue_storage.rebuild_terminal_counters:%[1]s', 0));
		truncate %[1]s.queue_terminal_live_counts;
		insert into %[1]s.queue_terminal_live_counts
		select ready_slot, queue, priority, enqueue_shard, count(*) from %[1]s.done_entries group by 1, 2, 3, 4 order by 1, 2, 3, 4
		on conflict (ready_slot, queue, priority, enqueue_shard) do update set live_terminal_count = excluded.live_terminal_count;
		update %[1]s.queue_ring_state set terminal_counter_trusted_at = now() where singleton;
		insert into fleet_log.disturbed_%[1]s values (null, 'rebuild')`, w.Schema))
	if err != nil {
		return fmt.Errorf("rebuild: %w", err)
	}
	return nil
}

// Poison drives one counter wrong, as a person with psql might.
func (w Writer) Poison(ctx context.Context, tx pgx.Tx, k Key, value int64) error {
	_, err := tx.Exec(ctx, fmt.Sprintf(`insert into %s.queue_terminal_live_counts values ($1, $2, $3, $4, $5)
		on conflict (ready_slot, queue, priority, enqueue_shard) do update set live_terminal_count = excluded.live_terminal_count`, w.Schema),
		k.Slot, k.Queue, k.Priority, k.Shard, value)
	if err != nil {
		return fmt.Errorf("poison: %w", err)
	}
	_, err = tx.Exec(ctx, fmt.Sprintf(`insert into fleet_log.disturbed_%s values ($1, 'poison')`, w.Schema), k.Slot)
	return err
}

// Reset is awa's reset: one TRUNCATE that names the parents.
func (w Writer) Reset(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, fmt.Sprintf(`truncate %[1]s.done_entries, %[1]s.ready_entries, %[1]s.queue_terminal_rollups, %[1]s.queue_terminal_live_counts, %[1]s.dlq_entries;
		insert into fleet_log.disturbed_%[1]s values (null, 'reset')`, w.Schema))
	if err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	return nil
}
