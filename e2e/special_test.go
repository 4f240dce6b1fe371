package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Queue names as people make them, negative lanes, a custom schema with four slots, and a table
// whose enqueue_shard is the last column.
func TestNamesAndLayouts(t *testing.T) {
	names := []string{`it's "quoted"`, "with spaces\tand tabs", "ünïcødé 🦜 队列", strings.Repeat("x", 200), `back\slash`, "NULL", ""}
	for name, layout := range map[string]fleet.Layout{
		"default":       {},
		"custom schema": {Schema: "my_queues", Slots: 4},
		"shard last":    {ShardLast: true, Slots: 4},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, layout)
			d := e.daemon()
			e.marker(true, 10*time.Second)
			for i, q := range names {
				k := fleet.Key{Slot: int32(i % 4), Queue: q, Priority: int16(1 + i%4), Shard: int16(i % 3)}
				e.do(false, func(tx pgx.Tx, w fleet.Writer) error {
					if err := w.Insert(t.Context(), tx, k, 3+i, "failed", ""); err != nil {
						return err
					}
					return w.Insert(t.Context(), tx, k, 1, "cancelled", fmt.Sprintf("-currval('%s.job_id_seq')", e.layout.Schema))
				})
			}
			e.balanced(2 * time.Second)
			for _, q := range names {
				e.do(false, func(tx pgx.Tx, w fleet.Writer) error {
					_, err := w.Delete(t.Context(), tx, q, 2)
					return err
				})
			}
			e.balanced(2 * time.Second)
			e.readersAgree(names...)
			require.Zero(t, d.stop())
			require.EqualValues(t, len(names), e.scalar(`select count(*) from awa_counterd.uncounted_writes`))
			// What was stored of these names resumes as it was.
			d = e.daemon()
			d.logged("resuming from the checkpoint", 10*time.Second)
			d.logged("marker set", 10*time.Second)
			e.noMismatch(d)
		})
	}
}

// A transaction of one row and of 200,000, an UPDATE that moves rows to another group of the same
// leaf and of another leaf, and subtransactions, some of them rolled back; sent after their commit,
// and streamed while they run.
func TestBigTransactions(t *testing.T) {
	for name, memory := range map[string]string{"after commit": "64MB", "streamed": "64kB"} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, fleet.Layout{Slots: 4})
			e.exec(fmt.Sprintf(`alter database %s set logical_decoding_work_mem = '%s'`, e.db, memory))
			d := e.daemon()
			e.marker(true, 10*time.Second)
			a, b := fleet.Key{Slot: 1, Queue: "a", Priority: 1}, fleet.Key{Slot: 2, Queue: "b", Priority: 2, Shard: 1}
			e.do(false, func(tx pgx.Tx, w fleet.Writer) error { return w.Insert(t.Context(), tx, b, 1, "", "") })
			e.do(false, func(tx pgx.Tx, w fleet.Writer) error {
				if err := w.Insert(t.Context(), tx, a, 200_000, "", ""); err != nil {
					return err
				}
				return e.savepoints(t.Context(), tx, w, a)
			})
			e.balanced(10 * time.Second)
			e.do(false, func(tx pgx.Tx, _ fleet.Writer) error {
				_, err := tx.Exec(t.Context(), `update awa.done_entries set queue = 'moved' where ready_slot = 1 and lane_seq % 3 = 0`)
				return err
			})
			e.balanced(10 * time.Second)
			e.do(false, func(tx pgx.Tx, _ fleet.Writer) error {
				_, err := tx.Exec(t.Context(), `update awa.done_entries set ready_slot = 2, priority = 9 where ready_slot = 1 and lane_seq % 5 = 0`)
				return err
			})
			e.do(false, func(tx pgx.Tx, _ fleet.Writer) error {
				_, err := tx.Exec(t.Context(), `update awa.done_entries set kind = 'other', attempt = attempt + 1 where ready_slot = 2`)
				return err
			})
			e.balanced(10 * time.Second)
			e.readersAgree("a", "b", "moved")
			e.noMismatch(d)
			if name == "streamed" {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				e.until(ctx, func() bool {
					return e.scalar(`select coalesce(sum(s.stream_count), 0)::bigint from pg_stat_replication_slots s
						join pg_replication_slots r using (slot_name) where r.database = current_database()`) > 0
				}, func() string { return "nothing was streamed" })
			}
		})
	}
}

// savepoints adds rows in subtransactions, rolls every other one back, and one that holds another.
func (e *env) savepoints(ctx context.Context, tx pgx.Tx, w fleet.Writer, k fleet.Key) error {
	for i := range 20 {
		inner, err := tx.Begin(ctx)
		if err != nil {
			return err
		}
		if err := w.Insert(ctx, inner, k, 700, "", ""); err != nil {
			return err
		}
		nested, err := inner.Begin(ctx)
		if err != nil {
			return err
		}
		if err := w.Insert(ctx, nested, k, 300, "", ""); err != nil {
			return err
		}
		if err := nested.Commit(ctx); err != nil {
			return err
		}
		if i%2 == 0 {
			err = inner.Rollback(ctx)
		} else {
			err = inner.Commit(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Before awa's migration the daemon waits, saying for what. The installer then trusts the counters
// because done_entries happens to be empty; that trust is not ours, and is earned before it stands.
func TestWaitsForTheMigration(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4, NoCounter: true})
	d := e.daemon()
	waiting := d.logged("waiting for awa's migration", 5*time.Second)
	require.Contains(t, waiting["for"], "queue_terminal_live_counts")
	conn := e.connect()
	require.NoError(t, e.layout.Migrate(t.Context(), conn))
	d.logged("found awa's counter table", 5*time.Second)
	d.logged("marker set", 10*time.Second)
	e.insertAt(1, "q", 5, false)
	e.balanced(2 * time.Second)
	require.Zero(t, d.stop())
}

// The installer sets the marker whenever done_entries happens to be empty. While the books do not
// vouch for it, it is cleared again at once, and the log says whose it was.
func TestForeignTrustIsCleared(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	conn := e.connect()
	require.NoError(t, e.layout.AutoTrust(t.Context(), conn))
	e.marker(true, 0)

	d := e.daemon("--trust", "quiet", "--quiet-period", "1h")
	require.Contains(t, d.logged("marker cleared", 5*time.Second)["reason"], "no daemon vouches")
	e.do(false, func(tx pgx.Tx, w fleet.Writer) error {
		return w.Insert(t.Context(), tx, fleet.Key{Slot: 1, Queue: "q", Priority: 1}, 5, "", "")
	})
	e.balanced(2 * time.Second)
	e.do(true, func(tx pgx.Tx, w fleet.Writer) error { return w.Prune(t.Context(), tx, 1) })
	e.marker(false, 2*time.Second)
	require.NoError(t, e.layout.AutoTrust(t.Context(), conn))
	d.logged("the marker was set by someone else", 3*time.Second)
	e.marker(false, 2*time.Second)
	require.Zero(t, d.stop())
}

// Whoever clears the marker had a reason; it comes back only after a fresh audit.
func TestForeignDistrustIsRespectedUntilAudited(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	d := e.daemon()
	e.marker(true, 10*time.Second)
	e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = null where singleton`)
	d.logged("cleared by someone else", 3*time.Second)
	e.marker(true, 10*time.Second)
}

// trust=off never touches the marker, whatever it finds.
func TestTrustOff(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = '2026-01-01' where singleton`)
	d := e.daemon("--trust", "off")
	e.insertAt(1, "q", 5, false)
	e.balanced(5 * time.Second)
	require.Zero(t, d.stop())
	require.EqualValues(t, 1, e.scalar(`select count(*) from awa.queue_ring_state where terminal_counter_trusted_at = '2026-01-01'`))
}

// Change #304 has the counter but no marker: counters yes, trust no.
func TestWithoutMarkerColumn(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Direct, Slots: 4, NoMarker: true})
	d := e.daemon()
	d.logged("this awa has no trust marker", 10*time.Second)
	e.insertAt(1, "q", 5, false)
	e.balanced(5 * time.Second)
	require.Zero(t, d.stop())
}

// A correction below 0 never creates a row, and never leaves a negative counter: rows that fall to 0
// stay, for awa's pruner to take.
func TestNegativeCorrections(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Direct, Slots: 4})
	e.exec(`insert into awa.queue_terminal_live_counts values (0, 'q', 1, 0, 40), (1, 'q', 1, 0, -7), (9, 'q', 1, 0, 3)`)
	d := e.daemon()
	e.balanced(5 * time.Second)
	require.EqualValues(t, 3, e.scalar(`select count(*) from awa.queue_terminal_live_counts where live_terminal_count = 0`))
	e.do(false, func(tx pgx.Tx, w fleet.Writer) error {
		return w.Insert(t.Context(), tx, fleet.Key{Slot: 2, Queue: "q", Priority: 1}, 4, "failed", "")
	})
	e.balanced(2 * time.Second)
	// The counter row vanishes under a drift that is negative by the time it is corrected.
	e.exec(`update awa.queue_terminal_live_counts set live_terminal_count = 9 where ready_slot = 2; delete from awa.queue_terminal_live_counts where ready_slot = 0`)
	e.balanced(2 * time.Second)
	require.Zero(t, e.scalar(`select count(*) from awa.queue_terminal_live_counts where ready_slot = 0 or live_terminal_count < 0`))
	require.Zero(t, d.stop())
}
