package e2e

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// honest demands that the marker is not set beside a counter that is wrong.
func (e *env) honest() {
	e.t.Helper()
	_, wrong, err := fleet.Compare(e.t.Context(), e.pool, "awa")
	require.NoError(e.t, err)
	set, err := fleet.Trusted(e.t.Context(), e.pool, "awa")
	require.NoError(e.t, err)
	e.t.Logf("marker set %t, wrong %+v", set, wrong)
	require.False(e.t, set && len(wrong) > 0, "the marker is set, nobody watches, and the counter is wrong")
}

// While reconcile watches, a client of an old release cancels one job and retries another of the same group: the sum
// stays right, two buckets do not.
func TestMarkerByBucketReconcile(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	e.insertAt(1, "q", 1, true)
	e.foldAll()
	e.insertAt(2, "q", 1, false)
	cmd := exec.Command(binary, "reconcile", "--trust", "--observe", "6s", "--database-url", e.url())
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = null`)
	require.NoError(t, cmd.Start())
	e.balanced(30 * time.Second) // it has corrected what there was, and watches
	e.wait(time.Second)
	e.insertAt(1, "q", 1, false)
	e.exec(`delete from awa.done_entries where job_id = (select min(job_id) from awa.done_entries)`)
	require.Error(t, cmd.Wait(), "somebody writes uncounted, and readers are told to use the counters")
	e.marker(false, 0)
	e.do(true, func(tx pgx.Tx, w fleet.Writer) error { _, err := w.Delete(t.Context(), tx, "q", 1); return err })
	e.foldAll()
	e.honest()
}

// An old pod's migrate() has put back the function behind DELETE FROM awa.jobs that does not count; the last of them has
// gone. finish finds nobody who writes uncounted, and sets the marker for good; the next DELETE, by anybody, is.
// Tables and function are awa's own.
func TestMarkerAfterAnOldMigrate(t *testing.T) {
	t.Parallel()
	for _, last := range []string{"finish", "reconcile"} {
		t.Run(last, func(t *testing.T) {
			t.Parallel()
			e, awas := newAwa(t)
			migrate := func(release string) {
				out, err := awas(release, "migrate")
				require.NoError(t, err, out)
			}
			migrate("0.6.9")
			e.exec(`select awa.storage_auto_finalize_if_fresh('awa')`)
			e.exec(`update awa.queue_ring_slots set generation = 1 where slot = 1`)
			e.exec(fiveCounted, 1)
			migrate("0.6.0b1")
			t.Logf("version %d", e.scalar(`select max(version) from awa.schema_version`))
			end := func() (int, string) {
				if last == "finish" {
					d := e.daemon("--checkpoint-interval", "200ms")
					d.logged("marker set", 60*time.Second) // awa's migration had set it as well
					defer d.kill()
					code, out, errs := e.command("finish", "--quiet-period", "1s", "--timeout", "8s")
					return code, out + errs
				}
				code, out, errs := e.command("reconcile", "--trust", "--observe", "1s")
				return code, out + errs
			}
			code, out := end()
			t.Logf("%s: exit code %d: %s", last, code, out)
			if code == 0 { // as it was
				e.exec(`delete from awa.jobs where id = 3`)
				require.EqualValues(t, 4, e.scalar(`select count(*) from awa.done_entries`))
				e.honest()
			}
			require.Contains(t, out, "delete_job_compat")
			migrate("0.6.9")
			code, out = end()
			require.Zero(t, code, out)
			e.exec(`delete from awa.jobs where id = 3`)
			require.EqualValues(t, 4, e.scalar(`select count(*) from awa.done_entries`))
			e.honest()
			e.balanced(0)
		})
	}
}
