package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Making the replication slot waits for a transaction of somebody's, for hours perhaps. Meanwhile awa's rebuild (or
// migration, or installer) sets the marker, and an old binary writes. Nobody clears it: the daemon waits, and
// a standby finds its heartbeat fresh.
func TestMarkerSetWhileTheSlotIsMade(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	tx, err := e.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(t.Context(), `select pg_current_xact_id()`)
	require.NoError(t, err)
	d := e.daemon()
	d.logged("making the slot waits", 40*time.Second)
	other := e.daemon()
	other.logged("standing by", 20*time.Second)
	e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = now()`)
	e.insertAt(1, "q", 5, false)
	began := time.Now()
	defer func() { t.Logf("looked for %s", time.Since(began)) }()
	e.marker(false, 15*time.Second)
}
