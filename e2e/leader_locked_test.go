package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Somebody's transaction holds the leader's row, or its table, on which every statement of the leader's waits; and an old binary
// writes.
func TestLeadersRowIsLocked(t *testing.T) {
	for name, lock := range map[string]string{
		"row":               `select 1 from awa_counterd.leader for update`,
		"table":             `lock table awa_counterd.leader in access exclusive mode`,
		"row of the lead":   `select 1 from awa_counterd.lead for update`,
		"table of the lead": `lock table awa_counterd.lead in access exclusive mode`,
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			e.daemon()
			e.marker(true, 30*time.Second)
			tx, err := e.connect().Begin(t.Context())
			require.NoError(t, err)
			_, err = tx.Exec(t.Context(), lock)
			require.NoError(t, err)
			e.insertAt(1, "q", 7, false)
			e.lies(4*time.Second, 12*time.Second) // twice the bound
			require.NoError(t, tx.Rollback(t.Context()))
		})
	}
}
