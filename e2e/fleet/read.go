package fleet

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Querier reads; a pool or a connection.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Wrong is a group whose counter is not its number of rows.
type Wrong struct {
	Key
	Rows, Counter int64
}

func drifts(schema string) string {
	return fmt.Sprintf(`
		select coalesce(r.ready_slot, c.ready_slot) as s, coalesce(r.queue, c.queue) as q, coalesce(r.priority, c.priority) as p,
		       coalesce(r.enqueue_shard, c.enqueue_shard) as h, coalesce(r.n, 0) as n, coalesce(c.live_terminal_count, 0) as c
		from (select ready_slot, queue, priority, enqueue_shard, count(*) as n from %[1]s.done_entries group by 1, 2, 3, 4) r
		full join %[1]s.queue_terminal_live_counts c using (ready_slot, queue, priority, enqueue_shard)`, schema)
}

// Compare is the oracle: rows and counters of every group in one snapshot.
func Compare(ctx context.Context, q Querier, schema string) (groups int, wrong []Wrong, err error) {
	rows, err := q.Query(ctx, drifts(schema))
	if err != nil {
		return 0, nil, fmt.Errorf("compare: %w", err)
	}
	var w Wrong
	_, err = pgx.ForEachRow(rows, []any{&w.Slot, &w.Queue, &w.Priority, &w.Shard, &w.Rows, &w.Counter}, func() error {
		groups++
		if w.Rows != w.Counter {
			wrong = append(wrong, w)
		}
		return nil
	})
	return groups, wrong, err
}

// ReadCounter is awa's reading path while the marker is set (F§3 at #306): terminal of a queue.
func ReadCounter(ctx context.Context, q Querier, schema, queue string) (n int64, err error) {
	err = q.QueryRow(ctx, fmt.Sprintf(`select coalesce(sum(live_terminal_count), 0)::bigint
		+ (select coalesce(sum(pruned_completed_count), 0)::bigint from %[1]s.queue_terminal_rollups where queue = any($1))
		from %[1]s.queue_terminal_live_counts where queue = any($1)`, schema), []string{queue}).Scan(&n)
	return n, err
}

// ReadScan is awa's reading path while the marker is not set.
func ReadScan(ctx context.Context, q Querier, schema, queue string) (n int64, err error) {
	err = q.QueryRow(ctx, fmt.Sprintf(`select count(*)
		+ (select coalesce(sum(pruned_completed_count), 0)::bigint from %[1]s.queue_terminal_rollups where queue = any($1))
		from %[1]s.done_entries where queue = any($1)`, schema), []string{queue}).Scan(&n)
	return n, err
}

// Trusted reads the marker.
func Trusted(ctx context.Context, q Querier, schema string) (bool, error) {
	var set bool
	err := q.QueryRow(ctx, fmt.Sprintf(`select terminal_counter_trusted_at is not null from %s.queue_ring_state where singleton`, schema)).Scan(&set)
	return set, err
}
