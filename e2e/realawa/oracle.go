package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// querier reads; a pool or a connection.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// group is what awa counts by.
type group struct {
	Slot     int32
	Queue    string
	Priority int16
	Shard    int16
}

// look is one snapshot: the marker, and every group that is wrong.
type look struct {
	at      time.Time // by the server's clock
	set     bool
	groups  int
	pending int64 // rows of the ledger
	wrong   map[group]int64
}

// drifts is rows − counter − pending of every group. The tables are named in the order in which awa
// locks them, or a look could deadlock with a rebuild.
const drifts = `
	select coalesce(r.s, c.s) as s, coalesce(r.q, c.q) as q, coalesce(r.p, c.p) as p, coalesce(r.h, c.h) as h,
	       coalesce(r.n, 0) - coalesce(c.n, 0) as d
	from (select ready_slot as s, queue as q, priority as p, enqueue_shard as h, count(*) as n from awa.done_entries group by 1, 2, 3, 4) r
	full join (
		select s, q, p, h, sum(n)::bigint as n from (
			select ready_slot as s, queue as q, priority as p, enqueue_shard as h, terminal_delta as n from awa.queue_terminal_count_deltas
			union all
			select ready_slot, queue, priority, enqueue_shard, live_terminal_count from awa.queue_terminal_live_counts) x
		group by 1, 2, 3, 4) c using (s, q, p, h)`

const lookSQL = `
	with d as materialized (` + drifts + `)
	select statement_timestamp(), (select terminal_counter_trusted_at is not null from awa.queue_ring_state where singleton),
	       (select count(*) from d), (select count(*) from awa.queue_terminal_count_deltas), w.s, w.q, w.p, w.h, w.d
	from (select 1) one left join (select * from d where d <> 0) w on true`

// takeLook is the oracle.
func takeLook(ctx context.Context, q querier) (look, error) {
	l := look{wrong: make(map[group]int64)}
	rows, err := q.Query(ctx, lookSQL)
	if err != nil {
		return l, fmt.Errorf("look: %w", err)
	}
	var s *int32
	var queue *string
	var p, h *int16
	var d *int64
	_, err = pgx.ForEachRow(rows, []any{&l.at, &l.set, &l.groups, &l.pending, &s, &queue, &p, &h, &d}, func() error {
		if s != nil {
			l.wrong[group{*s, *queue, *p, *h}] = *d
		}
		return nil
	})
	if err != nil {
		return l, fmt.Errorf("look: %w", err)
	}
	return l, nil
}

// jobs is the sum of what the groups are wrong by, without regard to the direction.
func (l *look) jobs() (n int64) {
	for _, d := range l.wrong {
		n += max(d, -d)
	}
	return n
}

// count is what awa's own queue_counts answers for a queue, by the path it takes while the marker is set
// and by the one it takes otherwise, and the rows there are.
type count struct {
	Counter, Scan, Rows int64
}

// counts computes both paths in one snapshot, as the releases do: 0.6.0b2 knows done_entries only, the
// later ones have successes without a row, in batches, and a view of both.
func counts(ctx context.Context, q querier) (map[string]count, error) {
	var batches bool
	if err := q.QueryRow(ctx, `select to_regclass('awa.receipt_completion_batches') is not null`).Scan(&batches); err != nil {
		return nil, fmt.Errorf("counts: %w", err)
	}
	counter, scan := ``, `(select count(*) from awa.done_entries d where d.queue = n.queue)`
	if batches {
		counter = `
			+ coalesce((select sum(completed_count) from awa.receipt_completion_batches t where t.queue = n.queue), 0)
			- (select count(*) from awa.receipt_completion_tombstones t where t.queue = n.queue)`
		scan = `(select count(*) from awa.terminal_jobs t where t.queue = n.queue)`
	}
	rows, err := q.Query(ctx, `
		with n as (select distinct queue from awa.done_entries union select distinct queue from awa.queue_terminal_live_counts
			union select distinct queue from awa.queue_terminal_count_deltas union select distinct queue from awa.queue_terminal_rollups)
		select queue, greatest(0,
			coalesce((select sum(live_terminal_count) from awa.queue_terminal_live_counts t where t.queue = n.queue), 0)
			+ coalesce((select sum(terminal_delta) from awa.queue_terminal_count_deltas t where t.queue = n.queue), 0)`+counter+`)::bigint,
			`+scan+`, (select count(*) from awa.done_entries d where d.queue = n.queue)
		from n`)
	if err != nil {
		return nil, fmt.Errorf("counts: %w", err)
	}
	out := make(map[string]count)
	var queue string
	var c count
	_, err = pgx.ForEachRow(rows, []any{&queue, &c.Counter, &c.Scan, &c.Rows}, func() error {
		out[queue] = c
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("counts: %w", err)
	}
	return out, nil
}

// apart is by how many jobs awa's two paths differ, queue by queue.
func apart(counts map[string]count) (n int64) {
	for _, c := range counts {
		n += max(c.Counter-c.Scan, c.Scan-c.Counter)
	}
	return n
}

// leaders names the sessions that hold awa's lock for maintenance. A leader whose session was ended goes
// on for a while without it, so there can be more than one that leads, but not here.
func leaders(ctx context.Context, q querier) (name string, pid int32, err error) {
	const lock = 0x4157415f4d41494e
	rows, err := q.Query(ctx, `select a.application_name, a.pid from pg_locks l join pg_stat_activity a using (pid)
		where l.locktype = 'advisory' and l.granted and l.objsubid = 1 and l.classid = $1 and l.objid = $2
		  and l.database = (select oid from pg_database where datname = current_database())`, int64(lock>>32), int64(lock&0xffffffff))
	if err != nil {
		return "", 0, fmt.Errorf("leaders: %w", err)
	}
	_, err = pgx.ForEachRow(rows, []any{&name, &pid}, func() error { return nil })
	return name, pid, err
}

// generation is how often the ring has turned on, up to 0.6.9.
func generation(ctx context.Context, q querier) (n int64, err error) {
	err = q.QueryRow(ctx, `select generation from awa.queue_ring_state where singleton`).Scan(&n)
	return n, err
}
