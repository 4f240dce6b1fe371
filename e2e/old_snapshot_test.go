package e2e

import (
	"context"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// A forgotten transaction keeps each version of each row of the database for as long as it likes. However many heartbeats that was:
// neither the condition that is part of each correction, nor the next heartbeat, nor who asks who leads, walks them all.
func TestHeartbeatsUnderAnOldSnapshot(t *testing.T) {
	t.Parallel()
	e := newEnvOn(t, ownServer(t), fleet.Layout{Slots: 4})
	src, err := pg.ParseSource(e.url())
	require.NoError(t, err)
	conn, err := src.Connect(t.Context(), pg.Settings{Role: "corrections", Indexed: true})
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	control := e.connect()
	require.NoError(t, checkpoint.Ensure(t.Context(), conn, "awa"))
	require.NoError(t, checkpoint.Claim(t.Context(), conn, "awa", checkpoint.Leader{Instance: "i"}))
	e.exec(`alter table awa_counterd.leader set (autovacuum_enabled = off)`) // else it heals what follows, within a minute
	e.exec(`vacuum analyze awa_counterd.leader`)                             // plans are made for a table of one row
	forgotten, err := e.connect().BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	require.NoError(t, err)
	_, err = forgotten.Exec(t.Context(), `select 1 from awa_counterd.leader`)
	require.NoError(t, err)
	// blocks is how many pages of our tables a session looked at.
	blocks := func(conn *pgx.Conn, do func() error) (n int64) {
		t.Helper()
		read := func() (n int64) {
			_, err := conn.Exec(t.Context(), `select pg_stat_force_next_flush()`)
			require.NoError(t, err)
			require.NoError(t, conn.QueryRow(t.Context(), `select sum(heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read)::int8
				from pg_statio_user_tables where schemaname = 'awa_counterd'`).Scan(&n))
			return n
		}
		before := read()
		require.NoError(t, do())
		return read() - before
	}
	beat := checkpoint.Heartbeat("1")
	guard := `select ` + checkpoint.Guard(1, 2)
	exec := func(sql string, args ...any) func() error {
		return func() error { _, err := conn.Exec(t.Context(), sql, args...); return err }
	}
	look := func() map[string]int64 {
		return map[string]int64{
			"a heartbeat":              blocks(conn, exec(beat, "awa", "i", "trusted", false)),
			"a correction's condition": blocks(conn, exec(guard, "awa", "i")),
			"a stamp":                  blocks(control, func() error { return checkpoint.StampHeartbeat(t.Context(), control, "awa", "i", "trusted") }),
			"who leads":                blocks(control, func() error { _, _, err := checkpoint.ReadLeader(t.Context(), control, "awa"); return err }),
		}
	}
	for range 10 { // plans are settled
		look()
	}
	first := look()
	const beats = 5000
	_, err = conn.Exec(t.Context(), `set synchronous_commit = off`)
	require.NoError(t, err)
	for i := range beats {
		_, err := conn.Exec(t.Context(), beat, "awa", "i", strconv.Itoa(i), false)
		require.NoError(t, err)
	}
	leader, known, err := checkpoint.ReadLeader(t.Context(), conn, "awa")
	require.NoError(t, err)
	require.True(t, known)
	require.Equal(t, strconv.Itoa(beats-1), leader.State)
	for what, n := range look() {
		t.Logf("%s looks at %d pages, and at %d after %d heartbeats", what, first[what], n, beats)
		require.Less(t, n, first[what]+20, what)
	}
	require.EqualValues(t, 1, e.scalar(`select count(*) from awa_counterd.leader`))
}
