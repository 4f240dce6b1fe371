package fleet

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// part is what a row counts towards: its group and, where there are such, a bucket and a generation.
type part struct {
	Key
	Generation int64
	Bucket     int16
}

// part is what a job's row of a group counts towards.
func (w Writer) part(k Key, generation, job int64) part {
	p := part{Key: k}
	if w.form().bucketed() {
		p.Bucket = int16(job % 256)
	}
	if w.form().ledger() {
		p.Generation = generation
	}
	return p
}

const changed = `unnest($1::int[], $2::int8[], $3::text[], $4::int2[], $5::int2[], $6::int2[], $7::int8[]) d(s, g, q, p, h, b, n)`

// account maintains the counter in the same transaction, or records that it was not.
func (w Writer) account(ctx context.Context, tx pgx.Tx, changes map[part]int64) error {
	if len(changes) == 0 {
		return nil
	}
	a := unnest(changes)
	switch {
	case w.Counted && w.form().ledger():
		return w.pend(ctx, tx, a)
	case w.Counted:
		return w.count(ctx, tx, changes, a)
	case w.Silent:
		return nil
	}
	_, err := tx.Exec(ctx, fmt.Sprintf(`insert into fleet_log.uncounted_%s select s, q, p, h, sum(n) from `+changed+` group by 1, 2, 3, 4`, w.Schema), a...)
	return err
}

// pend leaves the counter to the leader: on the ledger a writer never meets another one, and no clamp.
func (w Writer) pend(ctx context.Context, tx pgx.Tx, changes []any) error {
	_, err := tx.Exec(ctx, fmt.Sprintf(`
		insert into %s.queue_terminal_count_deltas (ready_slot, ready_generation, queue, priority, enqueue_shard, counter_bucket, terminal_delta)
		select s, g, q, p, h, b, n from `+changed+` where n <> 0 order by 1, 2, 3, 4, 5, 6`, w.Schema), changes...)
	if err != nil {
		return fmt.Errorf("append deltas: %w", err)
	}
	return nil
}

// count updates counter rows: an increment makes the row, a decrement stops at 0 and skips a row that is
// not there.
func (w Writer) count(ctx context.Context, tx pgx.Tx, changes map[part]int64, a []any) error {
	f := w.form()
	_, err := tx.Exec(ctx, fmt.Sprintf(`
		insert into %[1]s.queue_terminal_live_counts as c (%[2]s, live_terminal_count) select %[3]s, n from `+changed+` where n > 0 order by %[3]s
		on conflict (%[2]s) do update set live_terminal_count = c.live_terminal_count + excluded.live_terminal_count`,
		w.Schema, f.key(), f.short()), a...)
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
	bucket := ""
	if f.bucketed() {
		bucket = " and c.counter_bucket = d.b"
	}
	_, err = tx.Exec(ctx, fmt.Sprintf(`
		update %[1]s.queue_terminal_live_counts c set live_terminal_count = greatest(0, c.live_terminal_count + d.n)
		from `+changed+`
		where n < 0 and c.ready_slot = d.s and c.queue = d.q and c.priority = d.p and c.enqueue_shard = d.h%[2]s`, w.Schema, bucket), a...)
	if err != nil {
		return fmt.Errorf("decrement the counter: %w", err)
	}
	return nil
}

// clamps records how much of a decrement the counter cannot take, for want of rows that nobody counted yet:
// as much goes uncounted.
func (w Writer) clamps(ctx context.Context, tx pgx.Tx, changes []any) error {
	f := w.form()
	_, err := tx.Exec(ctx, fmt.Sprintf(`
		with d as (select * from `+changed+` where n < 0),
		held as materialized (
			select %[2]s, live_terminal_count from %[1]s.queue_terminal_live_counts where (%[2]s) in (select %[3]s from d) order by %[2]s for no key update),
		kept(%[3]s, c) as (select * from held)
		insert into fleet_log.uncounted_%[1]s
		select s, q, p, h, sum(d.n + coalesce(c, 0)) from d left join kept using (%[3]s) where d.n + coalesce(c, 0) < 0 group by 1, 2, 3, 4`,
		w.Schema, f.key(), f.short()), changes...)
	if err != nil {
		return fmt.Errorf("record a clamp: %w", err)
	}
	return nil
}

// unnest makes arrays of changes, in awa's order.
func unnest(changes map[part]int64) []any {
	parts := make([]part, 0, len(changes))
	for p := range changes {
		parts = append(parts, p)
	}
	slices.SortFunc(parts, func(a, b part) int {
		return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.Queue, b.Queue),
			cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Shard, b.Shard), cmp.Compare(a.Bucket, b.Bucket))
	})
	var s []int32
	var g, n []int64
	var q []string
	var p, h, b []int16
	for _, k := range parts {
		s, g, q, p, h = append(s, k.Slot), append(g, k.Generation), append(q, k.Queue), append(p, k.Priority), append(h, k.Shard)
		b, n = append(b, k.Bucket), append(n, changes[k])
	}
	return []any{s, g, q, p, h, b, n}
}
