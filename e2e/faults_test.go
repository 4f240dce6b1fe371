package e2e

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

var steady = fleet.Config{Pre: 2, Post: 2, Pause: 10 * time.Millisecond, Prune: time.Second, Seed: 41}

// Backends die under the daemon: each ends the session, and the next one resumes.
func TestConnectionsLost(t *testing.T) {
	e := newEnv(t, fleet.Layout{})
	f := e.fleet(steady)
	d := e.daemon("--checkpoint-interval", "300ms")
	for _, who := range []string{"stream", "corrections", "marker", "checkpoint", "control", "scan", "%"} {
		e.marker(true, 20*time.Second)
		e.exec(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like 'awa-counterd ' || $1`, who)
		e.wait(300 * time.Millisecond)
	}
	e.marker(true, 20*time.Second)
	f.Stop()
	e.balanced(2 * time.Second)
	e.noMismatch(d)
	require.Empty(t, f.Errors())
}

// The server crashes and comes back, again and again; acknowledged transactions come again.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	c := ownServer(t)
	e := newEnvOn(t, c, fleet.Layout{})
	d := e.daemon("--checkpoint-interval", "200ms", "--audit-interval", "1s")
	for i, mode := range []string{"immediate", "fast", "immediate"} {
		cfg := steady
		cfg.Seed += uint64(i)
		f := e.fleet(cfg)
		e.marker(true, 30*time.Second)
		e.wait(time.Second)
		require.NoError(t, c.Down(t.Context(), mode))
		f.Stop()
		e.wait(300 * time.Millisecond)
		require.NoError(t, c.Up(t.Context()))
		e.pool.Reset()
	}
	e.marker(true, 30*time.Second)
	e.balanced(2 * time.Second)
	e.noMismatch(d)
	require.Zero(t, d.stop())
}

// The ground changes while the daemon runs: it notices, clears the marker, says why, and scans
// afresh.
func TestGroundChangesWhileRunning(t *testing.T) {
	for name, c := range map[string]struct {
		change string
		says   string
		mend   string
	}{
		"publication dropped": {"drop publication awa_counterd_awa", "publication", ""},
		"publication via root": {
			"alter publication awa_counterd_awa set (publish_via_partition_root = true)", "publishes via the partition root",
			"alter publication awa_counterd_awa set (publish_via_partition_root = false)",
		},
		"publication altered": {
			"alter publication awa_counterd_awa drop table awa.queue_terminal_live_counts", "does not publish awa.queue_terminal_live_counts",
			"alter publication awa_counterd_awa add table awa.queue_terminal_live_counts",
		},
		"counter created again": {
			"create table form (like awa.queue_terminal_live_counts including all); drop table awa.queue_terminal_live_counts", "the counter table does not exist yet",
			"create table awa.queue_terminal_live_counts (like form including all); alter publication awa_counterd_awa add table awa.queue_terminal_live_counts",
		},
		"leaf added": {
			`create table awa.done_entries_77 partition of awa.done_entries for values in (77);
			do $$ begin if to_regclass('awa.queue_terminal_count_deltas') is not null then
				create table awa.queue_terminal_count_deltas_77 partition of awa.queue_terminal_count_deltas for values in (77);
			end if; end $$`, "awa's tables", "",
		},
		"leaf without a replica identity": {
			"alter table awa.done_entries_3 replica identity nothing", "the replica identity of awa.done_entries_3 was changed", "alter table awa.done_entries_3 replica identity default",
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, fleet.Layout{Slots: 4})
			d := e.daemon("--checkpoint-interval", "200ms")
			e.marker(true, 10*time.Second)
			k := fleet.Key{Slot: 1, Queue: "q", Priority: 1}
			e.do(false, func(tx pgx.Tx, w fleet.Writer) error { return w.Insert(t.Context(), tx, k, 7, "failed", "") })
			e.balanced(2 * time.Second)
			e.exec(c.change)
			e.ended(d, c.says)
			if c.mend != "" {
				e.marker(false, 5*time.Second)
				e.exec(c.mend)
			}
			e.do(false, func(tx pgx.Tx, w fleet.Writer) error { return w.Insert(t.Context(), tx, k, 7, "failed", "") })
			e.do(false, func(tx pgx.Tx, w fleet.Writer) error { return w.Prune(t.Context(), tx, 2) })
			e.marker(true, 20*time.Second)
			e.balanced(2 * time.Second)
		})
	}
}

// ended waits for a session to end for a reason.
func (e *env) ended(d *daemon, reason string) {
	e.t.Helper()
	end := d.logged("session failed", 10*time.Second)
	require.Contains(e.t, end["reason"], reason)
}

// The slot is not what it was when the daemon comes back: everything is scanned afresh.
func TestResumeRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		change string
		says   string
		shape  string // "": the suite's
	}{
		"slot moved by someone":              {`select pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) from pg_replication_slots where database = current_database()`, "somebody else advanced replication slot", ""},
		"slot dropped":                       {`select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database()`, "is gone", ""},
		"publication created again":          {`drop publication awa_counterd_awa`, "publication was dropped and created again", ""},
		"other cluster":                      {`update awa_counterd.checkpoint set system_identifier = '1'`, "another database cluster", ""},
		"other timeline":                     {`update awa_counterd.checkpoint set timeline = 9`, "a failover or a restore", ""},
		"tables created again":               {`drop schema awa cascade; create schema awa`, "awa's tables were dropped and created again", ""},
		"ledger's publication created again": {"drop publication " + ledgerPublication, "a publication was dropped and created again", fleet.Ledger},
		"ledger's publication altered and back": {
			"alter publication " + ledgerPublication + " set (publish = 'insert'); alter publication " + ledgerPublication + " set (publish = 'insert, truncate')",
			"a publication or a table was altered", fleet.Ledger,
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, fleet.Layout{Shape: c.shape, Slots: 4})
			k := fleet.Key{Slot: 1, Queue: "q", Priority: 1}
			d := e.daemon("--checkpoint-interval", "200ms")
			e.marker(true, 10*time.Second)
			e.do(false, func(tx pgx.Tx, w fleet.Writer) error { return w.Insert(t.Context(), tx, k, 7, "failed", "") })
			e.balanced(2 * time.Second)
			require.Zero(t, d.stop())
			e.do(false, func(tx pgx.Tx, w fleet.Writer) error { return w.Insert(t.Context(), tx, k, 9, "failed", "") })
			e.do(false, func(tx pgx.Tx, w fleet.Writer) error {
				return w.Insert(t.Context(), tx, fleet.Key{Slot: 2, Queue: "r"}, 9, "failed", "")
			})
			e.exec(c.change)
			if name == "tables created again" {
				e.exec(`drop schema fleet_log cascade`)
				e.pool.Reset() // its connections remember a type that is gone
				conn, err := server.Connect(t.Context(), e.db)
				require.NoError(t, err)
				require.NoError(t, fleet.Install(t.Context(), conn, e.layout))
				require.NoError(t, conn.Close(t.Context()))
				e.do(false, func(tx pgx.Tx, w fleet.Writer) error { return w.Insert(t.Context(), tx, k, 4, "failed", "") })
			}
			e.insertAt(1, "q", 5, true)
			d = e.daemon()
			require.Contains(t, d.logged("scanning afresh", 10*time.Second)["reason"], c.says)
			e.marker(true, 10*time.Second)
			e.balanced(2 * time.Second)
			e.noMismatch(d)
		})
	}
}

// The slot loses its WAL under the daemon: found out, said, mended.
func TestSlotLost(t *testing.T) {
	t.Parallel()
	c, err := cluster.Start(t.Context(), cluster.Options{Bin: pgBin, Settings: map[string]string{
		"max_slot_wal_keep_size": "48MB", "max_wal_size": "48MB", "min_wal_size": "32MB",
	}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	e := newEnvOn(t, c, fleet.Layout{Slots: 4})
	d := e.daemon()
	e.marker(true, 10*time.Second)
	d.signal(stopped)
	e.exec(`create table filler (t text)`)
	for range 4 {
		e.exec(`insert into filler select repeat('x', 1000) from generate_series(1, 30000)`)
		e.exec(`checkpoint`)
	}
	e.do(false, func(tx pgx.Tx, w fleet.Writer) error {
		return w.Insert(t.Context(), tx, fleet.Key{Slot: 1, Queue: "q", Priority: 1}, 7, "failed", "")
	})
	ctx, cancel := contextWithin(10 * time.Second)
	defer cancel()
	e.until(ctx, func() bool {
		return e.scalar(`select count(*) from pg_replication_slots where wal_status = 'lost'`) == 1
	},
		func() string { return "the slot is not lost" })
	require.Contains(t, e.says("status"), ", lost (it has lost its WAL), lag ")
	require.Contains(t, e.says("status", "--json"), `"lost_because": "has lost its WAL"`)
	d.signal(resumed)
	d.logged("raise max_slot_wal_keep_size if this happens again", 20*time.Second) // 17 and later have a word of their own for the rest
	e.balanced(20 * time.Second)
	e.marker(true, 20*time.Second)
}

// An idle queue in a busy database: keepalives are acknowledged, so WAL does not pile up; and the daemon's own
// writes do not feed themselves.
func TestIdleQueueInBusyDatabase(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	e.daemon("--checkpoint-interval", "300ms")
	e.marker(true, 10*time.Second)
	e.exec(`create table elsewhere (t text)`)
	for range 8 {
		e.exec(`insert into elsewhere select repeat('x', 1000) from generate_series(1, 5000)`)
		e.exec(`checkpoint`)
		e.wait(500 * time.Millisecond)
	}
	ctx, cancel := contextWithin(15 * time.Second)
	defer cancel()
	var kept int64
	e.until(ctx, func() bool {
		kept = e.scalar(`select pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint from pg_replication_slots where database = current_database()`)
		return kept < 1<<20
	}, func() string { return fmt.Sprintf("%d bytes of WAL not acknowledged", kept) })

	persists := e.scalar(`select xmin::text::bigint from awa_counterd.checkpoint`)
	before := e.scalar(`select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint`)
	e.wait(4 * time.Second)
	written := e.scalar(`select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint`) - before
	require.Equal(t, persists, e.scalar(`select xmin::text::bigint from awa_counterd.checkpoint`), "persisted though nothing happened")
	require.Less(t, written, int64(256<<10), "WAL written in 4 s beside an idle queue")
}

// SIGTERM: flush, checkpoint, marker, acknowledgement, within 10 s; the next start resumes. A second
// signal leaves at once.
func TestSignals(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	d := e.daemon()
	e.marker(true, 10*time.Second)
	e.do(false, func(tx pgx.Tx, w fleet.Writer) error {
		return w.Insert(t.Context(), tx, fleet.Key{Slot: 1, Queue: "q", Priority: 1}, 7, "failed", "")
	})
	began := time.Now()
	require.Zero(t, d.stop())
	require.Less(t, time.Since(began), 10*time.Second)
	e.balanced(0)
	e.marker(false, 0)
	e.disconnected()
	require.Contains(t, d.logged("trust: marker cleared", 0)["reason"], "the daemon stops")

	// A transaction that holds a counter row keeps the flush from ending; a second signal does not care.
	d = e.daemon("--max-staleness", "1m")
	e.marker(true, 20*time.Second)
	tx, err := e.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(t.Context()) }()
	_, err = tx.Exec(t.Context(), `select 1 from awa.queue_terminal_live_counts for update`)
	require.NoError(t, err)
	e.do(false, func(tx pgx.Tx, w fleet.Writer) error {
		return w.Insert(t.Context(), tx, fleet.Key{Slot: 1, Queue: "q", Priority: 1}, 7, "failed", "")
	})
	e.wait(300 * time.Millisecond)
	d.signal(syscall.SIGTERM)
	d.logged("stopping", 5*time.Second)
	d.signal(syscall.SIGTERM)
	require.Equal(t, 1, d.wait(2*time.Second))
}

// Making a slot waits for every writing transaction; the log says for whose. Killed while it waits,
// the daemon leaves a half-made slot behind, which the next start clears away.
func TestSlotCreationWaits(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	tx, err := e.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }() // a test that fails first would wait for it for ever
	_, err = tx.Exec(t.Context(), `create table held as select 'hunter2' as secret`)
	require.NoError(t, err)
	d := e.daemon()
	waits := d.logged("creating the replication slot: PostgreSQL waits for a transaction to end", 10*time.Second)
	require.NotZero(t, waits["pid"])
	require.NotContains(t, d.text(), "hunter2", "other users' SQL in the log")
	d.kill()
	require.EqualValues(t, 1, e.scalar(`select count(*) from pg_replication_slots where database = current_database() and confirmed_flush_lsn is null`))
	d = e.daemon()
	e.wait(time.Second)
	require.NoError(t, tx.Rollback(t.Context()))
	d.logged("marker set", 15*time.Second)
	require.Zero(t, d.stop())
}
