package e2e

import (
	"testing"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// A dry run of another role leads and cannot be deposed. The daemon that would correct clears the marker; and when somebody
// (awa's rebuild, a migration, the installer) sets it once more, nobody does.
func TestMarkerSetOnceMoreBesideADryRun(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	role, reader := e.role("replication"), e.role("replication")
	for _, r := range []string{role, reader} {
		e.says("setup", "--role", r)
	}
	dry := start(t, nil, "run", "--database-url", server.URL(reader, "", e.db), "--no-setup", "--dry-run")
	dry.logged("leading", 30*time.Second)
	e.setMarker()
	e.insertAt(1, "q", 5, false)
	d := start(t, nil, "run", "--database-url", server.URL(role, "", e.db), "--no-setup")
	d.logged("a dry run leads, and its session is another role's", 30*time.Second)
	e.marker(false, 15*time.Second)
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
