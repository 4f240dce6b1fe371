package e2e

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// What a daemon that has gone left in its own bucket is a trap (docs/design.md §12, Leaving). --check, which somebody may run every night,
// finds it before somebody sets the marker over it; beside a daemon that bucket is in use.
func TestCheckFindsWhatADaemonLeft(t *testing.T) {
	t.Parallel()
	for _, shape := range []string{fleet.Ledger, fleet.Striped} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: shape, Slots: 4})
			role := e.role("")
			e.exec(fmt.Sprintf(`grant usage on schema awa to %[1]s; grant select on all tables in schema awa to %[1]s`, role))
			for slot := range e.layout.Slots {
				e.exec(fmt.Sprintf(`revoke select on awa.done_entries_%[1]d from %[2]s; grant select (ready_slot, queue, priority, enqueue_shard) on awa.done_entries_%[1]d to %[2]s`, slot, role))
			}
			check := func(want int) (found struct {
				Rows   int      `json:"counter_rows_misplaced"`
				Queues []string `json:"queues_misplaced"`
			},
			) {
				code, out, errs := e.command("reconcile", "--check", "--json")
				require.Equal(t, want, code, out+errs)
				require.NoError(t, json.Unmarshal([]byte(out), &found))
				return found
			}
			d := e.daemon("--checkpoint-interval", "200ms")
			e.marker(true, 30*time.Second)
			e.insertAt(1, "q", 10, false)
			e.balanced(5 * time.Second)
			require.Zero(t, check(0).Rows, "its daemon lives")
			code, out, errs := e.commandOn(e.server.URL(role, "", e.db), "reconcile", "--check")
			require.Zero(t, code, "beside a daemon sums are enough: %s", out+errs)
			require.Zero(t, d.stop())

			require.Zero(t, check(0).Rows, "a daemon goes on from what it left, and readers do not use it")
			e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = now()`) // awa's installer, a migration, a person
			found := check(3)
			require.Equal(t, 11, found.Rows, "ten of awa's, and ours")
			require.Equal(t, []string{"q"}, found.Queues)
			code, out, errs = e.commandOn(e.server.URL(role, "", e.db), "reconcile", "--check")
			require.Equal(t, refused, code, out+errs)
			require.Contains(t, errs, "GRANT SELECT (job_id) ON awa.done_entries_0")
			d = e.daemon("--dry-run")
			d.logged("leading", 20*time.Second)
			require.Equal(t, 11, check(3).Rows, "nobody who leads works with that bucket")
			require.Zero(t, d.stop())
			e.says("teardown")
			e.marker(false, 0)
			require.Equal(t, 11, check(3).Rows, "nobody goes on from there")
			e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = now()`)
			code, out, errs = e.command("reconcile", "--check")
			require.Equal(t, 3, code, out+errs)
			require.Contains(t, out, "wrong: 0\ncounter rows that are right as a sum only, and not what awa itself would hold: 11, on queue q\n")
			require.Contains(t, out, "next: run awa-counterd reconcile to move what stands in other counter rows than awa's own")
			require.Contains(t, errs, "11 counter rows are not what awa itself would hold")

			require.Contains(t, e.says("reconcile"), "counter rows moved that were right as a sum only: 11\n")
			require.Zero(t, check(0).Rows)
			e.do(true, func(tx pgx.Tx, w fleet.Writer) error { _, err := w.Delete(t.Context(), tx, "q", 3); return err })
			if shape == fleet.Ledger {
				e.foldAll()
			}
			e.balanced(0)
			require.Zero(t, check(0).Rows)
		})
	}
}

// A deployment restarts the daemon, and somebody's nightly --check comes in between: nothing is wrong. Readers scan, and the next daemon goes
// on from the checkpoint, of whatever build it is. A role that may not look whether there is one does not say that something is wrong either.
func TestCheckWhileADaemonIsRestarted(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	role := e.role("")
	e.exec(fmt.Sprintf(`grant usage on schema awa to %[1]s; grant select on all tables in schema awa to %[1]s`, role))
	d := e.daemon("--checkpoint-interval", "200ms")
	e.marker(true, 30*time.Second)
	e.insertAt(1, "q", 5, false)
	e.balanced(5 * time.Second)
	require.Zero(t, d.stop())
	for _, sql := range []string{`select`, `alter table awa_counterd.books rename column counts to tallies`} {
		e.exec(sql)
		for _, url := range []string{e.url(), e.server.URL(role, "", e.db)} {
			code, out, errs := e.commandOn(url, "reconcile", "--check")
			require.Zero(t, code, "%s: %s", sql, out+errs)
		}
	}
}
