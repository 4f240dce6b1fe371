package e2e

import (
	"context"
	"errors"
	"os/exec"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/wheels"
)

// Inserts of five jobs each into the tables that awa's own migrations made, as its workers do them: the first as a release that counts.
const (
	fiveUncounted = `insert into awa.done_entries (ready_slot, ready_generation, job_id, kind, queue, state, priority, lane_seq, args, payload)
		select 1, 1, n, 'k', 'q', 'failed', 1, n, '{}', '{}' from generate_series($1::bigint, $1 + 4) n`
	fiveCounted = `with new as (` + fiveUncounted + ` returning job_id)
		insert into awa.queue_terminal_count_deltas (ready_slot, ready_generation, queue, priority, enqueue_shard, counter_bucket, terminal_delta)
		select 1, 1, 'q', 1, 0, job_id % 256, 1 from new`
)

// newAwa is a database with awa's own tables, and awa's command: a published release, which is skipped where it is not installed.
func newAwa(t *testing.T) (e *env, awas func(release string, args ...string) (string, error)) {
	t.Helper()
	dir, err := wheels.Default()
	require.NoError(t, err)
	e = newDatabase(t, server)
	e.layout = fleet.Layout{Shape: fleet.Ledger, Slots: 16, Schema: "awa"}
	return e, func(release string, args ...string) (string, error) {
		if !dir.Has(release) {
			t.Skipf("SKIPPED: awa %s is not installed in %s (AWA_VENVS)", release, dir)
		}
		args = append([]string{"--database-url", server.URL(cluster.Superuser, "", e.db)}, args...)
		out, err := exec.CommandContext(t.Context(), dir.CLI(release), args...).CombinedOutput()
		return string(out), err
	}
}

// counters are awa's counter rows that count something.
func (e *env) counters() (rows []string) {
	e.t.Helper()
	found, err := e.pool.Query(e.t.Context(), `select x::text from awa.queue_terminal_live_counts x where live_terminal_count <> 0 order by 1`)
	require.NoError(e.t, err)
	rows, err = pgx.CollectRows(found, pgx.RowTo[string])
	require.NoError(e.t, err)
	return rows
}

// bothKinds has somebody insert jobs, counted and uncounted in turns, and delete one of each five, until rest is called: it says how
// many inserts there were. With awa's rebuild they deadlock now and then, which is meant for a fleet that stands still.
func (e *env) bothKinds() (rest func() int64) {
	ctx, end := context.WithCancel(e.t.Context())
	done := make(chan int64, 1)
	do := func(sql string, first int64) bool {
		for {
			_, err := e.pool.Exec(context.WithoutCancel(ctx), sql, first)
			if pg, ok := errors.AsType[*pgconn.PgError](err); !ok || pg.Code != "40P01" {
				return assert.NoError(e.t, err)
			}
		}
	}
	go func() {
		n := int64(0)
		for ctx.Err() == nil && do([]string{fiveUncounted, fiveCounted}[n%2], 1+5*n) && do(`delete from awa.done_entries where job_id = $1`, 1+5*n) {
			n++
		}
		done <- n
	}()
	return func() int64 { end(); return <-done }
}

// awa's own rebuild, time and again beside writers of both kinds and a daemon: the books follow its truncates, and go on being
// right. What finish leaves is to the row what a rebuild would.
func TestAwasOwnRebuild(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"0.6.0b2", "0.6.9"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			e, awas := newAwa(t)
			out, err := awas(release, "migrate")
			require.NoError(t, err, out)
			e.exec(`select awa.storage_auto_finalize_if_fresh('awa')`)
			e.exec(`update awa.queue_ring_slots set generation = 1 where slot = 1`)
			d := e.daemon("--checkpoint-interval", "200ms")
			d.logged("marker set", 15*time.Second) // awa's migration had set it as well

			rest := e.bothKinds()
			for rebuilt := 0; rebuilt < 5; {
				out, err := awas(release, "storage", "rebuild-terminal-counters")
				if err == nil {
					rebuilt++
				} else {
					require.Contains(t, out, "deadlock detected")
				}
			}
			inserts := rest()
			require.Greater(t, inserts, int64(5))
			e.balanced(5 * time.Second)
			e.marker(true, 15*time.Second)
			require.Equal(t, 4*inserts, e.scalar(`select count(*) from awa.done_entries`))
			e.noMismatch(d)
			require.Empty(t, deadlocks(e.server.Log()), "a session of the daemon was in a deadlock")

			code, out, errs := e.command("finish", "--quiet-period", "1s", "--timeout", "20s")
			require.Zero(t, code, out+errs)
			require.Zero(t, d.wait(10*time.Second))
			e.exec(`with gone as (delete from awa.queue_terminal_count_deltas returning *)
				insert into awa.queue_terminal_live_counts as x (ready_slot, queue, priority, enqueue_shard, counter_bucket, live_terminal_count)
				select ready_slot, queue, priority, enqueue_shard, counter_bucket, sum(terminal_delta) from gone group by 1, 2, 3, 4, 5
				on conflict (ready_slot, queue, priority, enqueue_shard, counter_bucket)
				do update set live_terminal_count = x.live_terminal_count + excluded.live_terminal_count`) // a fold
			left := e.counters()
			out, err = awas(release, "storage", "rebuild-terminal-counters")
			require.NoError(t, err, out)
			require.Equal(t, e.counters(), left)
			require.Greater(t, len(left), 5)
		})
	}
}
