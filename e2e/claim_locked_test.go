package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// A daemon has died, and somebody holds the leader's row, or its table, while the next one starts: the marker does not wait for that,
// also if somebody sets it once more.
func TestLeadersRowIsLockedAtAStart(t *testing.T) {
	t.Parallel()
	for name, lock := range map[string]string{
		"row":               `select 1 from awa_counterd.leader for update`,
		"table":             `lock table awa_counterd.leader in access exclusive mode`,
		"row of the lead":   `select 1 from awa_counterd.lead for update`,
		"table of the lead": `lock table awa_counterd.lead in access exclusive mode`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			first := e.daemon()
			e.marker(true, 30*time.Second)
			first.kill()
			tx, err := e.connect().Begin(t.Context())
			require.NoError(t, err)
			_, err = tx.Exec(t.Context(), lock)
			require.NoError(t, err)
			e.insertAt(1, "q", 7, false)
			d := e.daemon()
			e.marker(false, 5*time.Second)
			e.setMarker()
			e.marker(false, 5*time.Second)
			require.NoError(t, tx.Rollback(t.Context()))
			d.logged("leading", 20*time.Second)
			e.balanced(20 * time.Second)
			e.marker(true, 30*time.Second)
		})
	}
}
