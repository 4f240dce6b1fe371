package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

const (
	publication = "awa_counterd_awa"
)

func catalogFaults() []fault {
	return []fault{
		{"slot dropped", 2, false, func(ctx context.Context, a *env) error { return a.dropSlot(ctx) }},
		{"slot advanced by hand", 2, false, func(ctx context.Context, a *env) error {
			return a.slotCall(ctx, `select pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) from pg_replication_slots where slot_name like 'awa_counterd_%'`)
		}},
		{"slot invalidated", 1, true, invalidated},
		{"publication dropped", 2, false, sql(`drop publication if exists ` + publication)},
		{"publication without the counters", 1, false, sql(
			`alter publication `+publication+` drop table awa.queue_terminal_live_counts`, wait,
			`alter publication `+publication+` add table awa.queue_terminal_live_counts`)},
		{"publication via root", 1, false, sql(
			`alter publication `+publication+` set (publish_via_partition_root = true)`, wait,
			`alter publication `+publication+` set (publish_via_partition_root = false)`)},
		{"leaf added and dropped", 1, false, sql(
			`create table awa.done_entries_77 partition of awa.done_entries for values in (77); alter table awa.done_entries_77 owner to `+role, wait,
			`drop table awa.done_entries_77`)},
		{"leaf re-created", 1, false, recreateLeaf},
		{"replica identity changed", 1, false, sql(
			`alter table awa.done_entries_3 replica identity full`, wait, `alter table awa.done_entries_3 replica identity default`)},
		{"schema dropped and re-created", 0, true, reset},
		{"role loses a right", 1, false, sql(
			`revoke update on awa.queue_terminal_live_counts from `+role, wait, `grant update on awa.queue_terminal_live_counts to `+role)},
		{"awa's migration runs again", 2, true, migrated},
		{"rebuilds in a loop", 2, true, func(ctx context.Context, a *env) error {
			return a.loop(ctx, 12, 150*time.Millisecond, func() error {
				return awaGivesWay(func() error {
					return a.write1(ctx, func(tx pgx.Tx, w fleet.Writer) error { return w.Rebuild(ctx, tx) })
				})
			})
		}},
		{"marker set by others in a loop", 2, true, func(ctx context.Context, a *env) error {
			return a.loop(ctx, 40, 50*time.Millisecond, func() error {
				return a.exec(ctx, `update awa.queue_ring_state set terminal_counter_trusted_at = now() where singleton`)
			})
		}},
		{"marker cleared by others", 2, false, func(ctx context.Context, a *env) error {
			return a.exec(ctx, `update awa.queue_ring_state set terminal_counter_trusted_at = null where singleton`)
		}},
		{"counters poisoned", 3, false, poisoned},
		{"counter rows deleted", 3, false, func(ctx context.Context, a *env) error {
			a.observer.noteUnloggedDrift()
			return a.exec(ctx, `with gone as (delete from awa.queue_terminal_live_counts where priority = 1 returning ready_slot)
				insert into fleet_log.disturbed_awa select distinct ready_slot, 'deleted' from gone`)
		}},
	}
}

// wait, among statements, lets the daemon find out.
const wait = ""

func sql(statements ...string) func(context.Context, *env) error {
	return func(ctx context.Context, a *env) error {
		for _, s := range statements {
			if s == wait {
				if err := pause(ctx, a.between(200*time.Millisecond, 3*time.Second)); err != nil {
					return err
				}
				continue
			}
			a.observer.noteUnsentChanges()
			if err := a.patiently(ctx, s); err != nil {
				return err
			}
		}
		return nil
	}
}

// patiently runs DDL as a careful operator does: with a lock timeout, again and again. What another fault
// has taken away meanwhile is waited for; what it has put there already is fine.
func (a *env) patiently(ctx context.Context, statement string) error {
	passing := []string{"55P03", "40P01", "42704"} // a lock, a deadlock, what is away
	for began := time.Now(); ; {
		err := pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `set local lock_timeout = '900ms'; `+statement)
			return err
		})
		var e *pgconn.PgError
		switch {
		case !errors.As(err, &e):
			return err
		case e.Code == "42710":
			return nil
		// Another fault that changes the same catalog row gets no code of its own, XX000 only.
		case !slices.Contains(passing, e.Code) && e.Message != "tuple concurrently updated", time.Since(began) > time.Minute:
			return fmt.Errorf("%s: %w", statement, err)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// slotCall ends the walsender and calls a function on the slot before it is back. On a busy machine a walsender that reads through a
// backlog hears of its end late.
func (a *env) slotCall(ctx context.Context, call string) error {
	for began := time.Now(); ; {
		if err := a.terminate(ctx, "stream"); err != nil {
			return err
		}
		err := a.exec(ctx, call)
		var e *pgconn.PgError
		switch {
		case !errors.As(err, &e) || e.Code != "55006":
			return err
		case time.Since(began) > time.Minute:
			return fmt.Errorf("the slot was not free for a minute: %w", err)
		}
	}
}

func (a *env) dropSlot(ctx context.Context) error {
	return a.slotCall(ctx, `select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name like 'awa_counterd_%'`)
}

// invalidated has the server take the WAL away from under a stopped daemon.
func invalidated(ctx context.Context, a *env) error {
	return a.mute(func() error {
		if err := a.all(ctx, `alter system set max_slot_wal_keep_size = '1MB'`, `select pg_reload_conf()`); err != nil {
			return err
		}
		var err error
		for range 4 {
			err = first(err, a.all(ctx, `select pg_logical_emit_message(true, 'filler', repeat('x', 12000000))`, `select pg_switch_wal()`, `checkpoint`))
		}
		return first(err, a.all(ctx, `alter system reset max_slot_wal_keep_size`, `select pg_reload_conf()`))
	})
}

// recreateLeaf drops a leaf with its rows and creates it again, in one transaction.
func recreateLeaf(ctx context.Context, a *env) error {
	return a.patiently(ctx, `lock table awa.done_entries in access exclusive mode;
		insert into fleet_log.uncounted_awa select ready_slot, queue, priority, enqueue_shard, -count(*) from awa.done_entries_5 group by 1, 2, 3, 4;
		insert into fleet_log.disturbed_awa values (5, 'reborn');
		drop table awa.done_entries_5;
		create table awa.done_entries_5 partition of awa.done_entries for values in (5);
		create index on awa.done_entries_5 (job_id);
		alter table awa.done_entries_5 owner to `+role)
}

// reset is awa's reset of everything: the writers have been stopped for it.
func reset(ctx context.Context, a *env) error {
	a.fleet.Stop()
	a.tally.absorb(a.fleet)
	if errs := a.fleet.Errors(); len(errs) > 0 {
		return fmt.Errorf("writers failed: %v", errs)
	}
	if err := a.patiently(ctx, `drop schema awa cascade; drop schema fleet_log cascade`); err != nil {
		return err
	}
	if err := pause(ctx, a.between(100*time.Millisecond, 2*time.Second)); err != nil {
		return err
	}
	a.pool.Reset() // its connections remember a type that is gone
	if err := a.install(ctx); err != nil {
		return err
	}
	a.pool.Reset()
	return a.startWriters(ctx)
}

func migrated(ctx context.Context, a *env) error {
	conn, err := a.cluster.Connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, `set deadlock_timeout = '50ms'`); err != nil { // the migration gives way, not the writers
		return err
	}
	a.observer.noteUnloggedDrift()
	return awaGivesWay(func() error { return a.layout().MigrateAgain(ctx, conn) })
}

// awaGivesWay tries again what was the victim of a deadlock: awa's migrations and rebuilds are, now and then, against
// awa's own writers. That no session of the daemon's is in one is looked for at the end.
func awaGivesWay(do func() error) (err error) {
	for range 100 {
		err = do()
		var e *pgconn.PgError
		if !errors.As(err, &e) || e.Code != "40P01" {
			return err
		}
	}
	return err
}

func poisoned(ctx context.Context, a *env) error {
	return a.loop(ctx, 5, 30*time.Millisecond, func() error {
		key := fleet.Key{
			Slot: int32(a.rng.IntN(slots + 2)), Queue: queues[a.rng.IntN(len(queues))],
			Priority: int16(1 + a.rng.IntN(2)), Shard: int16(a.rng.IntN(2)),
		}
		value := int64(a.rng.IntN(2000) - 500)
		return a.write1(ctx, func(tx pgx.Tx, w fleet.Writer) error { return w.Poison(ctx, tx, key, value) })
	})
}

func (a *env) write1(ctx context.Context, f func(tx pgx.Tx, w fleet.Writer) error) error {
	return fleet.Do(ctx, a.pool, func(tx pgx.Tx) error { return f(tx, a.layout().Writer(true)) })
}

func (a *env) loop(ctx context.Context, n int, every time.Duration, f func() error) error {
	for range n {
		a.observer.noteUnloggedDrift()
		if err := f(); err != nil {
			return err
		}
		if err := pause(ctx, every); err != nil {
			return err
		}
	}
	return nil
}
