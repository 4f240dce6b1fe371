package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// A publication is made while somebody locks its tables in an order of his own. He gets what he asks for, and no
// deadlock has to be broken.
func TestPublishingIsInNoDeadlock(t *testing.T) {
	for _, how := range []string{"run", "setup"} {
		t.Run(how, func(t *testing.T) {
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			tx, err := e.pool.Begin(t.Context())
			require.NoError(t, err)
			defer func() { _ = tx.Rollback(t.Context()) }()
			lock := func(table string) {
				_, err := tx.Exec(t.Context(), "lock table awa."+table+" in share mode")
				require.NoError(t, err)
			}
			_, err = tx.Exec(t.Context(), "set local deadlock_timeout = '100s'") // it is for us to give way
			require.NoError(t, err)
			lock("queue_terminal_live_counts")
			within, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			ended := make(chan int, 1)
			if how == "run" {
				e.daemon()
			} else {
				go func() {
					code, _, errs := e.command("setup")
					t.Log(errs)
					ended <- code
				}()
			}
			e.until(within, func() bool {
				return e.scalar(`select count(*) from pg_stat_activity where application_name like 'awa-counterd%' and wait_event_type = 'Lock'
					and query like '%PUBLICATION%'`) > 0
			}, func() string { return "nothing waits for a lock" })
			lock("done_entries")
			e.wait(1500 * time.Millisecond) // of the server's: longer than its deadlock_timeout
			require.NoError(t, tx.Commit(t.Context()))
			if how == "run" {
				e.do(false, func(tx pgx.Tx, w fleet.Writer) error {
					return w.Insert(t.Context(), tx, fleet.Key{Slot: 1, Queue: "q", Priority: 1}, 40, "failed", "")
				})
				e.balanced(30 * time.Second)
				e.marker(true, 30*time.Second)
			} else {
				require.Zero(t, <-ended)
			}
			require.Empty(t, deadlocks(e.server.Log()))
		})
	}
}
