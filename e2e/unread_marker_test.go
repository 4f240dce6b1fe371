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

// So is it by the command, by a standby in the place of a leader that hangs, and by the daemon of another schema.
func TestOthersClearWhatTheyMayNotRead(t *testing.T) {
	t.Parallel()
	for name, breaks := range map[string]string{
		"right":  `revoke select on %[2]s.queue_ring_state from %[1]s`,
		"policy": `alter table %[2]s.queue_ring_state enable row level security; create policy p on %[2]s.queue_ring_state to %[1]s using (true)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			role := e.role("replication")
			e.says("setup", "--role", role)
			url := server.URL(role, "", e.db)
			leader := start(t, nil, "run", "--database-url", url, "--no-setup")
			leader.logged("marker set", 40*time.Second)
			standby := start(t, nil, "run", "--database-url", url, "--no-setup")
			standby.logged("standing by", 20*time.Second)
			leader.signal(stopped)
			e.exec(fmt.Sprintf(breaks, role, "awa"))
			e.marker(false, 12*time.Second)
			standby.kill()
			leader.kill()
			e.setMarker()
			code, out, errs := e.commandOn(url, "distrust")
			require.Zero(t, code, out+errs)
			e.marker(false, 0)
		})
	}
}

// The daemon moves with awa to another schema: its role may write the marker of the old one, and not read it any more.
func TestOrphansMarkerMayNotBeRead(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	require.NoError(t, fleet.Install(t.Context(), e.connect(), fleet.Layout{Schema: "other", Slots: 4, Shape: fleet.Ledger}))
	e.exec(`update awa.runtime_storage_backends set schema_name = 'awa' where backend = 'queue_storage'`)
	role := e.role("replication")
	for _, schema := range []string{"awa", "other"} {
		e.says("setup", "--schema", schema, "--role", role)
	}
	d := start(t, nil, "run", "--database-url", server.URL(role, "", e.db), "--no-setup", "--checkpoint-interval", "200ms")
	e.marker(true, 40*time.Second)
	e.insertAt(1, "q", 7, false)
	e.balanced(10 * time.Second)
	d.kill()
	e.disconnected()
	e.exec(`revoke select on awa.queue_ring_state from ` + role)
	e.exec(`update awa_counterd.leader set heartbeat_at = now() - interval '1 min';
		update awa.runtime_storage_backends set schema_name = 'other' where backend = 'queue_storage'`)
	d = start(t, nil, "run", "--database-url", server.URL(role, "", e.db), "--no-setup")
	d.logged("leading", 30*time.Second)
	e.marker(false, 15*time.Second)
}
