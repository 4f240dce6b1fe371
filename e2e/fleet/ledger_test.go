package fleet

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

var spot = Key{Slot: 1, Queue: "q", Priority: 1}

func (s *testDB) insert(counted bool, n int) {
	s.t.Helper()
	s.do(counted, func(tx pgx.Tx, w Writer) error { return w.Insert(s.t.Context(), tx, spot, n, "failed", "") })
}

func (s *testDB) remove(counted bool, n int) {
	s.t.Helper()
	s.do(counted, func(tx pgx.Tx, w Writer) error {
		_, err := w.Delete(s.t.Context(), tx, "q", n)
		return err
	})
}

// drift of the only group there is.
func (s *testDB) drift() int64 {
	s.t.Helper()
	_, wrong, err := Compare(s.t.Context(), s.pool, "awa")
	require.NoError(s.t, err)
	if len(wrong) == 0 {
		return 0
	}
	require.Len(s.t, wrong, 1)
	return wrong[0].Rows - wrong[0].Counter
}

// A fold drops a negative sum that has no counter row, and the record says so.
func TestFoldDropsWhatHasNoRow(t *testing.T) {
	s := set(t, Layout{Shape: Ledger})
	s.insert(false, 5)
	s.remove(true, 3)
	require.EqualValues(t, 5, s.drift())
	require.EqualValues(t, -3, s.scalar(`select sum(terminal_delta)::int8 from awa.queue_terminal_count_deltas`))
	s.fold(1, Folded)
	require.EqualValues(t, 2, s.drift())
	require.Zero(t, s.scalar(`select count(*) from awa.queue_terminal_live_counts`))
	s.explained()
	s.fold(1, Nothing)
	s.fold(0, Current)
}

// A fold stands down while another session holds a snapshot: any before 0.7, an old one from then on.
func TestFoldStandsDown(t *testing.T) {
	for release, want := range map[string]Outcome{Beta2: StoodDown, Latest: StoodDown, Next: Folded} {
		t.Run(release, func(t *testing.T) {
			s := set(t, Layout{Shape: Ledger, Release: release})
			s.insert(true, 5)
			conn := connect(t, s.db)
			defer func() { _ = conn.Close(context.Background()) }()
			tx, err := conn.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
			require.NoError(t, err)
			_, err = tx.Exec(t.Context(), `select 1 from awa.queue_ring_state`)
			require.NoError(t, err)
			var got Outcome
			s.do(true, func(tx pgx.Tx, w Writer) (err error) { got, err = w.Fold(t.Context(), tx, 1); return err })
			require.Equal(t, want, got)
			require.NoError(t, tx.Rollback(t.Context()))
			if want == StoodDown {
				s.fold(1, Folded)
			}
			s.right("q")
		})
	}
}

// A delta that comes a lap too late counts until the next fold drops it, and stops a new leader's rotation,
// not an old one's.
func TestLateDelta(t *testing.T) {
	s := set(t, Layout{Shape: Ledger})
	s.do(true, func(tx pgx.Tx, w Writer) error { return w.LateDelta(t.Context(), tx, spot, 2) })
	require.EqualValues(t, -2, s.drift())
	current := func() int64 { return s.scalar(`select current_slot from awa.queue_ring_state`) }
	s.do(true, func(tx pgx.Tx, w Writer) error { return w.Rotate(t.Context(), tx) })
	require.Zero(t, current())
	s.fold(1, Nothing)
	require.EqualValues(t, -2, s.drift())
	s.insert(true, 5)
	s.fold(1, Folded)
	require.Zero(t, s.drift())
	require.Zero(t, s.scalar(`select sum(delta)::int8 from fleet_log.uncounted_awa`))
	s.do(false, func(tx pgx.Tx, w Writer) error { return w.Prune(t.Context(), tx, -1) })
	s.do(true, func(tx pgx.Tx, w Writer) error { return w.LateDelta(t.Context(), tx, spot, 2) })
	s.do(false, func(tx pgx.Tx, w Writer) error { return w.Rotate(t.Context(), tx) })
	require.EqualValues(t, 1, current())
	require.EqualValues(t, s.l.Slots+1, s.scalar(`select generation from awa.queue_ring_slots where slot = 1`))
}

// An old leader's prune leaves counter and deltas behind; a new leader's takes them too.
func TestPrunes(t *testing.T) {
	for name, l := range all {
		t.Run(name, func(t *testing.T) {
			s := set(t, l)
			s.insert(true, 5)
			if l.Shape == Ledger {
				s.fold(1, Folded)
			}
			s.insert(true, 3)
			s.do(false, func(tx pgx.Tx, w Writer) error { return w.Prune(t.Context(), tx, -1) })
			require.EqualValues(t, -8, s.drift())
			s.explained()
			s.do(true, func(tx pgx.Tx, w Writer) error { return w.Prune(t.Context(), tx, -1) })
			require.Zero(t, s.drift())
			total, err := ReadCounter(t.Context(), s.pool, "awa", "q")
			require.NoError(t, err)
			require.EqualValues(t, 8, total)
		})
	}
}

// From 0.6.0 on failed rows go on to the current slot with deltas of their own, lap after lap, and are not
// folded into the rollups.
func TestCarriedRows(t *testing.T) {
	s := set(t, Layout{Shape: Ledger})
	s.insert(true, 5)
	s.do(true, func(tx pgx.Tx, w Writer) error { return w.Insert(t.Context(), tx, spot, 4, "", "") })
	s.do(true, func(tx pgx.Tx, w Writer) error { return w.InsertCompact(t.Context(), tx, spot, 7) })
	s.do(true, func(tx pgx.Tx, w Writer) error { w.Retain = time.Hour; return w.Prune(t.Context(), tx, 1) })
	s.right("q")
	require.EqualValues(t, 5, s.scalar(`select count(*) from awa.done_entries_0`))
	require.EqualValues(t, 5, s.scalar(`select sum(terminal_delta)::int8 from awa.queue_terminal_count_deltas_0 where ready_generation = 4`))
	require.EqualValues(t, 11, s.scalar(`select pruned_completed_count from awa.queue_terminal_rollups`))
	require.Zero(t, s.scalar(`select pruned_failed_count from awa.queue_terminal_rollups`))
}

// A prune of 0.6.0 waits 10 ms for a counter row and then fails as a whole.
func TestPruneMeetsALockedCounterRow(t *testing.T) {
	s := set(t, Layout{Shape: Ledger})
	s.insert(true, 5)
	s.fold(1, Folded)
	tx, err := s.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `select 1 from awa.queue_terminal_live_counts for update`)
	require.NoError(t, err)
	err = Do(t.Context(), s.pool, func(tx pgx.Tx) error { return s.l.Writer(true).Prune(t.Context(), tx, 1) })
	require.ErrorIs(t, err, ErrCounterLocked)
	require.ErrorIs(t, err, ErrBlocked)
	require.NoError(t, tx.Rollback(t.Context()))
	s.right("q")
	require.EqualValues(t, 5, s.scalar(`select count(*) from awa.done_entries`))
}
