package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// failedOver has a standby promoted in the place of the server, which is gone at once; the address that the daemons know leads to it.
// What was not replicated yet is lost, with the slot.
func failedOver(ctx context.Context, w *world) error {
	replica, err := w.cluster.Copy(ctx, true)
	if err != nil {
		return err
	}
	was := w.cluster
	w.replaced = append(w.replaced, replica)
	if err := replica.Up(ctx); err != nil {
		return err
	}
	if err := w.caughtUp(ctx, replica.Socket("postgres")); err != nil {
		return err
	}
	w.rest()
	if err := was.Down(ctx, "immediate"); err != nil {
		return err
	}
	if err := replica.Promote(ctx); err != nil {
		return err
	}
	w.cluster = replica
	w.at.Store(replica)
	w.pool.Reset()
	w.proxy.Retarget(replica.Address())
	w.proxy.Cut()
	w.proxy.Heal()
	w.replaced = w.replaced[:len(w.replaced)-1] // it is closed as the cluster
	if err := os.RemoveAll(was.Dir); err != nil {
		return err
	}
	return w.work(ctx, 1)
}

// caughtUp waits until a standby has what the server has at this moment.
func (w *world) caughtUp(ctx context.Context, standby string) error {
	var at string
	if err := w.pool.QueryRow(ctx, `select pg_current_wal_flush_lsn()::text`).Scan(&at); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, standby)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return until(ctx, "the standby does not catch up", func() (there bool, err error) {
		err = conn.QueryRow(ctx, `select coalesce(pg_last_wal_replay_lsn() >= $1::pg_lsn, false)`, at).Scan(&there)
		return there, err
	})
}

// leafAdded gives awa's ring one more slot, as prepare-queue-storage-schema does.
func leafAdded(ctx context.Context, w *world) error {
	w.disturbed.Store(true) // whoever writes may wait for these locks, or be in a deadlock
	defer w.disturbed.Store(false)
	sql := `set local lock_timeout = '500ms'; create table awa.done_entries_%[1]d partition of awa.done_entries for values in (%[1]d); alter table awa.done_entries_%[1]d owner to %[2]s;`
	if w.o.shape == fleet.Ledger {
		sql += `create table awa.queue_terminal_count_deltas_%[1]d partition of awa.queue_terminal_count_deltas for values in (%[1]d); alter table awa.queue_terminal_count_deltas_%[1]d owner to %[2]s`
	}
	err := until(ctx, "no leaf can be added", func() (bool, error) {
		_, err := w.pool.Exec(ctx, fmt.Sprintf(sql, slots, role))
		return err == nil, err
	})
	if err != nil {
		return err
	}
	return pause(ctx, time.Second) // for what was begun before
}
