package main

import (
	"context"
	"fmt"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

func serverFaults() []fault {
	return []fault{
		{"server crashes and recovers", 1, true, func(ctx context.Context, a *arena) error { return restarted(ctx, a, "immediate") }},
		{"server restarts", 1, true, func(ctx context.Context, a *arena) error { return restarted(ctx, a, "fast") }},
		{"walsender terminated", 4, false, func(ctx context.Context, a *arena) error { return a.terminate(ctx, "stream") }},
		{"every session of ours terminated", 3, false, func(ctx context.Context, a *arena) error {
			defer a.eye.silence("sessions terminated")()
			return a.terminate(ctx, "%")
		}},
		{"backend terminated in the middle of a correction", 3, false, midCorrection},
		{"role has hostile timeouts", 2, false, timeouts},
		{"connection limit reached", 1, false, crowded},
		{"synchronous standby that nobody is", 2, true, unseen},
		{"prepared transaction left open", 2, false, prepared},
	}
}

func restarted(ctx context.Context, a *arena, mode string) error {
	defer a.eye.silence("server down")()
	return a.hurt(func() error {
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

// midCorrection holds counter rows and ends whoever of ours waits for them.
func midCorrection(ctx context.Context, a *arena) error {
	defer a.eye.silence("corrections terminated")()
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

func timeouts(ctx context.Context, a *arena) error {
	over := a.eye.silence("sessions terminated")
	err := a.all(ctx, `alter role `+role+` set statement_timeout = '5ms'`, `alter role `+role+` set lock_timeout = '1ms'`,
		`alter role `+role+` set idle_in_transaction_session_timeout = '1ms'`, `alter role `+role+` set default_transaction_read_only = on`,
		`alter role `+role+` set default_transaction_isolation = 'serializable'`)
	if err != nil {
		return err
	}
	err = a.terminate(ctx, "%")
	over()
	err = first(err, a.trusted(ctx)) // in spite of them
	return first(err, a.exec(ctx, `alter role `+role+` reset all`))
}

func crowded(ctx context.Context, a *arena) error {
	defer a.eye.silence("no connection free")()
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
func unseen(ctx context.Context, a *arena) error {
	defer a.eye.stalls()()
	return a.hurt(func() error {
		if err := a.all(ctx, `alter system set synchronous_standby_names = 'nobody'`, `select pg_reload_conf()`); err != nil {
			return err
		}
		err := pause(ctx, a.between(2*time.Second, 5*time.Second))
		return first(err, a.all(ctx, `alter system reset synchronous_standby_names`, `select pg_reload_conf()`))
	})
}

func prepared(ctx context.Context, a *arena) error {
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
