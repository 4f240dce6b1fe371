package e2e

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/internal/awa"
)

// A command looks at awa's tables at its beginning. While it works, or waits, the ring gets another leaf, which is used and counted at
// once: its counters are those of no leaf to the command, and were taken away, under a marker that is set for good. Neither may happen.
func TestRingGrowsBesideACommand(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"finish", "reconcile"} {
		t.Run(command, func(t *testing.T) {
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			e.insertAt(0, "q", 3, true)
			args := []string{command}
			if command == "finish" {
				e.daemon("--checkpoint-interval", "200ms")
				e.marker(true, 20*time.Second)
				args = append(args, "--quiet-period", "1s", "--timeout", "20s")
			} else {
				e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = now()`)
			}
			rebuild := e.connect() // its lock is the one that each leaf waits for
			_, err := rebuild.Exec(t.Context(), `select pg_advisory_lock(hashtextextended($1, 0))`, awa.Schema(e.layout.Schema).RebuildLock())
			require.NoError(t, err)
			waiting := e.types(args...)
			ctx, cancel := contextWithin(40 * time.Second)
			defer cancel()
			e.until(ctx, func() bool {
				return e.scalar(`select count(*) from pg_stat_activity where datname = current_database() and application_name = 'awa-counterd reconcile' and wait_event = 'advisory'`) > 0
			}, func() string { return "the command does not wait for a rebuild" })

			e.exec(`create table awa.done_entries_77 partition of awa.done_entries for values in (77);
				create table awa.queue_terminal_count_deltas_77 partition of awa.queue_terminal_count_deltas for values in (77);
				insert into awa.queue_ring_slots (slot, generation) values (77, 77)`)
			e.do(false, func(tx pgx.Tx, w fleet.Writer) error {
				if err := w.Insert(t.Context(), tx, fleet.Key{Slot: 77, Queue: "q", Priority: 1}, 5, "failed", ""); err != nil {
					return err
				}
				_, err := tx.Exec(t.Context(), `insert into awa.queue_terminal_live_counts (ready_slot, queue, priority, enqueue_shard, counter_bucket, live_terminal_count)
					select ready_slot, queue, priority, enqueue_shard, mod(job_id, 256), count(*) from awa.done_entries where ready_slot = 77 group by 1, 2, 3, 4, 5`)
				return err
			})
			_, err = rebuild.Exec(t.Context(), `select pg_advisory_unlock_all()`)
			require.NoError(t, err)
			said := waiting.ends(refused, 40*time.Second)
			require.Contains(t, said, "awa's tables have changed meanwhile")
			require.Contains(t, said, "run it again")
			_, wrong, err := fleet.Compare(t.Context(), e.pool, "awa")
			require.NoError(t, err)
			require.Empty(t, wrong, "%s left these wrong", command)

			if command == "finish" {
				e.marker(true, 20*time.Second)
			}
			e.says(args...)
			e.balanced(time.Second)
			e.marker(true, 0)
		})
	}
}
