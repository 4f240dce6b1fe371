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
	Shape     string // Direct if empty
	Release   string // of the ledger: Beta2, "0.6.0" to Latest, Next; Latest if empty
	ShardLast bool   // enqueue_shard is the last column, as on databases that began as an alpha
	NoCounter bool   // before the migration that brings the counter
	NoMarker  bool   // change #304: the counter, but no marker
}

func (l Layout) form() form { return form{l.Shape, l.Release} }

// Writer is a binary that works on these tables.
func (l Layout) Writer(counted bool) Writer {
	return Writer{Schema: l.Schema, Shape: l.Shape, Release: l.Release, Counted: counted}
}

const columnsBefore = `ready_slot integer not null, ready_generation bigint not null, job_id bigint not null,
	kind text not null, queue text not null, args jsonb, state awa.job_state not null default 'completed',
	priority smallint not null, attempt smallint not null default 1, run_lease bigint not null default 1,
	max_attempts smallint, lane_seq bigint not null`

const columnsAfter = `run_at timestamptz, attempted_at timestamptz, finalized_at timestamptz not null default clock_timestamp(),
	created_at timestamptz, unique_key bytea, unique_states text, payload jsonb`

const readyColumns = `ready_slot integer not null, ready_generation bigint not null, job_id bigint not null, kind text not null,
	queue text not null, args jsonb not null default '{}', priority smallint not null, attempt smallint not null default 0,
	run_lease bigint not null default 0, max_attempts smallint not null default 25, lane_seq bigint not null,
	enqueue_shard smallint not null default 0, run_at timestamptz not null default clock_timestamp(), attempted_at timestamptz,
	created_at timestamptz not null default clock_timestamp(), unique_key bytea, unique_states text, payload jsonb`

const jobStates = `'scheduled', 'available', 'running', 'completed', 'retryable', 'failed', 'cancelled', 'waiting_external'`

const vacuumed = `autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_cost_limit = 2000, autovacuum_vacuum_cost_delay = 2`

// DDL is what 0.6.0b1 has, with what awa's writers touch beside it, and then the counter. The ring has
// turned once: every slot has a generation.
func (l Layout) DDL() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+";\n", args...) }
	s := l.Schema
	p(`create schema if not exists awa`)
	p(`create schema if not exists %s`, s)
	b.WriteString(`do $$ begin create type awa.job_state as enum (` + jobStates + `); exception when duplicate_object then null; end $$;` + "\n")
	p(`create table if not exists awa.runtime_storage_backends (backend text primary key, schema_name text not null, updated_at timestamptz not null default now())`)
	p(`insert into awa.runtime_storage_backends values ('queue_storage', '%s') on conflict (backend) do update set schema_name = excluded.schema_name`, s)
	p(`create table %s.queue_ring_state (singleton boolean primary key default true check (singleton), current_slot integer not null, generation bigint not null,
		slot_count integer not null) with (fillfactor = 50, autovacuum_vacuum_threshold = 50, %s)`, s, vacuumed)
	p(`insert into %s.queue_ring_state values (true, 0, %[2]d, %[2]d)`, s, l.Slots)
	p(`create table %s.queue_ring_slots (slot integer primary key, generation bigint not null) with (fillfactor = 70, autovacuum_vacuum_threshold = 50, %s)`, s, vacuumed)
	p(`insert into %s.queue_ring_slots select i, case i when 0 then %[2]d else i end from generate_series(0, %[2]d - 1) i`, s, l.Slots)
	shard := "enqueue_shard smallint not null default 0"
	if l.ShardLast {
		p(`create table %s.done_entries (%s, %s, %s) partition by list (ready_slot)`, s, columnsBefore, columnsAfter, shard)
	} else {
		p(`create table %s.done_entries (%s, %s, %s) partition by list (ready_slot)`, s, columnsBefore, shard, columnsAfter)
	}
	p(`alter table %s.done_entries add primary key (ready_slot, queue, priority, enqueue_shard, lane_seq)`, s)
	p(`create table %s.ready_entries (%s, primary key (ready_slot, queue, priority, enqueue_shard, lane_seq)) partition by list (ready_slot)`, s, readyColumns)
	for i := range l.Slots {
		p(`create table %[1]s.done_entries_%[2]d partition of %[1]s.done_entries for values in (%[2]d)`, s, i)
		p(`create index on %s.done_entries_%d (job_id)`, s, i)
		p(`create table %[1]s.ready_entries_%[2]d partition of %[1]s.ready_entries for values in (%[2]d)`, s, i)
	}
	p(`create table %s.queue_terminal_rollups (queue text not null, priority smallint not null, pruned_completed_count bigint not null default 0, primary key (queue, priority))`, s)
	p(`create table %s.dlq_entries (job_id bigint primary key, queue text not null, reason text)`, s)
	p(`create sequence %s.lane_seq`, s)
	p(`create sequence %s.job_id_seq`, s)
	b.WriteString(l.logDDL())
	if l.NoCounter {
		b.WriteString(l.compatDDL(Direct)) // it counts as soon as there is a counter
	} else {
		b.WriteString(l.CounterDDL() + l.compatDDL(l.Shape))
	}
	return b.String()
}

// logDDL is the tests' own record of uncounted writes, and of what else disturbs a slot.
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
	if err := Known(l.Shape, l.Release); err != nil {
		return err
	}
	if _, err := c.Exec(ctx, l.DDL()); err != nil {
		return fmt.Errorf("install awa's tables: %w", err)
	}
	return nil
}
