package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// While reconcile --trust looks at one slot, an old binary writes to another one that it has looked at: the marker must not stand.
func TestTrustLooksAgainBehindItself(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Direct, Slots: 4})
	e.insertAt(0, "q", 3, false)
	over := make(chan string, 1)
	go func() {
		code, out, errs := e.command("reconcile", "--trust", "--observe", "12s")
		over <- fmt.Sprint(code, out, errs)
	}()
	e.balanced(20 * time.Second)
	e.wait(5 * time.Second) // it has looked once more, and watches
	tx, err := e.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `lock table awa.done_entries_3 in access exclusive mode`)
	require.NoError(t, err)
	ctx, cancel := contextWithin(30 * time.Second)
	defer cancel()
	e.until(ctx, func() bool {
		return e.scalar(`select count(*) from pg_stat_activity
			where datname = current_database() and application_name = 'awa-counterd scan' and wait_event_type = 'Lock'`) > 0
	}, func() string { return "the look did not come" })
	e.insertAt(0, "q", 7, false)
	require.NoError(t, tx.Rollback(t.Context()))
	said := <-over
	t.Log(said)
	e.honest()
	require.Contains(t, said, "new drift was found behind the last look, on queue q")
}
