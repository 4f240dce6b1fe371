package fleet

import (
	"context"
	"fmt"
	"time"

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

// Sample is one look at marker, counters and rows in one snapshot.
type Sample struct {
	Trusted   bool
	Drifting  int           // groups with any drift
	Dishonest []Wrong       // trusted, and off by what no write younger than the bound explains
	Oldest    time.Duration // of all drifts: the age of the youngest run of uncounted writes that explains it
}

// Look takes a sample. The fleet's own record says which uncounted writes are younger than the
// bound; a drift outside what any of them can explain is older, unless a prune, a rebuild or a
// poisoned counter disturbed the slot within the bound.
func Look(ctx context.Context, q Querier, schema string, bound time.Duration) (Sample, error) {
	rows, err := q.Query(ctx, fmt.Sprintf(`
		with d as (select * from (%[2]s) x where n <> c),
		trust as (select coalesce(bool_or(terminal_counter_trusted_at is not null), false) as t from %[1]s.queue_ring_state)
		select trust.t, d.s, d.q, d.p, d.h, d.n, d.c,
		  coalesce((select sum(least(u.delta, 0)) from fleet_log.uncounted_%[1]s u where u.ready_slot = d.s and u.queue = d.q and u.priority = d.p and u.enqueue_shard = d.h and u.at > statement_timestamp() - $1::interval), 0)::bigint,
		  coalesce((select sum(greatest(u.delta, 0)) from fleet_log.uncounted_%[1]s u where u.ready_slot = d.s and u.queue = d.q and u.priority = d.p and u.enqueue_shard = d.h and u.at > statement_timestamp() - $1::interval), 0)::bigint,
		  exists (select 1 from fleet_log.disturbed_%[1]s x where (x.ready_slot is null or x.ready_slot = d.s) and x.at > statement_timestamp() - $1::interval),
		  coalesce((select extract(epoch from statement_timestamp() - max(u.at)) from (
		     select u.at, sum(u.delta) over (order by u.at desc) as run from fleet_log.uncounted_%[1]s u
		     where u.ready_slot = d.s and u.queue = d.q and u.priority = d.p and u.enqueue_shard = d.h and u.at > statement_timestamp() - interval '10 s') u
		     where u.run = d.n - d.c), 0)::float8
		from trust left join d on true`, schema, drifts(schema)), bound)
	if err != nil {
		return Sample{}, fmt.Errorf("sample: %w", err)
	}
	var out Sample
	var s *int32
	var queue *string
	var p, h *int16
	var n, c *int64
	var low, high int64
	var disturbed bool
	var age float64
	_, err = pgx.ForEachRow(rows, []any{&out.Trusted, &s, &queue, &p, &h, &n, &c, &low, &high, &disturbed, &age}, func() error {
		if s == nil {
			return nil
		}
		out.Drifting++
		out.Oldest = max(out.Oldest, time.Duration(age*float64(time.Second)))
		if drift := *n - *c; out.Trusted && !disturbed && (drift < low || drift > high) {
			out.Dishonest = append(out.Dishonest, Wrong{Key: Key{*s, *queue, *p, *h}, Rows: *n, Counter: *c})
		}
		return nil
	})
	if err != nil {
		return Sample{}, fmt.Errorf("sample: %w", err)
	}
	return out, nil
}
