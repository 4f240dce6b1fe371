package sim

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/awa"
)

// Leadership goes to and fro between binaries that know the ledger and binaries that do not: these leave
// counters and ledger behind, and slots are used again with both.
func TestLeadersAlternate(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.start()
		for i := range 24 {
			s.fleet.leader = oldLeader
			if i%2 == 0 {
				s.fleet.leader = newLeader
			}
			for range 100 {
				s.step(true)
			}
		}
		s.quiesce()
	})
}

// Every prune is a new leader's. None of them is ever taken for an old one's, whatever it leaves behind, while
// others write uncounted, poison, rebuild and migrate.
func TestNewLeadersAreNotBlamed(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.fleet.leader = newLeader
		s.start()
		for range 2000 {
			s.step(true)
		}
		s.quiesce()
		st := s.core.Status(s.now)
		require.True(s.t, st.OldPrune.IsZero(), s.at("an old leader is seen that is not there"))
		for source := range st.Uncounted {
			require.NotEqual(s.t, applier.KindPrune, source.Kind, s.at("an old leader is seen that is not there"))
		}
	}, awa.Shape.HasLedger)
}

// Failed rows are carried on, every lap, by a leader that does so whenever it can.
func TestCarriedRows(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.shape.receipts = true
		s.fleet.leader, s.fleet.carries, s.fleet.rarely = newLeader, true, false
		s.start()
		for range 2000 {
			s.step(false)
		}
		s.quiesce()
		require.Positive(s.t, s.done.carried, s.at("nothing was carried on"))
		require.Positive(s.t, s.core.Status(s.now).Prunes, s.at("no prune was looked at"))
	}, awa.Shape.HasLedger)
}

// awa's migrations are run again, time and again, over a fleet that counts: each counts twice what is pending.
// That is put right, and nobody is called an old binary for it.
func TestMigrationsRunAgain(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.restless, s.fleet.migrates = false, true
		s.start()
		for range 2000 {
			s.step(true)
		}
		s.quiesce()
		require.Zero(s.t, s.core.Status(s.now).UncountedRows, s.at("a migration was taken for an old binary"))
	}, awa.Shape.HasLedger)
}

// awa's migrations change the shape, or what its prunes fold, while nobody watches: what was known of the old
// one is worth nothing.
func TestShapeChanges(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.start()
		for range 900 {
			s.step(true)
		}
		s.rest()
		later := slices.Index(awa.Shapes(), s.shape.Shape) + 1 + s.rng.IntN(2)
		s.shape = shapeFor(awa.Shapes()[min(later, len(awa.Shapes())-1)], s.seed+1)
		t := s.begin()
		s.migrate(t)
		require.True(s.t, s.admit(t))
		s.commit(t)
		s.show(t)
		s.start()
		require.False(s.t, s.core != nil && s.resumed, s.at("resumed from a checkpoint of another shape"))
		for range 900 {
			s.step(true)
		}
		s.quiesce()
	})
}

// At the end of an upgrade finish takes away what corrections have left in counter rows of the daemon's own, while the
// fleet goes on and all of it counts. From then on there is no correction to make, and awa's folds and
// decrements lose nothing. Left there, they would: see done.lost before.
func TestFinish(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.start()
		for range 1200 {
			s.step(false)
		}
		s.restless, s.fleet.leader = false, newLeader
		s.until("something stale stays in the ledger", func() bool {
			return len(s.open) == 0 && !slices.ContainsFunc(worldLeaves, s.stale)
		})
		s.hold()
		s.redistribute()
		lost, corrections := s.done.lost, s.core.Status(s.now).Corrections
		for range 800 {
			s.step(false)
			require.Empty(s.t, s.drifts, s.at("a fleet that counts drives counters wrong"))
		}
		require.Equal(s.t, lost, s.done.lost, s.at("a fold or a decrement lost something"))
		for k := range s.counters {
			require.NotEqual(s.t, ownBucket, k.bucket, s.at("a counter row of the daemon's own is left"))
		}
		s.letGo()
		s.quiesce()
		require.Equal(s.t, corrections, s.core.Status(s.now).Corrections, s.at("corrected what was right"))
	}, awa.Shape.HasBuckets)
}

// Writers who do not count go on while corrections are held back, and sessions end: nothing is corrected,
// and the marker goes in time. Afterwards everything is made up for.
func TestHold(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.start()
		for range 3 {
			for range 400 {
				s.step(true)
			}
			s.until("refused", func() bool { return s.core != nil })
			s.hold()
			s.rewriteAll()
			for range 400 {
				s.step(true)
			}
			s.letGo()
		}
		s.quiesce()
	}, awa.Shape.HasBuckets)
}

// A prune that folds fewer jobs than there were rows is reported, once, and nothing is done about it.
func TestPruneAudit(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.fleet.honest, s.fleet.rarely = true, false
		s.start()
		for range 1200 {
			s.step(false)
		}
		s.quiesce()
		s.fleet.short = 1
		s.until("no prune keeps anything to itself", func() bool { return s.done.short > 0 })
		s.fleet.short, s.planted = 0, 1
		s.quiesce()
		require.Positive(s.t, s.core.Status(s.now).Prunes, s.at("no prune was looked at"))
	})
}
