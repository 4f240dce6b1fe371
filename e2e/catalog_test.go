package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// DETACH … CONCURRENTLY commits twice. Where it is given up in between, the leaf is in pg_inherits as before, and no reader of
// the parent sees its rows.
func TestPartitionIsHalfDetached(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	d := e.daemon("--checkpoint-interval", "200ms")
	e.marker(true, 15*time.Second)
	e.insertAt(1, "q", 7, false)
	e.insertAt(3, "q", 5, false)
	e.balanced(2 * time.Second)

	reader, err := e.pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	require.NoError(t, err)
	defer func() { _ = reader.Rollback(context.Background()) }()
	_, err = reader.Exec(t.Context(), `select count(*) from awa.done_entries`)
	require.NoError(t, err)
	conn, err := server.Connect(t.Context(), e.db)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	_, err = conn.Exec(t.Context(), `set lock_timeout = '500ms'`)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `alter table awa.done_entries detach partition awa.done_entries_3 concurrently`)
	require.ErrorContains(t, err, "lock timeout")
	require.EqualValues(t, 1, e.scalar(`select count(*) from pg_inherits where inhdetachpending`))
	require.NoError(t, reader.Rollback(t.Context()))

	d.logged("session failed", 10*time.Second)
	e.marker(false, 5*time.Second)
	e.exec(`alter table awa.done_entries detach partition awa.done_entries_3 finalize; alter table awa.done_entries attach partition awa.done_entries_3 for values in (3)`)
	e.marker(true, 20*time.Second)
	e.insertAt(3, "q", 7, false)
	e.balanced(2 * time.Second)
	require.Zero(t, d.stop())
}

// A publication may send some columns only, and a constraint may keep corrections out. The session ends, trust with it, and both
// come back when that is mended.
func TestCatalogKeepsSomethingFromUs(t *testing.T) {
	for name, c := range map[string]struct{ change, says, mend string }{
		"a column list": {
			`alter publication awa_counterd_awa drop table awa.queue_ring_state; alter publication awa_counterd_awa add table awa.queue_ring_state (singleton)`,
			"does a column list leave it out",
			`alter publication awa_counterd_awa drop table awa.queue_ring_state; alter publication awa_counterd_awa add table awa.queue_ring_state`,
		},
		"a constraint": {
			`alter table awa.queue_terminal_live_counts add constraint never check (live_terminal_count < 0) not valid`,
			`violates check constraint`,
			`alter table awa.queue_terminal_live_counts drop constraint never`,
		},
		"a key": {
			`alter table awa.queue_terminal_live_counts drop constraint queue_terminal_live_counts_pkey`,
			"",
			`do $$ begin execute (select format('alter table awa.queue_terminal_live_counts add primary key (ready_slot, queue, priority, enqueue_shard%s)',
				(select ', ' || attname from pg_attribute where attrelid = 'awa.queue_terminal_live_counts'::regclass and attname = 'counter_bucket'))); end $$`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, fleet.Layout{Slots: 4})
			if name == "a column list" && e.scalar(`select current_setting('server_version_num')::int8`) < 150000 {
				t.Skip("this server has no column lists")
			}
			d := e.daemon("--checkpoint-interval", "200ms")
			e.marker(true, 15*time.Second)
			e.insertAt(1, "q", 7, false)
			e.balanced(2 * time.Second)
			e.exec(c.change)
			e.insertAt(1, "q", 7, false)
			d.logged("session failed", 10*time.Second)
			e.marker(false, 5*time.Second)
			if c.says != "" {
				d.logged(c.says, 10*time.Second)
			}
			e.exec(c.mend)
			e.marker(true, 20*time.Second)
			e.insertAt(1, "q", 7, false)
			e.balanced(2 * time.Second)
			require.Zero(t, d.stop())
		})
	}
}
