package e2e

import (
	"testing"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// The server's clock was set back, and the leader hangs: a standby must not wait until the clock has caught up with the last heartbeat.
func TestHeartbeatThatIsYetToCome(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	lead := e.daemon()
	e.marker(true, 30*time.Second)
	e.daemon().logged("standing by", 20*time.Second)
	lead.signal(stopped)
	defer lead.signal(resumed)
	e.exec(`update awa_counterd.leader set heartbeat_at = clock_timestamp() + interval '1 hour'`)
	e.insertAt(1, "q", 7, false)
	e.lies(7*time.Second, 15*time.Second)
}
