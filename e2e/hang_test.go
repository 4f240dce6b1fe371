package e2e

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// The connection that the marker is written on hangs, and no other: the heartbeat goes on, so no standby would help. The
// marker is cleared all the same, soon after the drift has become too old.
func TestMarkerConnectionHangs(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	d := e.daemon("--checkpoint-interval", "200ms")
	e.marker(true, 15*time.Second)
	e.insertAt(1, "q", 5, true)
	e.balanced(2 * time.Second)
	pid := int(e.scalar(`select pid from pg_stat_activity where datname = current_database() and application_name = 'awa-counterd marker'`))
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	tx, err := e.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(t.Context(), `select 1 from awa.queue_terminal_live_counts for update`)
	require.NoError(t, err)
	e.insertAt(1, "q", 3, false)
	e.marker(false, 5*time.Second) // the bound is 2 s
	d.logged("session failed", 10*time.Second)
	require.NoError(t, tx.Rollback(t.Context()))
	require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
	e.balanced(10 * time.Second)
	e.marker(true, 20*time.Second)
	require.Zero(t, d.stop())
}
