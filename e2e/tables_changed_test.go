package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// What happens to a table between two looks, and is undone before the second, is noticed all the same: changes
// that no stream told of were made meanwhile.
func TestTablesChangeBetweenTwoLooks(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"detached": `alter table awa.done_entries detach partition awa.done_entries_1; delete from awa.done_entries_1;
			alter table awa.done_entries attach partition awa.done_entries_1 for values in (1)`,
		"unlogged":  `alter table awa.done_entries_1 set unlogged; delete from awa.done_entries_1; alter table awa.done_entries_1 set logged`,
		"rewritten": `alter table awa.done_entries alter column priority type int2 using 3::int2`,
		"moved": `create schema elsewhere; alter table awa.done_entries_1 set schema elsewhere; delete from elsewhere.done_entries_1;
			alter table elsewhere.done_entries_1 set schema awa`,
		// While it lasts an UPDATE that moves a row to another group comes without the row as it was.
		"identified": `create unique index odd on awa.done_entries_1 (lane_seq, enqueue_shard); alter table awa.done_entries_1 replica identity using index odd;
			update awa.done_entries_1 set queue = 'r' where lane_seq in (select lane_seq from awa.done_entries_1 where queue = 'q' limit 5);
			alter table awa.done_entries_1 replica identity default; drop index awa.odd`,
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, fleet.Layout{Slots: 4})
			d := e.daemon("--checkpoint-interval", "200ms")
			e.marker(true, 15*time.Second)
			e.insertAt(1, "q", 50, true)
			e.exec(change)
			e.balanced(10 * time.Second)
			d.logged("session failed", 5*time.Second)
			e.marker(true, 15*time.Second)
			e.insertAt(1, "q", 7, false)
			e.balanced(2 * time.Second)
			require.Zero(t, d.stop())

			e.insertAt(1, "q", 5, true)
			if name == "moved" {
				e.exec(`drop schema elsewhere`)
			}
			e.exec(change)
			d = e.daemon()
			told := "was altered"
			if name == "moved" || name == "identified" { // the stream tells
				told = "unreadable"
			}
			require.Contains(t, d.logged("scanning afresh", 10*time.Second)["reason"], told)
			e.marker(true, 15*time.Second)
			e.balanced(2 * time.Second)
			e.noMismatch(d)
		})
	}
}

// Scans go by the names of leaves. Where two swap theirs, neither is scanned for the other.
func TestLeavesSwapNames(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	d := e.daemon("--checkpoint-interval", "200ms", "--audit-interval", "1s")
	e.marker(true, 15*time.Second)
	e.insertAt(1, "q", 5, true)
	e.insertAt(2, "q", 3, false)
	e.balanced(2 * time.Second)
	e.exec(`alter table awa.done_entries_1 rename to aside; alter table awa.done_entries_2 rename to done_entries_1; alter table awa.aside rename to done_entries_2`)
	d.logged("session failed", 10*time.Second)
	e.marker(true, 20*time.Second)
	d.statuses(3)
	e.balanced(0)
	e.noMismatch(d)
	require.Zero(t, d.stop())
}

// Changes of an unlogged table are never streamed: such a table is refused at start, and ends trust while running.
func TestRefusesUnloggedTables(t *testing.T) {
	for _, table := range []string{"awa.done_entries_1", "awa.queue_terminal_count_deltas_1"} {
		t.Run(table, func(t *testing.T) {
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			logged := fmt.Sprintf("ALTER TABLE %s SET LOGGED", table)
			e.exec(fmt.Sprintf("alter table %s set unlogged", table))
			refuses(t, refused, e.url(), nil, table+" is unlogged", logged)
			_, failed := e.doctor()
			require.Contains(t, fmt.Sprint(failed), logged)
			e.exec(logged)
			d := e.daemon()
			d.logged("marker set", 15*time.Second)
			e.exec(fmt.Sprintf("alter table %s set unlogged", table))
			e.insertAt(1, "q", 7, false)
			e.ended(d, table+" is unlogged")
			e.marker(false, 5*time.Second)
			e.exec(logged)
			e.marker(true, 20*time.Second)
			e.balanced(2 * time.Second)
		})
	}
}

// A schema that is renamed takes its marker with it. It is cleared under its new name; and whoever goes on under that
// name drops the replication slot that nobody reads any more.
func TestSchemaIsRenamed(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	d := e.daemon("--checkpoint-interval", "200ms")
	e.marker(true, 15*time.Second)
	e.exec(`alter schema awa rename to "My Jobs"`)
	ctx, cancel := contextWithin(5 * time.Second)
	defer cancel()
	e.until(ctx, func() bool {
		return e.scalar(`select count(*) from "My Jobs".queue_ring_state where terminal_counter_trusted_at is null`) == 1
	}, func() string { return "the marker stands under a name that nobody knows" })
	e.exec(`alter schema "My Jobs" rename to awa`)
	e.marker(true, 20*time.Second)
	e.insertAt(1, "q", 7, false)
	e.balanced(2 * time.Second)
	e.exec(`alter schema awa rename to jobs`)
	e.layout.Schema = "jobs"
	e.marker(false, 5*time.Second)
	d.kill()
	d = e.daemon("--schema", "jobs")
	require.Contains(t, fmt.Sprint(d.logged("nobody reads any more", 15*time.Second)), "awa")
	require.Contains(t, fmt.Sprint(d.logged("removed what was stored of another awa schema", 15*time.Second)), "publications:[awa_counterd_awa")
	e.marker(true, 20*time.Second)
	require.EqualValues(t, 1, e.scalar(`select count(*) from pg_replication_slots where database = current_database()`))
	require.Zero(t, d.stop())
}

// Without --schema the daemon goes where awa goes, within seconds, and leaves nothing behind.
func TestActiveSchemaSwitches(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	conn := e.connect()
	d := e.daemon("--checkpoint-interval", "200ms")
	e.marker(true, 15*time.Second)
	e.insertAt(1, "q", 7, false)
	e.balanced(2 * time.Second)
	other := fleet.Layout{Schema: "other", Slots: 4}
	require.NoError(t, fleet.Install(t.Context(), conn, other))
	require.NoError(t, other.AutoTrust(t.Context(), conn))
	e.exec(`update awa.runtime_storage_backends set schema_name = 'other' where backend = 'queue_storage'`)
	o := *e
	o.layout.Schema = "other"
	o.do(false, func(tx pgx.Tx, w fleet.Writer) error {
		return w.Insert(t.Context(), tx, fleet.Key{Slot: 1, Queue: "q", Priority: 1}, 5, "failed", "")
	})
	o.balanced(10 * time.Second)
	o.marker(true, 20*time.Second)
	e.marker(false, 5*time.Second)
	ctx, cancel := contextWithin(10 * time.Second)
	defer cancel()
	left := func() int64 {
		return e.scalar(`select (select count(*) from pg_replication_slots where database = current_database()) +
			(select count(*) from pg_publication where pubname like 'awa_counterd_awa%') + (select count(*) from awa_counterd.leader)
			+ (select count(*) from awa_counterd.checkpoint where awa_schema <> 'other')`)
	}
	e.until(ctx, func() bool { return left() == 2 }, func() string { return fmt.Sprintf("%d things are there, not 2", left()) })
	d.logged("nobody reads any more", time.Second)
	require.Zero(t, d.stop())
}

// A replication slot with another name than before is no reason to leave the old one behind.
func TestSlotIsRenamed(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	d := e.daemon("--slot", "one_"+e.db, "--checkpoint-interval", "200ms")
	e.marker(true, 15*time.Second)
	require.Zero(t, d.stop())
	d = e.daemon("--slot", "two_"+e.db)
	require.Contains(t, fmt.Sprint(d.logged("nobody reads any more", 15*time.Second)), "one_"+e.db)
	e.marker(true, 15*time.Second)
	require.EqualValues(t, 1, e.scalar(`select count(*) from pg_replication_slots where database = current_database()`))
	require.Zero(t, d.stop())
}

// A daemon that stays with its schema falls silent, as one on a suspended machine does. Another one in the same database, which goes
// where awa goes, sweeps up after it. When it comes back it goes on, with a scan; that was no finish.
func TestSilentDaemonOfAnotherSchemaComesBack(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Slots: 4})
	other := fleet.Layout{Schema: "other", Slots: 4}
	require.NoError(t, fleet.Install(t.Context(), e.connect(), other))
	e.exec(`update awa.runtime_storage_backends set schema_name = 'awa' where backend = 'queue_storage'`)
	o := *e
	o.layout.Schema = "other"
	silent := e.daemon("--schema", "other", "--checkpoint-interval", "200ms")
	o.marker(true, 20*time.Second)
	ctx, cancel := contextWithin(20 * time.Second)
	defer cancel()
	e.checkpointed()
	silent.signal(stopped)
	t.Cleanup(func() { silent.signal(resumed) })
	e.exec(`select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'awa-counterd%' and datname = current_database()`)
	e.disconnected()
	e.exec(`update awa_counterd.leader set heartbeat_at = now() - interval '1 min'`)
	sweeper := e.daemon()
	require.Contains(t, fmt.Sprint(sweeper.logged("nobody reads any more", 20*time.Second)), "other")
	o.marker(false, 0)
	e.until(ctx, func() bool {
		return e.scalar(`select count(*) from awa_counterd.checkpoint where awa_schema = 'other'`) == 0
	}, func() string { return "its checkpoint stands" })

	silent.signal(resumed)
	o.do(false, func(tx pgx.Tx, w fleet.Writer) error {
		return w.Insert(t.Context(), tx, fleet.Key{Slot: 1, Queue: "q", Priority: 1}, 5, "failed", "")
	})
	o.balanced(20 * time.Second)
	o.marker(true, 30*time.Second)
	require.NotContains(t, silent.text(), "ending: everything that awa-counterd created")
	e.marker(true, 20*time.Second)
	for _, d := range []*daemon{silent, sweeper} {
		require.Zero(t, d.stop())
	}
}
