package e2e

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
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
	d.logged("creating the replication slot: PostgreSQL waits", 40*time.Second)
	other := e.daemon()
	other.logged("standing by", 20*time.Second)
	e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = now()`)
	e.insertAt(1, "q", 5, false)
	began := time.Now()
	defer func() { t.Logf("looked for %s", time.Since(began)) }()
	e.marker(false, 15*time.Second)
}

// Something keeps sessions from beginning, until a person mends it. Each of them clears a marker that somebody has set.
func TestMarkerSetWhileSessionsAreRefused(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	role := e.role("superuser")
	d := start(t, nil, "run", "--database-url", server.URL(role, "", e.db))
	d.logged("marker set", 40*time.Second)
	e.exec(`create role other_owner; alter schema awa_counterd owner to other_owner`) // refused, as somebody else's
	defer e.exec(`alter schema awa_counterd owner to current_user; drop role other_owner`)
	e.exec(`select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'awa-counterd%' and datname = current_database()`)
	d.logged("session failed", 20*time.Second)
	e.wait(10 * time.Second) // until the pauses are longest
	for range 3 {
		e.setMarker()
		e.insertAt(1, "q", 5, false)
		e.marker(false, 4*time.Second) // twice the bound
	}
}

// A dry run of another role leads and cannot be deposed. The daemon that would correct clears the marker; and when somebody
// (awa's rebuild, a migration, the installer) sets it once more, nobody does.
func TestMarkerSetOnceMoreBesideADryRun(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	e.besideADryRun()
	e.setMarker()
	e.marker(false, 15*time.Second)
}

// The same beside a leader that hangs and is another role's.
func TestMarkerSetOnceMoreBesideAHungLeader(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	role := e.role("replication")
	e.says("setup", "--role", role)
	lead := start(t, nil, "run", "--database-url", server.URL(cluster.Superuser, "", e.db))
	lead.logged("marker set", 40*time.Second)
	d := start(t, nil, "run", "--database-url", server.URL(role, "", e.db), "--no-setup")
	d.logged("standing by", 30*time.Second)
	lead.signal(stopped)
	defer lead.signal(resumed)
	e.marker(false, 30*time.Second)
	e.wait(20 * time.Second)
	e.setMarker()
	e.insertAt(1, "q", 5, false)
	e.marker(false, 15*time.Second)
}

// awa's migration has set the marker, old binaries write. reconcile --trust finds out, and says that the marker was not
// set; it is.
func TestMarkerSetOnceMoreReconcileRefuses(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = now()`)
	cmd := exec.Command(binary, "reconcile", "--trust", "--observe", "5s", "--database-url", e.url())
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	e.insertAt(2, "q", 1, false)
	require.NoError(t, cmd.Start())
	e.balanced(30 * time.Second) // it has corrected what there was, and watches
	e.wait(time.Second)
	e.insertAt(1, "q", 3, false)
	require.Error(t, cmd.Wait())
	e.honest()
}
