package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// kind is what a backlog is made of.
type kind struct {
	name, about string
	rows        int // row changes, at the real size
	batch       int // rows a transaction
	width       int // bytes of payload
	counted     bool
}

// kinds are the backlogs that are drained. A wide row stays below what PostgreSQL would compress and move out of line.
func kinds() []kind {
	return []kind{
		{"narrow", "narrow rows, 100 a transaction, every other transaction counted", 1_000_000, 100, 0, true},
		{"wide", "rows of 2 kB, 100 a transaction", 400_000, 100, 1750, false},
		{"single", "narrow rows, one a transaction, every other one counted", 400_000, 1, 0, true},
		{"huge", "one transaction of narrow rows, which the server streams while it decodes it", 800_000, 800_000, 0, false},
	}
}

var queues = []string{"billing", "email", "reports"}

// narrow makes a backlog with the fleet's own writers. A counted transaction also changes a counter row (306), or
// appends a row of the ledger for each bucket. It returns the number of row changes that are decoded.
func (d *base) narrow(ctx context.Context, k kind, rows int) (changes int, err error) {
	for i := 0; changes < rows; i++ {
		w := d.Writer(i%2 == 0)
		w.Silent = true
		g := fleet.Key{Slot: int32(i % ringSlots), Queue: queues[i%3], Priority: int16(1 + i%2)}
		if err := fleet.Do(ctx, d.pool, func(tx pgx.Tx) error { return w.Insert(ctx, tx, g, k.batch, "", "") }); err != nil {
			return 0, err
		}
		changes += k.batch + d.counting(k, w.Counted)
	}
	return changes, nil
}

// counting is how many row changes it takes to count a transaction of consecutive jobs.
func (d *base) counting(k kind, counted bool) int {
	switch {
	case !counted:
		return 0
	case d.Shape == fleet.Ledger:
		return min(k.batch, 256) // each job in a bucket of its own
	}
	return 1
}

// backlog makes one of any kind within the server, which is faster, and the only way to have a million transactions.
func (d *base) backlog(ctx context.Context, k kind, rows int) (changes int, err error) {
	batch := min(k.batch, rows)
	k.batch = batch
	transactions := 0
	for changes < rows {
		changes += batch + d.counting(k, k.counted && transactions%2 == 0)
		transactions++
	}
	return changes, d.exec(ctx, `set synchronous_commit = off`, d.block(k, transactions), `reset synchronous_commit`)
}

// block is an anonymous block of that many transactions.
func (d *base) block(k kind, transactions int) string {
	const insert = `insert into awa.done_entries (ready_slot, ready_generation, job_id, kind, queue, state, priority, attempt, run_lease, lane_seq, attempted_at, payload)
		select s, g, nextval('awa.job_id_seq'), 'job', q, 'completed', p, 1, 1, nextval('awa.lane_seq'), now(), wide from generate_series(1, %d)`
	uncounted := fmt.Sprintf(insert, k.batch)
	counted := uncounted + `; insert into awa.queue_terminal_live_counts as c (ready_slot, queue, priority, enqueue_shard, live_terminal_count) values (s, q, p, 0, %d)
		on conflict (ready_slot, queue, priority, enqueue_shard) do update set live_terminal_count = c.live_terminal_count + excluded.live_terminal_count`
	if d.Shape == fleet.Ledger {
		counted = `with made as (` + uncounted + ` returning job_id)
			insert into awa.queue_terminal_count_deltas (ready_slot, ready_generation, queue, priority, enqueue_shard, counter_bucket, terminal_delta)
			select s, g, q, p, 0, mod(job_id, 256), count(*) from made group by 6 order by 6`
	} else {
		counted = fmt.Sprintf(counted, k.batch)
	}
	if !k.counted {
		counted = uncounted
	}
	return fmt.Sprintf(`do $block$
		declare s integer; g bigint; q text; p smallint; wide jsonb;
		begin
			if %[1]d > 0 then
				select jsonb_build_object('p', left(string_agg(md5(random()::text), ''), %[1]d)) into wide from generate_series(0, %[1]d / 32);
			end if;
			for i in 0..%[2]d loop
				s := i %% %[3]d; q := ('{%[4]s}'::text[])[1 + i %% 3]; p := 1 + i %% 2;
				select generation into g from awa.queue_ring_slots where slot = s;
				if i %% 2 = 0 then
					%[5]s;
				else
					%[6]s;
				end if;
				commit;
			end loop;
		end $block$`, k.width, transactions-1, ringSlots, strings.Join(queues, ","), counted, uncounted)
}
