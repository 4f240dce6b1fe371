package fleet

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

var all = map[string]Layout{
	"306": {}, "striped": {Shape: Striped}, "ledger b2": {Shape: Ledger, Release: Beta2}, "ledger 0.6.0": {Shape: Ledger, Release: "0.6.0"},
	"ledger": {Shape: Ledger}, "ledger 0.7": {Shape: Ledger, Release: Next},
}

// A fleet of counting binaries keeps every group right, and every bucket, whatever the shape.
func TestCountedOperations(t *testing.T) {
	queues := []string{"a", "b"}
	for name, l := range all {
		t.Run(name, func(t *testing.T) {
			s := set(t, l)
			pick := Pick{Rand: rand.New(rand.NewPCG(1, 1)), Queues: queues, Slots: s.l.Slots}
			for range 3 {
				for _, op := range Ops() {
					s.do(true, func(tx pgx.Tx, w Writer) error { return op.Run(t.Context(), tx, w, pick) })
					s.right(queues...)
				}
			}
			for range 6 {
				s.do(true, func(tx pgx.Tx, w Writer) error { w.Retain = time.Hour; return w.Prune(t.Context(), tx, -1) })
				s.right(queues...)
				s.do(true, func(tx pgx.Tx, w Writer) error { return w.Rotate(t.Context(), tx) })
				if l.Shape == Ledger {
					s.foldAll()
					s.right(queues...)
				}
			}
			if l.Release == Next {
				s.do(true, func(tx pgx.Tx, w Writer) error { return w.FoldRollups(t.Context(), tx) })
			}
			s.do(true, func(tx pgx.Tx, w Writer) error { return w.Rebuild(t.Context(), tx) })
			s.right(queues...)
			s.do(true, func(tx pgx.Tx, w Writer) error { return w.Reset(t.Context(), tx) })
			s.right(queues...)
			require.Zero(t, s.scalar(`select count(*) from fleet_log.uncounted_awa`))
		})
	}
}

// foldAll folds every slot that can be, and waits for snapshots of others to go.
func (s *testDB) foldAll() {
	s.t.Helper()
	slots, err := s.l.Writer(true).FoldCandidates(s.t.Context(), s.pool)
	require.NoError(s.t, err)
	for _, slot := range slots {
		s.fold(slot, Folded)
	}
}

func (s *testDB) fold(slot int32, want Outcome) {
	s.t.Helper()
	got := StoodDown
	s.once("the fold stood down for good", func() bool {
		s.do(true, func(tx pgx.Tx, w Writer) (err error) { got, err = w.Fold(s.t.Context(), tx, slot); return err })
		return got != StoodDown
	})
	require.Equal(s.t, want, got)
}

// Old and new binaries at once, folds among them: the log explains every drift to the row, what folds and
// clamps lose included. Without prunes and rebuilds, which forgive.
func TestDriftIsExplained(t *testing.T) {
	for name, l := range all {
		t.Run(name, func(t *testing.T) {
			s := set(t, l)
			f := s.fleet(Config{Pre: 2, Post: 2, Fold: 20 * time.Millisecond, Pause: 4 * time.Millisecond, Seed: 5})
			s.once("the fleet does not write", func() bool { return f.Ops.Load() > 400 && (l.Shape != Ledger || f.Folds.Load() > 0) })
			f.Stop()
			require.Empty(t, f.Errors())
			s.explained()
			t.Logf("%d transactions, %d folds, %d stood down, %d blocked", f.Ops.Load(), f.Folds.Load(), f.Skipped.Load(), f.FoldsBlocked.Load())
		})
	}
}

func (s *testDB) fleet(cfg Config) *Fleet {
	s.t.Helper()
	cfg.Schema, cfg.Shape, cfg.Release, cfg.Slots, cfg.Queues = s.l.Schema, s.l.Shape, s.l.Release, s.l.Slots, []string{"a", "b", "c"}
	f, err := Start(s.t.Context(), server.Socket(s.db), cfg)
	require.NoError(s.t, err)
	s.t.Cleanup(f.Stop)
	return f
}

// A fleet of counting binaries with a ring that turns, rows carried on, and folds, is right at its end.
func TestCountedFleet(t *testing.T) {
	for name, l := range all {
		t.Run(name, func(t *testing.T) {
			s := set(t, l)
			f := s.fleet(Config{Post: 3, Prune: 40 * time.Millisecond, OldLeads: -1, Retain: 2 * time.Second, Fold: 20 * time.Millisecond, Pause: 4 * time.Millisecond, Seed: 6})
			s.once("the fleet does not write", func() bool { return f.Ops.Load() > 300 && f.Prunes.Load() > 8 })
			f.Stop()
			require.Empty(t, f.Errors())
			s.right("a", "b", "c")
			t.Logf("%d transactions, %d prunes, %d blocked, %d folds", f.Ops.Load(), f.Prunes.Load(), f.Blocks.Load(), f.Folds.Load())
		})
	}
}

// The sampler on every shape: a counting fleet is honest, folds and carried rows included, and one uncounted
// row that nobody corrects is not.
func TestWatchOnEveryShape(t *testing.T) {
	for name, l := range all {
		t.Run(name, func(t *testing.T) {
			s := set(t, l)
			s.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = now()`)
			f := s.fleet(Config{Post: 2, Prune: 100 * time.Millisecond, OldLeads: -1, Retain: time.Second, Fold: 10 * time.Millisecond, Pause: 5 * time.Millisecond, Seed: 7})
			w := Watch{Schema: "awa", Bound: time.Second}
			look := func() bool { require.NoError(t, w.Look(t.Context(), s.pool)); return true }
			s.once("few samples", func() bool { return look() && w.Samples > 100 && (l.Shape != Ledger || f.Folds.Load() > 0) })
			f.Stop()
			require.Zero(t, w.Dishonest, "%+v", w.First)
			require.Zero(t, w.Oldest)
			t.Logf("%d samples, %d folds, %d stood down", w.Samples, f.Folds.Load(), f.Skipped.Load())
			s.do(false, func(tx pgx.Tx, w Writer) error {
				return w.Insert(t.Context(), tx, Key{Slot: 2, Queue: "late", Priority: 1}, 1, "", "")
			})
			s.once("the drift was not seen", func() bool { return look() && w.Dishonest > 0 })
			require.Equal(t, "late", w.First.Queue)
		})
	}
}
