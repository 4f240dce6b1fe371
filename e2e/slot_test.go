package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/process"
)

// A temporary slot goes with the daemon: killed, it leaves no slot, no connection, no lock and no
// temporary object. Each session makes its own and scans afresh.
func TestTemporarySlot(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	f := e.fleet(steady)
	d := e.daemon("--slot-lifetime", "temporary", "--checkpoint-interval", "200ms")
	e.marker(true, 15*time.Second)
	mine := `from pg_replication_slots where database = current_database()`
	require.EqualValues(t, 1, e.scalar(`select count(*) `+mine+` and temporary`))
	e.exec(`select pg_terminate_backend(active_pid) ` + mine)
	e.marker(false, 5*time.Second)
	e.marker(true, 15*time.Second)
	d.kill()
	e.disconnected()
	require.Zero(t, e.scalar(`select count(*) `+mine))
	require.Zero(t, e.scalar(`select count(*) from pg_locks l join pg_database b on b.oid = l.database where datname = current_database() and locktype = 'advisory'`))
	d = e.daemon("--slot-lifetime", "temporary")
	require.Contains(t, d.logged("scanning afresh", 10*time.Second)["reason"], "is gone")
	e.marker(true, 15*time.Second)

	// From temporary to permanent and back: what the other mode left is in nobody's way.
	require.Zero(t, d.stop())
	d = e.daemon()
	e.marker(true, 15*time.Second)
	d.kill()
	d = e.daemon("--slot-lifetime", "temporary")
	d.logged("marker set", 15*time.Second)
	require.Zero(t, e.scalar(`select count(*) `+mine+` and not temporary`))
	f.Stop()
	e.balanced(2 * time.Second)
	e.noMismatch(d)
	require.Empty(t, f.Errors())
}

// finish removes everything, whichever slot the daemon had.
func TestFinishWithTemporarySlot(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	before := e.catalogs()
	d := e.daemon("--slot-lifetime", "temporary", "--checkpoint-interval", "200ms")
	e.marker(true, 10*time.Second)
	e.insert(5)
	e.balanced(2 * time.Second)
	require.Contains(t, e.status().Next, "pre-#290 writers still active on queue q")
	code, out, errs := e.command("finish", "--quiet-period", "1s", "--timeout", "20s")
	require.Zero(t, code, out+errs)
	require.Zero(t, d.wait(5*time.Second))
	e.marker(true, 0)
	e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = null`) // for the comparison only
	require.Equal(t, before, e.catalogs(), "a trace is left")
}

// finish removes everything that awa-counterd made within a moment of asking the daemons to leave. A standby that did not
// look in that moment must not take what is gone for a fresh start, and create it all again.
func TestStandbyLeavesWithTheSchema(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	first := e.daemon()
	e.marker(true, 10*time.Second)
	second := e.daemon()
	second.logged("standing by", 5*time.Second)
	first.signal(stopped) // it holds the lock, as finish does by then
	t.Cleanup(func() { first.signal(resumed) })
	e.exec(`drop schema awa_counterd cascade`)
	require.Zero(t, second.wait(5*time.Second))
	second.logged("ending: everything that awa-counterd created", 0)
	require.Zero(t, e.scalar(`select count(*) from pg_namespace where nspname = 'awa_counterd'`))
}

// Something holds the slot back while WAL is written. Past half of --max-retained-wal the marker is
// cleared; past it the slot is dropped. A new one waits for what held the old one back, and does not
// keep more than it may while it waits either.
func TestRetainedWALIsBounded(t *testing.T) {
	t.Parallel()
	c, err := cluster.Start(t.Context(), cluster.Options{Bin: pgBin, Settings: map[string]string{"max_wal_size": "64MB", "min_wal_size": "32MB"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	e := newEnvOn(t, c, fleet.Layout{Slots: 4})
	d := e.daemon("--max-retained-wal", "96MiB", "--checkpoint-interval", "200ms")
	e.marker(true, 10*time.Second)
	holder, err := e.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = holder.Rollback(context.Background()) }()
	_, err = holder.Exec(t.Context(), `create table held (i int)`)
	require.NoError(t, err)
	most := int64(0)
	write := func(bytes int) {
		e.exec(`select pg_logical_emit_message(false, 'filler', repeat('x', $1))`, bytes)
		e.exec(`checkpoint`)
		most = max(most, e.scalar(`select coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)), 0)::bigint from pg_replication_slots`))
		e.wait(150 * time.Millisecond)
	}
	writeUntil := func(text string) process.Entry {
		for range 150 {
			if e, _ := d.find(text); e != nil {
				return e
			}
			write(2_000_000) // no faster: the daemon looks every two seconds while it makes a slot
		}
		return d.logged(text, 5*time.Second)
	}
	require.Contains(t, writeUntil("trust: marker cleared")["reason"], "more than half of --max-retained-wal=96MiB")
	e.marker(false, 0)
	require.Contains(t, writeUntil("session failed")["reason"], "--max-retained-wal is reached")
	d.logged("creating the replication slot: PostgreSQL waits for a transaction to end", 10*time.Second)
	writeUntil("while the replication slot is being created") // the half-made slot is given up as well
	require.NoError(t, holder.Rollback(t.Context()))
	e.do(false, func(tx pgx.Tx, w fleet.Writer) error {
		return w.Insert(t.Context(), tx, fleet.Key{Slot: 1, Queue: "q", Priority: 1}, 7, "failed", "")
	})
	e.marker(true, 30*time.Second)
	e.balanced(2 * time.Second)
	t.Logf("%d MiB of WAL kept at most, of 96", most>>20)
	require.Less(t, most, int64(160<<20), "between two looks a few segments may be written")

	// Nobody ran for a while: what has piled up is not decoded, but dropped.
	require.Zero(t, d.stop())
	for range 18 {
		write(8_000_000)
	}
	d = e.daemon("--max-retained-wal", "96MiB")
	require.Contains(t, d.logged("scanning afresh", 10*time.Second)["reason"], "more than --max-retained-wal=96 MiB")
	e.marker(true, 15*time.Second)
}

// While the first slot is made, a commit gets into the WAL before the slot begins, and stays invisible
// because synchronous replication stalls. It is never streamed, and a scan must not overlook it.
func TestFirstSlotInAStall(t *testing.T) {
	t.Parallel()
	c := ownServer(t)
	e := newEnvOn(t, c, fleet.Layout{Slots: 4})
	begin := func(table string) pgx.Tx {
		tx, err := e.pool.Begin(t.Context())
		require.NoError(t, err)
		t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
		_, err = tx.Exec(t.Context(), `create table `+table+` (i int)`)
		require.NoError(t, err)
		return tx
	}
	first := begin("first")
	d := e.daemon("--status-interval", "500ms")
	d.logged("creating the replication slot: PostgreSQL waits for a transaction to end", 10*time.Second)
	second := begin("second")
	require.NoError(t, first.Rollback(t.Context()))
	waitsFor := func(table string) {
		ctx, cancel := contextWithin(10 * time.Second)
		defer cancel()
		e.until(ctx, func() bool {
			return e.scalar(`select count(*) from pg_stat_activity a where application_name = 'awa-counterd slot' and exists (
				select 1 from pg_stat_activity b where b.pid = any(pg_blocking_pids(a.pid)) and b.query like '%' || $1 || '%')`, table) == 1
		}, func() string { return "the slot does not wait for " + table })
	}
	waitsFor("second")
	e.exec(`alter system set synchronous_standby_names = 'nobody'`)
	e.exec(`select pg_reload_conf()`)
	e.wait(300 * time.Millisecond)
	hidden := make(chan error, 1)
	go func() {
		w := e.layout.Writer(false)
		hidden <- fleet.Do(t.Context(), e.pool, func(tx pgx.Tx) error {
			return w.Insert(t.Context(), tx, fleet.Key{Slot: 1, Queue: "q", Priority: 1}, 40, "failed", "")
		})
	}()
	ctx, cancel := contextWithin(5 * time.Second)
	defer cancel()
	e.until(ctx, func() bool {
		return e.scalar(`select count(*) from pg_stat_activity where wait_event = 'SyncRep' and datname = current_database()`) == 1
	}, func() string { return "no commit waits for a standby" })
	require.NoError(t, second.Rollback(t.Context()))
	d.logged("leading", 15*time.Second)
	e.until(ctx, func() bool { return strings.Contains(d.text(), "scanning begins when they have ended") },
		func() string { return "the status line does not say what it waits for" })
	e.marker(false, 0)
	e.exec(`alter system reset synchronous_standby_names`)
	e.exec(`select pg_reload_conf()`)
	require.NoError(t, <-hidden)
	e.marker(true, 15*time.Second)
	e.balanced(2 * time.Second)
	e.noMismatch(d)
	require.EqualValues(t, 40, e.scalar(`select sum(live_terminal_count)::int8 from awa.queue_terminal_live_counts where queue = 'q'`))
}

// A leader that hangs keeps its lock, and its slot keeps WAL; a standby ends its sessions and leads.
func TestHungLeaderIsDeposed(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Slots: 4})
	f := e.fleet(steady)
	first := e.daemon()
	e.marker(true, 20*time.Second)
	second := e.daemon()
	second.logged("standing by", 5*time.Second)
	t.Cleanup(func() { first.signal(resumed) })
	const sessions = `select count(*) from pg_stat_activity where datname = current_database() and backend_type = 'client backend' and application_name ~ '^awa-counterd' and state `
	ctx, cancel := contextWithin(20 * time.Second)
	defer cancel()
	e.until(ctx, func() bool { // not in a transaction: the server ends such a session by itself
		first.signal(stopped)
		e.none(sessions+`= 'active'`, 5*time.Second, "a statement does not end")
		if e.scalar(sessions+`~ 'in transaction'`) == 0 {
			return true
		}
		first.signal(resumed)
		return false
	}, func() string { return "it is always in a transaction" })
	began := time.Now()
	second.logged("the leader was silent; this standby ended its session", 25*time.Second)
	second.logged("marker set", 10*time.Second)
	t.Logf("hung leader to trust again: %s", time.Since(began).Round(time.Millisecond))
	first.signal(resumed)
	first.logged("standing by", 20*time.Second)
	f.Stop()
	e.balanced(2 * time.Second)
	require.Empty(t, f.Errors())
	for _, d := range []*daemon{first, second} {
		e.noMismatch(d)
	}
	require.EqualValues(t, 1, e.scalar(fmt.Sprintf(`select count(*) from awa_counterd.leader where pid = %d`, second.PID())))
}

// A prepared transaction keeps the replication slot from being made; the daemon says which.
func TestPreparedTransactionIsNamed(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	conn := e.connect()
	_, err := conn.Exec(t.Context(), `begin; create table public.x (i int); prepare transaction 'left over'`)
	require.NoError(t, err)
	var once sync.Once
	end := func() {
		once.Do(func() {
			_, err := conn.Exec(context.Background(), `rollback prepared 'left over'`)
			require.NoError(t, err)
		})
	}
	defer end() // it would hold up every other test
	d := e.daemon()
	require.Equal(t, "left over", d.logged("PostgreSQL waits for a prepared transaction to end", 15*time.Second)["gid"])
	end()
	d.logged("leading", 20*time.Second)
}
