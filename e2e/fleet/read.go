package fleet

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Querier reads; a pool or a connection.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Wrong is a group whose counter is not its number of rows. Its counter is the sum over its buckets and,
// on the ledger, what is pending, of whatever generation.
type Wrong struct {
	Key
	Rows, Counter int64
}

// drifts lists rows and counter of every group. The leaves of the ledger come before the counter, as in
// every lock order of awa's.
func drifts(schema string, c catalog) string {
	pending := ""
	if c.ledger {
		pending = fmt.Sprintf(`union all select ready_slot, queue, priority, enqueue_shard, 0, sum(terminal_delta) from %s.queue_terminal_count_deltas group by 1, 2, 3, 4`, schema)
	}
	return fmt.Sprintf(`
		select s, q, p, h, sum(n)::int8 as n, sum(c)::int8 as c from (
			select ready_slot as s, queue as q, priority as p, enqueue_shard as h, count(*) as n, 0 as c from %[1]s.done_entries group by 1, 2, 3, 4
			%[2]s
			union all select ready_slot, queue, priority, enqueue_shard, 0, sum(live_terminal_count) from %[1]s.queue_terminal_live_counts group by 1, 2, 3, 4) g
		group by 1, 2, 3, 4`, schema, pending)
}

// Compare is the oracle: rows and counters of every group in one snapshot, in the shape that is found.
func Compare(ctx context.Context, q Querier, schema string) (groups int, wrong []Wrong, err error) {
	c, err := found(ctx, q, schema)
	if err != nil {
		return 0, nil, err
	}
	rows, err := q.Query(ctx, drifts(schema, c))
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

// Sum is what a queue's groups add up to.
type Sum struct {
	Queue         string
	Rows, Counter int64
}

// CompareQueues is the same by queue, right or wrong, in the order of their names.
func CompareQueues(ctx context.Context, q Querier, schema string) ([]Sum, error) {
	c, err := found(ctx, q, schema)
	if err != nil {
		return nil, err
	}
	rows, err := q.Query(ctx, `select q, sum(n)::int8, sum(c)::int8 from (`+drifts(schema, c)+`) g group by 1 order by 1`)
	if err != nil {
		return nil, fmt.Errorf("compare queues: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Sum])
}

// WrongBucket is a bucket of a group that does not hold what awa itself would have there.
type WrongBucket struct {
	Key
	Bucket                 int16
	Rows, Counter, Pending int64
}

// CompareBuckets is Compare bucket by bucket: rows by job_id mod 256 against the counter row and what is
// pending for it. A row of any other bucket is wrong unless it is 0. Not for #306, which has no buckets.
func CompareBuckets(ctx context.Context, q Querier, schema string) (buckets int, wrong []WrongBucket, err error) {
	c, err := found(ctx, q, schema)
	if err != nil {
		return 0, nil, err
	}
	pending := ""
	if c.ledger {
		pending = fmt.Sprintf(`union all select ready_slot, queue, priority, enqueue_shard, counter_bucket, 0, 0, terminal_delta from %s.queue_terminal_count_deltas`, schema)
	}
	rows, err := q.Query(ctx, fmt.Sprintf(`
		select s, q, p, h, b, sum(n)::int8, sum(c)::int8, sum(d)::int8 from (
			select ready_slot as s, queue as q, priority as p, enqueue_shard as h, mod(job_id, 256)::int2 as b, 1 as n, 0 as c, 0 as d from %[1]s.done_entries
			%[2]s
			union all select ready_slot, queue, priority, enqueue_shard, counter_bucket, 0, live_terminal_count, 0 from %[1]s.queue_terminal_live_counts) g
		group by 1, 2, 3, 4, 5`, schema, pending))
	if err != nil {
		return 0, nil, fmt.Errorf("compare by bucket: %w", err)
	}
	var w WrongBucket
	_, err = pgx.ForEachRow(rows, []any{&w.Slot, &w.Queue, &w.Priority, &w.Shard, &w.Bucket, &w.Rows, &w.Counter, &w.Pending}, func() error {
		buckets++
		if w.Rows != w.Counter+w.Pending {
			wrong = append(wrong, w)
		}
		return nil
	})
	return buckets, wrong, err
}

// ReadCounter is awa's reading path while the marker is set (F§3): the ends of a queue. The clamp is on
// the sum of a call.
func ReadCounter(ctx context.Context, q Querier, schema, queue string) (int64, error) {
	c, err := found(ctx, q, schema)
	if err != nil {
		return 0, err
	}
	sum := sums(schema, `live_terminal_count from %s.queue_terminal_live_counts`)
	if c.ledger {
		sum += " + " + sums(schema, `terminal_delta from %s.queue_terminal_count_deltas`)
		if c.receipts {
			sum += " + " + receipts(schema)
		}
		sum = "greatest(0, " + sum + ")"
	}
	return read(ctx, q, schema, c, sum, queue)
}

// ReadScan is awa's reading path while the marker is not set.
func ReadScan(ctx context.Context, q Querier, schema, queue string) (int64, error) {
	c, err := found(ctx, q, schema)
	if err != nil {
		return 0, err
	}
	sum := sums(schema, `1 from %s.done_entries`)
	if c.receipts {
		sum += " + " + receipts(schema)
	}
	return read(ctx, q, schema, c, sum, queue)
}

// sums is the sum of a column of a table over the queues asked for.
func sums(schema, of string) string {
	return fmt.Sprintf("coalesce((select sum("+strings.Replace(of, " from ", ") from ", 1)+" where queue = any($1)), 0)", schema)
}

func receipts(schema string) string {
	return sums(schema, `completed_count from %s.receipt_completion_batches`) + " - " + sums(schema, `1 from %s.receipt_completion_tombstones`)
}

func read(ctx context.Context, q Querier, schema string, c catalog, sum, queue string) (n int64, err error) {
	sum += " + " + sums(schema, `pruned_completed_count from %s.queue_terminal_rollups`)
	if c.failed {
		sum += " + " + sums(schema, `pruned_failed_count from %s.queue_terminal_rollups`)
	}
	if c.deferred {
		sum += " + " + sums(schema, `pruned_completed_delta + pruned_failed_delta from %s.queue_terminal_rollup_deltas`)
	}
	err = q.QueryRow(ctx, `select (`+sum+`)::int8`, []string{queue}).Scan(&n)
	return n, err
}

// Trusted reads the marker.
func Trusted(ctx context.Context, q Querier, schema string) (bool, error) {
	var set bool
	err := q.QueryRow(ctx, fmt.Sprintf(`select terminal_counter_trusted_at is not null from %s.queue_ring_state where singleton`, schema)).Scan(&set)
	return set, err
}
