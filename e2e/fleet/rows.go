package fleet

import (
	"context"
	"fmt"
	"sort"

	"github.com/jackc/pgx/v5"
)

// Key is a group, in the order awa sorts its batches.
type Key struct {
	Slot     int32
	Queue    string
	Priority int16
	Shard    int16
}

// Writer is one binary: a post-#290 one counts in its own transactions, a pre-#290 one does not.
type Writer struct {
	Schema  string
	Counted bool
	// Silent writers leave no record for the sampler; for bulk loads.
	Silent bool
}

// Insert adds n rows to a group; extra are the literals for state and lane_seq ("" for awa's usual).
func (w Writer) Insert(ctx context.Context, tx pgx.Tx, k Key, n int, state, lane string) error {
	if state == "" {
		state = "completed"
	}
	if lane == "" {
		lane = fmt.Sprintf("nextval('%s.lane_seq')", w.Schema)
	}
	_, err := tx.Exec(ctx, fmt.Sprintf(`
		insert into %[1]s.done_entries (ready_slot, ready_generation, job_id, kind, queue, state, priority, attempt, run_lease, lane_seq, enqueue_shard, attempted_at, finalized_at)
		select $1, 7, nextval('%[1]s.job_id_seq'), 'job', $2, $3::awa.job_state, $4, 1, 1, %[2]s, $5, now(), clock_timestamp() from generate_series(1, $6)`,
		w.Schema, lane), k.Slot, k.Queue, state, k.Priority, k.Shard, n)
	if err != nil {
		return fmt.Errorf("insert done rows: %w", err)
	}
	return w.account(ctx, tx, map[Key]int64{k: int64(n)})
}

// InsertWide adds one synthetic row, as a cancelled available job leaves it: args and payload in it.
func (w Writer) InsertWide(ctx context.Context, tx pgx.Tx, k Key) error {
	_, err := tx.Exec(ctx, fmt.Sprintf(`
		insert into %[1]s.done_entries (ready_slot, ready_generation, job_id, kind, queue, args, state, priority, attempt, run_lease, max_attempts, lane_seq,
			enqueue_shard, run_at, attempted_at, finalized_at, created_at, unique_key, unique_states, payload)
		values ($1, 7, nextval('%[1]s.job_id_seq'), 'job', $2, jsonb_build_object('a', repeat('x', 400)), 'cancelled', $3, 1, 1, 3, nextval('%[1]s.lane_seq'),
			$4, now(), null, clock_timestamp(), now(), '\x01', 'running', jsonb_build_object('p', repeat('y', 3000)))`, w.Schema), k.Slot, k.Queue, k.Priority, k.Shard)
	if err != nil {
		return fmt.Errorf("insert a wide done row: %w", err)
	}
	return w.account(ctx, tx, map[Key]int64{k: 1})
}

// Delete removes up to n failed or cancelled rows of a queue, as retry, DLQ moves and discards do,
// and returns the jobs.
func (w Writer) Delete(ctx context.Context, tx pgx.Tx, queue string, n int) ([]int64, error) {
	rows, err := tx.Query(ctx, fmt.Sprintf(`
		delete from %[1]s.done_entries d where (ready_slot, queue, priority, enqueue_shard, lane_seq) in (
			select ready_slot, queue, priority, enqueue_shard, lane_seq from %[1]s.done_entries
			where queue = $1 and state in ('failed', 'cancelled') limit $2 for update skip locked)
		returning job_id, ready_slot, queue, priority, enqueue_shard`, w.Schema), queue, n)
	if err != nil {
		return nil, fmt.Errorf("delete done rows: %w", err)
	}
	var jobs []int64
	gone := make(map[Key]int64)
	var job int64
	var k Key
	if _, err := pgx.ForEachRow(rows, []any{&job, &k.Slot, &k.Queue, &k.Priority, &k.Shard}, func() error {
		jobs = append(jobs, job)
		gone[k]--
		return nil
	}); err != nil {
		return nil, fmt.Errorf("delete done rows: %w", err)
	}
	return jobs, w.account(ctx, tx, gone)
}

// account maintains the counter in the same transaction, or records that it was not.
func (w Writer) account(ctx context.Context, tx pgx.Tx, changes map[Key]int64) error {
	if len(changes) == 0 {
		return nil
	}
	a := unnest(changes)
	if !w.Counted {
		if w.Silent {
			return nil
		}
		_, err := tx.Exec(ctx, fmt.Sprintf(`insert into fleet_log.uncounted_%s select * from unnest($1::int[], $2::text[], $3::int2[], $4::int2[], $5::int8[])`, w.Schema), a...)
		return err
	}
	_, err := tx.Exec(ctx, fmt.Sprintf(`
		with d as (select * from unnest($1::int[], $2::text[], $3::int2[], $4::int2[], $5::int8[]) d(s, q, p, h, n) where n > 0 order by 1, 2, 3, 4)
		insert into %[1]s.queue_terminal_live_counts as c select * from d
		on conflict (ready_slot, queue, priority, enqueue_shard) do update set live_terminal_count = c.live_terminal_count + excluded.live_terminal_count`,
		w.Schema), a...)
	if err != nil {
		return fmt.Errorf("increment the counter: %w", err)
	}
	fewer := false
	for _, n := range changes {
		fewer = fewer || n < 0
	}
	if fewer && !w.Silent {
		if err := w.clamps(ctx, tx, a); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, fmt.Sprintf(`
		update %[1]s.queue_terminal_live_counts c set live_terminal_count = greatest(0, c.live_terminal_count + d.n)
		from unnest($1::int[], $2::text[], $3::int2[], $4::int2[], $5::int8[]) d(s, q, p, h, n)
		where n < 0 and c.ready_slot = d.s and c.queue = d.q and c.priority = d.p and c.enqueue_shard = d.h`, w.Schema), a...)
	if err != nil {
		return fmt.Errorf("decrement the counter: %w", err)
	}
	return nil
}

// clamps records how much of a decrement the counter cannot take, for want of rows that nobody counted yet:
// as much goes uncounted.
func (w Writer) clamps(ctx context.Context, tx pgx.Tx, changes []any) error {
	_, err := tx.Exec(ctx, fmt.Sprintf(`
		with d as (select * from unnest($1::int[], $2::text[], $3::int2[], $4::int2[], $5::int8[]) d(s, q, p, h, n) where n < 0),
		held as materialized (
			select ready_slot as s, queue as q, priority as p, enqueue_shard as h, live_terminal_count as c
			from %[1]s.queue_terminal_live_counts where (ready_slot, queue, priority, enqueue_shard) in (select s, q, p, h from d)
			order by 1, 2, 3, 4 for no key update)
		insert into fleet_log.uncounted_%[1]s
		select s, q, p, h, d.n + coalesce(held.c, 0) from d left join held using (s, q, p, h) where d.n + coalesce(held.c, 0) < 0`, w.Schema), changes...)
	if err != nil {
		return fmt.Errorf("record a clamp: %w", err)
	}
	return nil
}

func unnest(changes map[Key]int64) []any {
	keys := make([]Key, 0, len(changes))
	for k := range changes {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		a, b := keys[i], keys[j]
		switch {
		case a.Slot != b.Slot:
			return a.Slot < b.Slot
		case a.Queue != b.Queue:
			return a.Queue < b.Queue
		case a.Priority != b.Priority:
			return a.Priority < b.Priority
		}
		return a.Shard < b.Shard
	})
	var s []int32
	var q []string
	var p, h []int16
	var n []int64
	for _, k := range keys {
		s, q, p, h, n = append(s, k.Slot), append(q, k.Queue), append(p, k.Priority), append(h, k.Shard), append(n, changes[k])
	}
	return []any{s, q, p, h, n}
}
