package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// control is a session by which a daemon leads.
func (e *env) control() *pgx.Conn {
	e.t.Helper()
	src, err := pg.ParseSource(e.server.Socket(e.db))
	require.NoError(e.t, err)
	conn, err := src.Connect(e.t.Context(), pg.Settings{Role: pg.ControlRole})
	require.NoError(e.t, err)
	e.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// The row of a leader that hung, or only followed, is no reason to end the session of who has just taken the lock from it: that one
// may have stood by for days, and has not claimed the lead yet. The session of the leader itself is ended; so is one that took the
// lock and hangs before its claim.
func TestDeposeSparesWhoHasJustTakenTheLock(t *testing.T) {
	t.Parallel() // it waits for a lead to count as hung
	for name, old := range map[string]checkpoint.Leader{
		"hung":    {Instance: "old", Bound: time.Second},
		"dry run": {Instance: "old", Bound: time.Second, DryRun: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Slots: 4})
			next, leads := e.control(), e.control() // next stood by before the leader gave its last sign of life
			require.NoError(t, checkpoint.Ensure(t.Context(), leads, "awa"))
			takes := func(c *pgx.Conn) { // who was deposed lets go a moment later
				t.Helper()
				ctx, cancel := contextWithin(10 * time.Second)
				defer cancel()
				e.until(ctx, func() bool {
					got, err := checkpoint.TryLead(t.Context(), c, "awa")
					require.NoError(t, err)
					return got
				}, func() string { return "the leader lock is not free" })
			}
			depose := func(instance string) bool {
				t.Helper()
				did, err := checkpoint.Depose(t.Context(), e.pool, "awa", instance)
				require.NoError(t, err)
				return did
			}
			takes(leads)
			require.NoError(t, checkpoint.Claim(t.Context(), leads, "awa", old))
			require.Equal(t, old.DryRun, depose("another"), "it has just given a sign of life")
			if !old.DryRun {
				e.exec(`update awa_counterd.leader set heartbeat_at = now() - interval '1 min'`)
				require.True(t, depose("another"))
			}
			require.Error(t, leads.Ping(t.Context()))

			takes(next)
			require.False(t, depose("another"), "the row is not about who has the lock")
			require.False(t, depose("old"), "nor when it is one's own")
			require.NoError(t, next.Ping(t.Context()))
			ctx, cancel := contextWithin(25 * time.Second)
			defer cancel()
			began := time.Now()
			e.until(ctx, func() bool { return depose("another") }, func() string { return "who hangs before its claim keeps the lock for ever" })
			require.Greater(t, time.Since(began), 14*time.Second)
		})
	}
}
