package fleet

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Layout says which of awa's forms to make.
type Layout struct {
	Schema    string
	Slots     int
	ShardLast bool // enqueue_shard is the last column, as on databases that began as an alpha
	NoCounter bool // before the migration that brings the counter
	NoMarker  bool // change #304: the counter, but no marker
}

const columnsBefore = `ready_slot integer not null, ready_generation bigint not null default 0, job_id bigint not null,
	kind text not null, queue text not null, args jsonb, state awa.job_state not null default 'completed',
	priority smallint not null, attempt smallint not null default 1, run_lease bigint not null default 1,
	max_attempts smallint, lane_seq bigint not null`

const columnsAfter = `run_at timestamptz, attempted_at timestamptz, finalized_at timestamptz not null default clock_timestamp(),
	created_at timestamptz, unique_key bytea, unique_states text, payload jsonb`

// DDL is the schema of change #306, with what awa's writers touch beside it.
func (l Layout) DDL() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+";\n", args...) }
	s := l.Schema
	p(`create schema if not exists awa`)
	p(`create schema if not exists %s`, s)
	b.WriteString(`do $$ begin create type awa.job_state as enum ('available','running','completed','failed','cancelled','waiting_external');
		exception when duplicate_object then null; end $$;` + "\n")
	p(`create table if not exists awa.runtime_storage_backends (backend text primary key, schema_name text not null, updated_at timestamptz not null default now())`)
	p(`insert into awa.runtime_storage_backends values ('queue_storage', '%s') on conflict (backend) do update set schema_name = excluded.schema_name`, s)
	p(`create table %s.queue_ring_state (singleton boolean primary key check (singleton), current_slot integer not null, generation bigint not null, slot_count integer not null)`, s)
	p(`insert into %s.queue_ring_state values (true, 0, 0, %d)`, s, l.Slots)
	p(`create table %s.queue_ring_slots (slot integer primary key, generation bigint not null)`, s)
	p(`insert into %s.queue_ring_slots select i, i from generate_series(0, %d) i`, s, l.Slots-1)
	shard := "enqueue_shard smallint not null default 0"
	if l.ShardLast {
		p(`create table %s.done_entries (%s, %s, %s) partition by list (ready_slot)`, s, columnsBefore, columnsAfter, shard)
	} else {
		p(`create table %s.done_entries (%s, %s, %s) partition by list (ready_slot)`, s, columnsBefore, shard, columnsAfter)
	}
	p(`alter table %s.done_entries add primary key (ready_slot, queue, priority, enqueue_shard, lane_seq)`, s)
	p(`create table %s.ready_entries (ready_slot integer not null, job_id bigint not null, queue text not null, primary key (ready_slot, job_id)) partition by list (ready_slot)`, s)
	for i := range l.Slots {
		p(`create table %[1]s.done_entries_%[2]d partition of %[1]s.done_entries for values in (%[2]d)`, s, i)
		p(`create index on %s.done_entries_%d (job_id)`, s, i)
		p(`create table %[1]s.ready_entries_%[2]d partition of %[1]s.ready_entries for values in (%[2]d)`, s, i)
	}
	p(`create table %s.queue_terminal_rollups (queue text not null, priority smallint not null, pruned_completed_count bigint not null default 0, primary key (queue, priority))`, s)
	p(`create table %s.dlq_entries (job_id bigint primary key, queue text not null, reason text)`, s)
	p(`create sequence %s.lane_seq`, s)
	p(`create sequence %s.job_id_seq`, s)
	b.WriteString(l.compatDDL())
	b.WriteString(l.logDDL())
	if !l.NoCounter {
		b.WriteString(l.CounterDDL())
	}
	return b.String()
}

// compatDDL is the function behind DELETE FROM awa.jobs. Since awa's migration 22 it counts, whatever
// the binary of its caller, once there is a counter.
func (l Layout) compatDDL() string {
	return fmt.Sprintf(`
		create or replace function %[1]s.delete_job_compat(job bigint) returns void language plpgsql as $$
		declare r record;
		begin
			for r in delete from %[1]s.done_entries where job_id = job returning ready_slot, queue, priority, enqueue_shard loop
				if to_regclass('%[1]s.queue_terminal_live_counts') is not null then
					update %[1]s.queue_terminal_live_counts c set live_terminal_count = greatest(0, live_terminal_count - 1)
					where c.ready_slot = r.ready_slot and c.queue = r.queue and c.priority = r.priority and c.enqueue_shard = r.enqueue_shard;
				end if;
			end loop;
		end $$;
`, l.Schema)
}

// CounterDDL is what change #304 and #306 add.
func (l Layout) CounterDDL() string {
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

// Migrate does what awa's prepare_schema does at #306: the counter, its backfill, and trust if
// done_entries happens to be empty.
func (l Layout) Migrate(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, l.CounterDDL()+fmt.Sprintf(`
		insert into %[1]s.queue_terminal_live_counts
		select ready_slot, queue, priority, enqueue_shard, count(*) from %[1]s.done_entries group by 1, 2, 3, 4 on conflict do nothing;
		%[2]s`, l.Schema, l.autoTrust()))
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
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

// logDDL is the tests' own record of what was written uncounted, and of what else disturbs a slot.
func (l Layout) logDDL() string {
	return fmt.Sprintf(`
		create schema if not exists fleet_log;
		create table fleet_log.uncounted_%[1]s (ready_slot integer, queue text, priority smallint, enqueue_shard smallint, delta bigint, at timestamptz default clock_timestamp());
		create index on fleet_log.uncounted_%[1]s (at);
		create table fleet_log.disturbed_%[1]s (ready_slot integer, what text, at timestamptz default clock_timestamp());
		create index on fleet_log.disturbed_%[1]s (at);
	`, l.Schema)
}

// Install makes the schema.
func Install(ctx context.Context, c *pgx.Conn, l Layout) error {
	if _, err := c.Exec(ctx, l.DDL()); err != nil {
		return fmt.Errorf("install awa's tables: %w", err)
	}
	return nil
}
