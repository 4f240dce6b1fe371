package fleet

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// CounterDDL is what the counter's own migration adds, on an empty database or on a shape before it:
// changes #304 and #306, or awa's installer of migration 23 as that release has it.
func (l Layout) CounterDDL() string {
	if !l.form().bucketed() {
		return l.directDDL()
	}
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+";\n", args...) }
	s := l.Schema
	p(`alter table %s.queue_ring_state add column if not exists terminal_counter_trusted_at timestamptz`, s)
	l.partitioned(p, `ready_tombstones`, `ready_slot integer not null, ready_generation bigint not null, queue text not null, priority smallint not null,
		enqueue_shard smallint not null default 0, lane_seq bigint not null, job_id bigint not null, tombstoned_at timestamptz not null default clock_timestamp(),
		primary key (ready_slot, queue, priority, enqueue_shard, lane_seq, ready_generation)`)
	if l.form().ledger() {
		l.ledgerDDL(p)
	}
	p(`create table if not exists %s.queue_terminal_live_counts (ready_slot integer not null, queue text not null, priority smallint not null,
		enqueue_shard smallint not null, counter_bucket smallint not null default 0, live_terminal_count bigint not null default 0,
		primary key (ready_slot, queue, priority, enqueue_shard, counter_bucket))`, s)
	p(`alter table %s.queue_terminal_live_counts add column if not exists counter_bucket smallint not null default 0`, s)
	// Rows of #306 become rows of bucket 0. Nothing tells which jobs they counted, so trust ends here.
	p(`do $do$ begin
		if not exists (select 1 from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = any(c.conkey)
			where c.conrelid = '%[1]s.queue_terminal_live_counts'::regclass and c.contype = 'p' and a.attname = 'counter_bucket') then
			update %[1]s.queue_ring_state set terminal_counter_trusted_at = null where singleton
				and exists (select 1 from %[1]s.queue_terminal_live_counts) and exists (select 1 from %[1]s.done_entries);
			alter table %[1]s.queue_terminal_live_counts drop constraint queue_terminal_live_counts_pkey,
				add primary key (ready_slot, queue, priority, enqueue_shard, counter_bucket);
		end if; end $do$`, s)
	p(`create index if not exists idx_%[1]s_queue_terminal_live_counts_queue on %[1]s.queue_terminal_live_counts (queue, priority)`, s)
	p(`alter table %s.queue_terminal_live_counts set (fillfactor = 50, autovacuum_vacuum_threshold = 200, %s)`, s, vacuumed)
	return b.String()
}

func (l Layout) directDDL() string {
	s := l.Schema
	marker := fmt.Sprintf("alter table %s.queue_ring_state add column if not exists terminal_counter_trusted_at timestamptz;\n", s)
	if l.NoMarker {
		marker = ""
	}
	return fmt.Sprintf(`
		create table if not exists %[1]s.queue_terminal_live_counts (ready_slot integer not null, queue text not null, priority smallint not null,
			enqueue_shard smallint not null, live_terminal_count bigint not null default 0, primary key (ready_slot, queue, priority, enqueue_shard));
		create index if not exists idx_%[1]s_queue_terminal_live_counts_queue on %[1]s.queue_terminal_live_counts (queue, priority);
		%[2]s`, s, marker)
}

// ledgerDDL adds the ledger, and what later releases have beside it.
func (l Layout) ledgerDDL(p func(string, ...any)) {
	s, f := l.Schema, l.form()
	l.partitioned(p, `queue_terminal_count_deltas`, `ready_slot integer not null, ready_generation bigint not null, queue text not null, priority smallint not null,
		enqueue_shard smallint not null, counter_bucket smallint not null default 0, terminal_delta bigint not null,
		recorded_at timestamptz not null default clock_timestamp(), constraint queue_terminal_count_deltas_nonzero check (terminal_delta <> 0)`)
	if f.receipts() {
		p(`alter table %s.queue_terminal_rollups add column if not exists pruned_failed_count bigint not null default 0`, s)
		p(`create sequence if not exists %s.receipt_completion_batch_id_seq`, s)
		l.partitioned(p, `receipt_completion_batches`, `ready_slot integer not null, ready_generation bigint not null,
			batch_id bigint not null default nextval('`+s+`.receipt_completion_batch_id_seq'), claim_slot integer not null, queue text not null,
			priority smallint not null, enqueue_shard smallint not null default 0, completed_count integer not null check (completed_count > 0),
			job_ids bigint[] not null, run_leases bigint[] not null, lane_seqs bigint[] not null, attempts smallint[] not null,
			attempted_ats timestamptz[] not null, finalized_at timestamptz not null default clock_timestamp(), primary key (ready_slot, batch_id),
			check (completed_count = cardinality(job_ids)), check (completed_count = cardinality(run_leases)), check (completed_count = cardinality(lane_seqs)),
			check (completed_count = cardinality(attempts)), check (completed_count = cardinality(attempted_ats))`)
		l.partitioned(p, `receipt_completion_tombstones`, `ready_slot integer not null, ready_generation bigint not null, job_id bigint not null,
			run_lease bigint not null, queue text not null, priority smallint not null, enqueue_shard smallint not null default 0,
			lane_seq bigint not null, deleted_at timestamptz not null default clock_timestamp(), primary key (ready_slot, job_id, run_lease)`)
	}
	if f.deferred() {
		p(`create table if not exists %s.queue_terminal_rollup_deltas (queue text not null, priority smallint not null,
			pruned_completed_delta bigint not null default 0, pruned_failed_delta bigint not null default 0, recorded_at timestamptz not null default clock_timestamp())`, s)
	}
}

// partitioned makes a table with a leaf for each slot.
func (l Layout) partitioned(p func(string, ...any), name, columns string) {
	p(`create table if not exists %s.%s (%s) partition by list (ready_slot)`, l.Schema, name, columns)
	for i := range l.Slots {
		p(`create table if not exists %[1]s.%[2]s_%[3]d partition of %[1]s.%[2]s for values in (%[3]d)`, l.Schema, name, i)
	}
}

// compatDDL is the function behind DELETE FROM awa.jobs. Since awa's migration 22 it counts, whatever
// the binary of its caller, once there is a counter.
func (l Layout) compatDDL(shape string) string {
	// The tests' own record besides: what the clamp swallowed.
	count := `if to_regclass('%[1]s.queue_terminal_live_counts') is not null then
		select live_terminal_count into held from %[1]s.queue_terminal_live_counts c
		where c.ready_slot = r.ready_slot and c.queue = r.queue and c.priority = r.priority and c.enqueue_shard = r.enqueue_shard%[2]s for no key update;
		update %[1]s.queue_terminal_live_counts c set live_terminal_count = greatest(0, live_terminal_count - 1)
		where c.ready_slot = r.ready_slot and c.queue = r.queue and c.priority = r.priority and c.enqueue_shard = r.enqueue_shard%[2]s;
		if coalesce(held, 0) < 1 then
			insert into fleet_log.uncounted_%[1]s values (r.ready_slot, r.queue, r.priority, r.enqueue_shard, coalesce(held, 0) - 1);
		end if;
	end if;`
	bucket, compact := "", ""
	switch shape {
	case Striped:
		bucket = " and c.counter_bucket = mod(job, 256)"
	case Ledger:
		count = `insert into %[1]s.queue_terminal_count_deltas (ready_slot, ready_generation, queue, priority, enqueue_shard, counter_bucket, terminal_delta)
			values (r.ready_slot, r.ready_generation, r.queue, r.priority, r.enqueue_shard, mod(job, 256), -1);`
		if l.form().receipts() { // a compact completion has no row, and is unmade by a tombstone
			compact = `insert into %[1]s.receipt_completion_tombstones (ready_slot, ready_generation, job_id, run_lease, queue, priority, enqueue_shard, lane_seq)
				select b.ready_slot, b.ready_generation, i.job_id, i.run_lease, b.queue, b.priority, b.enqueue_shard, i.lane_seq
				from %[1]s.receipt_completion_batches b, unnest(b.job_ids, b.run_leases, b.lane_seqs) i(job_id, run_lease, lane_seq)
				where i.job_id = job and b.job_ids @> array[job] on conflict do nothing;`
		}
	}
	return fmt.Sprintf(`
		create or replace function %[1]s.delete_job_compat(job bigint) returns void language plpgsql as $$
		declare r record; held bigint;
		begin
			for r in delete from %[1]s.done_entries where job_id = job returning ready_slot, ready_generation, queue, priority, enqueue_shard loop
				`+count+`
			end loop;
			if not found then
				`+compact+`
			end if;
		end $$;
`, l.Schema, bucket)
}

func (l Layout) autoTrust() string {
	return fmt.Sprintf(`update %[1]s.queue_ring_state set terminal_counter_trusted_at = now()
		where singleton and terminal_counter_trusted_at is null and not exists (select 1 from %[1]s.done_entries limit 1);`, l.Schema)
}

// AutoTrust is the installer, run again.
func (l Layout) AutoTrust(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, l.autoTrust())
	return err
}
