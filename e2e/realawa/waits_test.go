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
	c, err := cluster.Start(t.Context(), cluster.Options{Bin: bin, Settings: map[string]string{
		"log_line_prefix": linePrefix, "log_timezone": "UTC",
	}})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	connect := func(name string) *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), c.Socket(database)+" application_name='"+name+"'")
		require.NoError(t, err)
		return conn
	}
	ours, theirs, observer := connect("awa-counterd scan"), connect("new-first"), connect(testers+" waits")
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
	require.Equal(t, s.pinned, s.others, "nobody else had a snapshot")

	// A prune gives up after 10 ms: looks may miss that, the server's log does not.
	logged, err := logStatements(c.URL(cluster.Superuser, "", database))
	require.NoError(t, err)
	scan, err := pgx.Connect(t.Context(), logged+"&application_name=awa-counterd%20scan")
	require.NoError(t, err)
	defer func() { _ = scan.Close(context.Background()) }()
	_, err = theirs.Exec(t.Context(), `set lock_timeout = '10ms'`)
	require.NoError(t, err)
	prunes := func() {
		for range 20 {
			_, err := theirs.Exec(t.Context(), `select; lock table done_entries_0 in access exclusive mode`)
			require.ErrorContains(t, err, "lock timeout")
		}
	}
	for _, sql := range []string{`begin`, `select * from done_entries_0`} {
		_, err = scan.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	prunes()
	_, err = scan.Exec(t.Context(), `commit`)
	require.NoError(t, err)
	text := c.Log()
	require.Equal(t, 20, behind(nil, statements(text, ourSessions), readLog(text), 10*time.Millisecond), "all but the one of before, of which looks know")
	look := connect(testers + " look")
	again := connect(testers + " waits") // the end of its looks may have closed the other one
	defer func() { _, _ = look.Close(context.Background()), again.Close(context.Background()) }()
	for _, sql := range []string{`begin isolation level repeatable read`, `select * from done_entries_0`} {
		_, err = look.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	prunes()
	text = c.Log()
	require.InDelta(t, 20, behind(nil, statements(text, ourSessions), readLog(text), 10*time.Millisecond), 1, "behind somebody else, the first of them right after us")

	// A session of the test's own with a snapshot keeps nobody from anything that is judged.
	ctx, stop = context.WithTimeout(t.Context(), time.Second)
	defer stop()
	s = waits(ctx, again)
	require.Positive(t, s.looks)
	require.Equal(t, s.looks, s.horizon)
	require.Zero(t, s.others)
}
