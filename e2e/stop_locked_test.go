package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// A daemon is asked to stop while somebody holds the marker's row for longer than a stop may take. It says that it leaves the marker
// set, and ends as one that could not do it; the unit's hook waits for the row.
func TestStopsWhileTheMarkerIsLocked(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d := e.daemon()
	e.marker(true, 30*time.Second)
	tx, err := e.connect().Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `select 1 from awa.queue_ring_state for update`)
	require.NoError(t, err)
	d.signal(syscall.SIGTERM)
	require.Equal(t, couldNot, d.wait(12*time.Second))
	e.marker(true, 0)
	require.Contains(t, d.text(), "awa-counterd distrust")
	hook := make(chan struct{})
	go func() {
		defer close(hook)
		e.postStop()
	}()
	e.wait(3 * time.Second)
	select {
	case <-hook:
		require.Fail(t, "the hook did not wait for the row")
	default:
	}
	require.NoError(t, tx.Rollback(t.Context()))
	<-hook
	e.marker(false, 0)
}

// A daemon is asked to stop between two sessions, of which the first lost its connections and could clear nothing: it makes one for that.
func TestStopsBetweenSessions(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d := e.daemon()
	e.marker(true, 30*time.Second)
	e.exec(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like 'awa-counterd%'`)
	d.logged("session failed", 10*time.Second)
	require.Zero(t, d.stop(), d.text())
	e.marker(false, 0)
}
