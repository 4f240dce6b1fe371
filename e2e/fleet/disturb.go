package fleet

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Rebuild is awa's rebuild_terminal_counters: on the ledger it stops everybody, before it only who counts.
func (w Writer) Rebuild(ctx context.Context, tx pgx.Tx) error {
	of, lock, truncate := "ready_slot, queue, priority, enqueue_shard", "", w.Schema+".queue_terminal_live_counts"
	if w.form().bucketed() {
		of = bucketOf
	}
	if w.form().ledger() {
		tables := []string{w.Schema + ".done_entries"}
		if w.form().receipts() {
			tables = append(tables, w.Schema+".receipt_completion_batches", w.Schema+".receipt_completion_tombstones")
		}
		truncate += ", " + w.Schema + ".queue_terminal_count_deltas"
		lock = fmt.Sprintf("lock table %[2]s, %[1]s.queue_terminal_count_deltas, %[1]s.queue_terminal_live_counts in access exclusive mode;", w.Schema, strings.Join(tables, ", "))
	}
	_, err := tx.Exec(ctx, fmt.Sprintf(`
		select pg_advisory_xact_lock(hashtextextended('awa.queue_storage.rebuild_terminal_counters:%[1]s', 0));
		%[2]s
		truncate %[3]s;
		insert into %[1]s.queue_terminal_live_counts (%[4]s, live_terminal_count) select %[5]s, count(*) from %[1]s.done_entries group by %[6]s order by %[6]s
		on conflict (%[4]s) do update set live_terminal_count = excluded.live_terminal_count;
		update %[1]s.queue_ring_state set terminal_counter_trusted_at = now() where singleton;
		insert into fleet_log.disturbed_%[1]s values (null, 'rebuild')`, w.Schema, lock, truncate, w.form().key(), of, w.ordinals()))
	if err != nil {
		return fmt.Errorf("rebuild: %w", err)
	}
	return nil
}

func (w Writer) ordinals() string {
	if w.form().bucketed() {
		return "1, 2, 3, 4, 5"
	}
	return "1, 2, 3, 4"
}

// Poison drives one counter row wrong, as a person with psql might; where there are buckets, one of awa's.
func (w Writer) Poison(ctx context.Context, tx pgx.Tx, k Key, value int64) error {
	bucket := ""
	if w.form().bucketed() {
		bucket = fmt.Sprint(", ", value&255)
	}
	_, err := tx.Exec(ctx, fmt.Sprintf(`insert into %[1]s.queue_terminal_live_counts (%[2]s, live_terminal_count) values ($1, $2, $3, $4%[3]s, $5)
		on conflict (%[2]s) do update set live_terminal_count = excluded.live_terminal_count`, w.Schema, w.form().key(), bucket),
		k.Slot, k.Queue, k.Priority, k.Shard, value)
	if err != nil {
		return fmt.Errorf("poison: %w", err)
	}
	_, err = tx.Exec(ctx, fmt.Sprintf(`insert into fleet_log.disturbed_%s values ($1, 'poison')`, w.Schema), k.Slot)
	return err
}

// LateDelta appends a delta to the ledger that comes a lap too late: readers count it, the next fold of its
// slot drops it, and new leaders do not rotate to that slot.
func (w Writer) LateDelta(ctx context.Context, tx pgx.Tx, k Key, n int64) error {
	_, err := tx.Exec(ctx, fmt.Sprintf(`
		insert into %[1]s.queue_terminal_count_deltas (ready_slot, ready_generation, queue, priority, enqueue_shard, counter_bucket, terminal_delta)
		select $1, r.generation - s.slot_count, $2, $3, $4, 7, $5 from %[1]s.queue_ring_slots r, %[1]s.queue_ring_state s where r.slot = $1 and s.singleton`, w.Schema),
		k.Slot, k.Queue, k.Priority, k.Shard, n)
	if err != nil {
		return fmt.Errorf("append a late delta: %w", err)
	}
	_, err = tx.Exec(ctx, fmt.Sprintf(`insert into fleet_log.uncounted_%s values ($1, $2, $3, $4, $5)`, w.Schema), k.Slot, k.Queue, k.Priority, k.Shard, -n)
	return err
}

// Reset is awa's reset: one TRUNCATE that names the parents.
func (w Writer) Reset(ctx context.Context, tx pgx.Tx) error {
	tables := []string{"done_entries", "ready_entries", "queue_terminal_rollups", "queue_terminal_live_counts", "dlq_entries"}
	if w.form().bucketed() {
		tables = append(tables, "ready_tombstones")
	}
	if w.form().ledger() {
		tables = append(tables, "queue_terminal_count_deltas")
	}
	if w.form().receipts() {
		tables = append(tables, "receipt_completion_batches", "receipt_completion_tombstones")
	}
	if w.form().deferred() {
		tables = append(tables, "queue_terminal_rollup_deltas")
	}
	for i, t := range tables {
		tables[i] = w.Schema + "." + t
	}
	_, err := tx.Exec(ctx, fmt.Sprintf(`truncate %s; insert into fleet_log.disturbed_%s values (null, 'reset')`, strings.Join(tables, ", "), w.Schema))
	if err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	return nil
}
