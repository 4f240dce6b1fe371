package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Somebody keeps a table locked that each look at awa's tables reads, or that what follows a look does; meanwhile a leaf is detached,
// emptied and attached again, of which the stream says nothing.
func TestNobodyLooks(t *testing.T) {
	t.Parallel()
	for name, lock := range map[string]string{
		"the active schema":     `lock table awa.runtime_storage_backends in access exclusive mode`,
		"what is stored of all": `lock table awa_counterd.checkpoint in access exclusive mode`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			d := e.daemon()
			e.marker(true, 30*time.Second)
			e.insertAt(1, "q", 50, true)
			tx, err := e.connect().Begin(t.Context())
			require.NoError(t, err)
			_, err = tx.Exec(t.Context(), lock)
			require.NoError(t, err)
			e.exec(`alter table awa.done_entries detach partition awa.done_entries_1; delete from awa.done_entries_1;
				alter table awa.done_entries attach partition awa.done_entries_1 for values in (1)`)
			e.lies(4*time.Second, 8*time.Second) // twice the bound
			require.NoError(t, tx.Rollback(t.Context()))
			e.balanced(20 * time.Second)
			e.marker(true, 30*time.Second)
			require.Contains(t, d.text(), "awa's tables were altered")
		})
	}
}

// One look that waits for a lock ends no trust.
func TestOneLookIsMissed(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d := e.daemon("--max-staleness", "4s")
	e.marker(true, 30*time.Second)
	for range 3 {
		tx, err := e.pool.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), `lock table awa.runtime_storage_backends in access exclusive mode`)
		require.NoError(t, err)
		e.wait(1500 * time.Millisecond)
		require.NoError(t, tx.Rollback(t.Context()))
		d.statuses(1)
	}
	e.marker(true, 0)
	require.NotContains(t, d.text(), "marker cleared")
}
