package e2e

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
)

// situation is a state that an installation can be in when somebody types a command.
type situation struct {
	name string
	mute bool // the marker may stand, and nobody is there who could clear it: a crash window
	// prepare brings it about. undo lets go of what the test itself keeps; the daemons may be dead by then.
	prepare func(e *env) (daemons []*daemon, undo func())
}

var situations = []situation{
	{name: "nothing is there", prepare: func(*env) ([]*daemon, func()) { return nil, func() {} }},
	{name: "a daemon leads", prepare: func(e *env) ([]*daemon, func()) { return []*daemon{e.trusted()}, func() {} }},
	{name: "another stands by", prepare: func(e *env) ([]*daemon, func()) {
		first := e.trusted()
		second := e.daemon("--checkpoint-interval", "200ms")
		second.logged("standing by", 10*time.Second)
		return []*daemon{first, second}, func() {}
	}},
	{name: "it makes its slot", prepare: func(e *env) ([]*daemon, func()) {
		tx, err := e.pool.Begin(context.Background())
		require.NoError(e.t, err)
		e.t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
		_, err = tx.Exec(context.Background(), `select pg_current_xact_id()`) // the making waits for whoever writes
		require.NoError(e.t, err)
		d := e.daemon("--checkpoint-interval", "200ms")
		d.logged("creating the replication slot: PostgreSQL waits for a transaction to end", 20*time.Second)
		return []*daemon{d}, func() { require.NoError(e.t, tx.Rollback(context.Background())) }
	}},
	{name: "it waits for awa's migration", prepare: func(e *env) ([]*daemon, func()) {
		e.exec(`alter table awa.queue_terminal_live_counts rename to not_yet`)
		d := e.daemon("--checkpoint-interval", "200ms")
		d.logged("waiting for awa's migration", 20*time.Second)
		return []*daemon{d}, func() { e.exec(`alter table awa.not_yet rename to queue_terminal_live_counts`) }
	}},
	{name: "it was stopped", prepare: func(e *env) ([]*daemon, func()) {
		d := e.trusted()
		require.Zero(e.t, d.stop())
		return []*daemon{d}, func() {}
	}},
	{name: "it was killed", mute: true, prepare: func(e *env) ([]*daemon, func()) {
		d := e.trusted()
		d.kill()
		return []*daemon{d}, func() {}
	}},
	{name: "its slot is lost too", mute: true, prepare: func(e *env) ([]*daemon, func()) {
		d := e.trusted()
		d.kill()
		e.unread()
		e.exec(`select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database()`)
		return []*daemon{d}, func() {}
	}},
	{name: "it hangs", mute: true, prepare: func(e *env) ([]*daemon, func()) {
		d := e.trusted()
		d.signal(syscall.SIGSTOP)
		return []*daemon{d}, func() { d.signal(syscall.SIGCONT) }
	}},
	{name: "it waits for a connection", mute: true, prepare: func(e *env) ([]*daemon, func()) {
		role := e.role("superuser")
		d := start(e.t, nil, "run", "--database-url", e.server.URL(role, "", e.db), "--checkpoint-interval", "200ms")
		d.logged("marker set", 20*time.Second)
		e.exec(fmt.Sprintf(`alter role %s connection limit 0; alter role %[1]s nosuperuser;
			select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'awa-counterd%%' and datname = current_database()`, role))
		d.logged("no connection is free", 15*time.Second)
		return []*daemon{d}, func() { e.exec(fmt.Sprintf(`alter role %s connection limit -1; alter role %[1]s superuser`, role)) }
	}},
	{name: "a finish is under way", prepare: func(e *env) ([]*daemon, func()) {
		d := e.trusted()
		tx, err := e.pool.Begin(context.Background())
		require.NoError(e.t, err)
		e.t.Cleanup(func() { _ = tx.Rollback(context.Background()) })                           // a test that fails first would wait for it for ever
		_, err = tx.Exec(context.Background(), `select 1 from awa.queue_ring_state for update`) // whoever sets the marker waits for it
		require.NoError(e.t, err)
		finish := e.finishing()
		ctx, cancel := contextWithin(20 * time.Second)
		defer cancel()
		e.until(ctx, func() bool { return e.scalar(`select count(*) from awa_counterd.lead where leaving`) > 0 }, func() string { return "finish did not ask" })
		return []*daemon{d}, func() {
			require.NoError(e.t, tx.Rollback(context.Background()))
			_ = finish.Wait()
		}
	}},
}

// trusted starts a daemon and waits for the marker.
func (e *env) trusted() *daemon {
	e.t.Helper()
	d := e.daemon("--checkpoint-interval", "200ms")
	d.logged("marker set", 20*time.Second)
	return d
}

// unread waits until nobody reads a replication slot of this database.
func (e *env) unread() {
	e.t.Helper()
	e.none(`select count(*) from pg_replication_slots where database = current_database() and active`, 10*time.Second, "a walsender stays")
}

// wasKilled says of a daemon that a signal has ended, and that has nothing to leave with.
func (d *daemon) wasKilled() bool {
	select {
	case <-d.Done():
		return d.ExitCode() == -1
	default:
		return false
	}
}
