package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

func serverFaults() []fault {
	return []fault{
		{"server crashes and recovers", 1, true, func(ctx context.Context, a *env) error { return restarted(ctx, a, "immediate") }},
		{"server restarts", 1, true, func(ctx context.Context, a *env) error { return restarted(ctx, a, "fast") }},
		{"walsender terminated", 4, false, func(ctx context.Context, a *env) error { return a.terminate(ctx, "stream") }},
		{"every session of the daemon's terminated", 3, false, func(ctx context.Context, a *env) error {
			defer a.observer.openWindow("sessions terminated")()
			return a.terminate(ctx, "%")
		}},
		{"backend terminated in the middle of a correction", 3, false, midCorrection},
		{"counter rows held by somebody", 3, false, held},
		{"role has hostile settings", 2, false, hostile},
		{"connection limit reached", 1, false, connectionLimit},
		{"synchronous standby that does not exist", 2, true, unseen},
		{"prepared transaction left open", 2, false, prepared},
	}
}

func restarted(ctx context.Context, a *env, mode string) error {
	defer a.observer.openWindow("server down")()
	return a.tolerating(func() error {
		if err := a.cluster.Down(ctx, mode); err != nil {
			return err
		}
		if err := pause(ctx, a.between(100*time.Millisecond, time.Second)); err != nil {
			return err
		}
		if err := a.cluster.Up(ctx); err != nil {
			return err
		}
		a.pool.Reset()
		return pause(ctx, 200*time.Millisecond)
	})
}

// midCorrection holds counter rows and ends whichever of the daemon's sessions waits for them.
func midCorrection(ctx context.Context, a *env) error {
	defer a.observer.openWindow("corrections terminated")()
	tx, err := a.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := tx.Exec(ctx, `select 1 from awa.queue_terminal_live_counts where priority = 1 for no key update`); err != nil {
		return err
	}
	for began := time.Now(); time.Since(began) < 700*time.Millisecond; {
		err := a.exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity
			where application_name = 'awa-counterd corrections' and wait_event_type = 'Lock'`)
		if err != nil {
			return err
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// held has a foreign transaction hold the rows that corrections go to, for longer than the bound now and then.
func held(ctx context.Context, a *env) error {
	rows, most := `select 1 from awa.queue_terminal_live_counts where counter_bucket = 300 for no key update`, 6*time.Second
	if a.o.shape != fleet.Ledger { // awa's own writers need these
		rows, most = `select 1 from awa.queue_terminal_live_counts where priority = 1 for no key update`, time.Second
	}
	tx, err := a.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	tag, err := tx.Exec(ctx, rows)
	if err != nil {
		return err
	}
	a.tally.holds(tag.RowsAffected())
	return pause(ctx, a.between(most/4, most))
}

// settings are what a role may bring along to every session.
func settings() map[string]string {
	return map[string]string{
		"statement_timeout": "5ms", "lock_timeout": "1ms", "idle_in_transaction_session_timeout": "1ms", "idle_session_timeout": "20ms",
		"transaction_timeout": "20ms", "exit_on_error": "on",
		"default_transaction_read_only": "on", "default_transaction_isolation": "serializable", "default_transaction_deferrable": "on",
		"search_path": "fleet_log, pg_catalog", "client_min_messages": "debug5", "row_security": "on", "DateStyle": "German, DMY",
		"IntervalStyle": "sql_standard", "TimeZone": "Asia/Kathmandu", "bytea_output": "escape", "extra_float_digits": "-10",
		"enable_indexscan": "off", "enable_hashagg": "off", "max_parallel_workers_per_gather": "0", "vacuum_cost_delay": "100", "synchronous_commit": "off",
	}
}

// knownSettings are those that this server has.
func (a *env) knownSettings(ctx context.Context) ([]string, error) {
	rows, err := a.pool.Query(ctx, `select name from pg_settings`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func hostile(ctx context.Context, a *env) error {
	known, err := a.knownSettings(ctx)
	if err != nil {
		return err
	}
	over := a.observer.openWindow("sessions terminated")
	all := settings()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !slices.Contains(known, name) {
			continue
		}
		if err := a.exec(ctx, fmt.Sprintf(`alter role `+role+` set %s = %s`, name, quoted(name, all[name]))); err != nil {
			return err
		}
	}
	err = a.terminate(ctx, "%")
	over()
	err = first(err, a.trusted(ctx)) // in spite of them
	return first(err, a.exec(ctx, `alter role `+role+` reset all`))
}

// quoted is a value as ALTER ROLE SET takes it: a search path is a list.
func quoted(name, value string) string {
	if name == "search_path" {
		return value
	}
	return "'" + value + "'"
}

func connectionLimit(ctx context.Context, a *env) error {
	defer a.observer.openWindow("no connection free")()
	if err := a.exec(ctx, `alter role `+role+` connection limit 2`); err != nil {
		return err
	}
	if err := a.terminate(ctx, "%"); err != nil {
		return err
	}
	err := pause(ctx, a.between(time.Second, 3*time.Second))
	return first(err, a.exec(ctx, `alter role `+role+` connection limit -1`))
}

// unseen has commits streamed long before anybody can see them.
func unseen(ctx context.Context, a *env) error {
	defer a.observer.stalls()()
	return a.tolerating(func() error {
		if err := a.all(ctx, `alter system set synchronous_standby_names = 'nobody'`, `select pg_reload_conf()`); err != nil {
			return err
		}
		err := pause(ctx, a.between(2*time.Second, 5*time.Second))
		return first(err, a.all(ctx, `alter system reset synchronous_standby_names`, `select pg_reload_conf()`))
	})
}

func prepared(ctx context.Context, a *env) error {
	w := a.layout().Writer(a.rng.IntN(2) == 0)
	gid := fmt.Sprintf("chaos-%d", a.rng.Int64N(1<<60))
	key := fleet.Key{Slot: int32(a.rng.IntN(slots)), Queue: queues[0], Priority: 1}
	conn, err := a.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	if err := w.Insert(ctx, tx, key, 25, "failed", ""); err != nil {
		return first(err, tx.Rollback(ctx))
	}
	if _, err := tx.Exec(ctx, `prepare transaction '`+gid+`'`); err != nil {
		return err
	}
	err = pause(ctx, a.between(500*time.Millisecond, 2*time.Second))
	// What it wrote uncounted is as old as its commit, not as its INSERT.
	if !w.Counted {
		_, stamp := conn.Exec(ctx, `insert into fleet_log.disturbed_awa values ($1, 'prepared')`, key.Slot)
		err = first(err, stamp)
	}
	_, done := conn.Exec(context.WithoutCancel(ctx), `commit prepared '`+gid+`'`)
	return first(err, done)
}

// first is the first error of two.
func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
