package main

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
)

// A look that sees nobody wait proves something only if it would have seen one.
func TestWaitsSeesWhoIsBlockedByUs(t *testing.T) {
	bin, err := cluster.Obtain(t.Context(), os.Stderr)
	require.NoError(t, err)
	c, err := cluster.Start(t.Context(), cluster.Options{Bin: bin})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	connect := func(name string) *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), c.Socket(database)+" application_name='"+name+"'")
		require.NoError(t, err)
		return conn
	}
	ours, theirs, observer := connect("awa-counterd scan"), connect("new-first"), connect("")
	defer func() {
		for _, conn := range []*pgx.Conn{ours, theirs, observer} {
			_ = conn.Close(context.Background())
		}
	}()
	for _, sql := range []string{`create table done_entries_0 (n int)`, `begin isolation level repeatable read`, `select * from done_entries_0`} {
		_, err = ours.Exec(t.Context(), sql)
		require.NoError(t, err)
	}

	ctx, stop := context.WithCancel(t.Context())
	seen := make(chan stakeout)
	go func() { seen <- waits(ctx, observer) }()
	_, err = theirs.Exec(t.Context(), `set lock_timeout = '200ms'; lock table done_entries_0 in access exclusive mode`)
	require.Error(t, err)
	_, err = ours.Exec(t.Context(), `rollback`)
	require.NoError(t, err)
	require.NoError(t, pause(t.Context(), 50*time.Millisecond))
	stop()
	s := <-seen
	require.NotEmpty(t, s.blocked)
	require.Equal(t, "new-first", s.blocked[0].who)
	require.Positive(t, s.pinned)
	require.Less(t, s.pinned, s.looks)
}
