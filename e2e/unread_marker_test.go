package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// The role may still write the marker, and not read it any more: it is cleared all the same, by who runs and by who starts.
func TestMarkerMayNotBeRead(t *testing.T) {
	t.Parallel()
	for name, breaks := range map[string]string{
		"right":  `revoke select on awa.queue_ring_state from %s`,
		"policy": `alter table awa.queue_ring_state enable row level security; create policy p on awa.queue_ring_state to %s using (true)`,
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			role := e.role("replication")
			e.says("setup", "--role", role)
			d := start(t, nil, "run", "--database-url", server.URL(role, "", e.db), "--no-setup")
			d.logged("marker set", 40*time.Second)
			e.exec(fmt.Sprintf(breaks, role))
			e.insertAt(1, "q", 7, false)
			e.lies(4*time.Second, 8*time.Second) // twice the bound
			d.kill()
			e.setMarker()
			start(t, nil, "run", "--database-url", server.URL(role, "", e.db), "--no-setup")
			e.marker(false, 10*time.Second)
			require.Positive(t, e.scalar(`select count(*) from awa.queue_ring_state`))
		})
	}
}
