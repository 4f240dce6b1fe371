package sim

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "replay this one seed of the simulation")
	simSeeds = flag.Uint64("sim.seeds", 150, "how many seeds each scenario tries, all shapes together")
)

// eachSeed runs one scenario with many seeds of every shape that it makes sense for, and says how fast.
func eachSeed(t *testing.T, f func(s *sim), fits ...func(awa.Shape) bool) {
	t.Helper()
	forms := slices.DeleteFunc(shapes(t), func(form awa.Shape) bool {
		return slices.ContainsFunc(fits, func(fit func(awa.Shape) bool) bool { return !fit(form) })
	})
	for _, form := range forms {
		t.Run(form.Name(), func(t *testing.T) {
			seeds := max(1, *simSeeds/uint64(len(forms)))
			runSeeds(t, form, seeds, f)
		})
	}
}

func runSeeds(t *testing.T, form awa.Shape, seeds uint64, f func(s *sim)) {
	t.Helper()
	run := func(t *testing.T, seed uint64) int {
		t.Helper()
		s := newSim(t, seed, shapeFor(form, seed))
		f(s)
		return s.steps
	}
	if *simSeed != 0 {
		run(t, *simSeed)
		return
	}
	began, steps := time.Now(), 0
	for seed := uint64(1); seed <= seeds; seed++ {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) { steps += run(t, seed) })
		if !ok {
			name, _, _ := strings.Cut(t.Name(), "/")
			t.Fatalf("replay: go test ./internal/testonly/sim -run '^%s$' -sim.shape='%s' -sim.seed=%d", name, form.Name(), seed)
		}
	}
	t.Logf("%d steps, %.1f million a minute", steps, float64(steps)/1e6/time.Since(began).Minutes())
}

func TestSimulation(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.start()
		for range 3000 {
			s.step(true)
		}
		s.quiesce()
	})
}

// Without crashes the sessions live long enough for audits to run beside the writers.
func TestLongSession(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.start()
		for range 3000 {
			s.step(false)
		}
		s.quiesce()
		require.Positive(s.t, s.core.Status(s.now).Audits)
	})
}

// A fleet that counts everything is no uncounted writer, and gets no correction.
func TestCountedFleet(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.restless = false
		s.start()
		for range 1500 {
			s.step(true)
		}
		s.quiesce()
		st := s.core.Status(s.now)
		require.Zero(s.t, st.Corrections, s.at("corrected what was counted"))
		require.Zero(s.t, st.UncountedRows, s.at("a counted write passed for an uncounted one"))
	})
}

// A backlog of old drift, a fleet that counts everything, and rebuilds that get in the way of
// corrections: what is off then is the daemon's own doing, and nobody is blamed for it.
func TestOwnWritesAreNobodysFault(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.backlog(12, 3)
		s.restless, s.fleet.counting, s.fleet.migrates = false, true, s.shape.HasLedger()
		s.start()
		for range 1500 {
			s.step(true)
		}
		s.quiesce()
		st := s.core.Status(s.now)
		require.Zero(s.t, st.UncountedRows, s.at("a correction passed for an uncounted write"))
		if !s.shape.HasLedger() { // where nobody folds what we have corrected
			require.Empty(s.t, st.Uncounted, s.at("a correction passed for an uncounted write"))
		}
	})
}

// The stream stalls while uncounted writers go on: the marker has to fall in time.
func TestDeafStream(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.start()
		for range 4 {
			s.deaf = false
			for range 400 {
				s.step(false)
			}
			s.deaf = true
			for range 400 {
				s.step(false)
			}
			require.NotEmpty(s.t, s.core.Status(s.now).Reason, s.at("still trusted"))
		}
		s.quiesce()
	})
}

// Synchronous replication stalls: commits are streamed, and nobody can see them. A stalled prune holds
// the lock of the marker's row, so nothing that readers would need to be warned of may come from us.
func TestStalledVisibility(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.fleet.honest = true
		s.start()
		for range 4 {
			s.stalled = false
			for range 600 {
				s.step(false)
			}
			s.stalled = true
			for range 400 {
				s.step(false)
				s.checkOurDoing()
			}
		}
		s.quiesce()
	})
}

// checkOurDoing: no drift that readers see is there because a counter ran ahead of its rows.
func (s *sim) checkOurDoing() {
	for g, d := range s.drifts {
		locked := slices.ContainsFunc(s.open, func(t *worldTx) bool {
			_, ok := t.counters[key{g, s.shape.own()}]
			return ok || slices.Contains(t.truncated, g.Slot)
		})
		if age := s.now.Sub(s.driftAt[g]); s.mark && age > 2*bound && !locked {
			require.Fail(s.t, s.at("a stall, and %s has been off by %d for %s", g, d, age))
		}
	}
}

// Operators between sessions: they move the slot.
func TestSlotMoved(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.start()
		for range 6 {
			for range 350 {
				s.step(false)
			}
			if s.rng.IntN(2) == 0 {
				s.confirmed = s.lsn
			}
			s.crash()
		}
		s.quiesce()
	})
}

// Operators alter the publication under way, and put it right again: what was not sent meanwhile must
// not be missed.
func TestPublicationViaRoot(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.start()
		for range 4 {
			for range 500 {
				s.step(true)
			}
			s.viaRoot = viaRoot{rows: true}
			if s.shape.HasLedger() && s.rng.IntN(2) == 0 {
				s.viaRoot = viaRoot{rows: s.rng.IntN(2) == 0, ledger: true}
			}
			s.altered++
			for range s.rng.IntN(800) {
				s.step(true)
			}
			s.viaRoot = viaRoot{}
			s.altered++
		}
		s.quiesce()
	})
}

// Somebody falsifies the stored books: nothing is hidden by a clamp, and an audit or a number below 0
// brings it to light before anybody trusts.
func TestFalsifiedBooks(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.poisoned = true
		s.backlog(24, 20)
		s.fleet.shrinking = true
		s.start()
		for range 6 {
			for range 350 {
				s.step(false)
			}
			s.crash()
			s.falsify()
		}
		s.quiesce()
	})
}

func (s *sim) falsify() {
	if s.stored == nil {
		return
	}
	var were truth
	were.rewind(s.wal, s.stored.Position, s.stored.Pruned)
	clear(s.poison)
	for _, g := range ordered(s.books, counter.Group.Compare) {
		c, right := s.books[g], were.cell(g)
		if c.Rows > 0 {
			c.Rows = s.rng.Int64N(min(c.Rows, 3))
			s.books[g] = c
		}
		if c.Rows != right.Rows { // what an earlier falsification left, too
			s.poison[g] = c.Rows - right.Rows
		}
	}
	s.start()
}

// The server's clock jumps by an hour, to and fro.
func TestClockJumps(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.start()
		for range 8 {
			for range 250 {
				s.step(true)
			}
			s.skew = time.Duration(s.rng.IntN(3)-1) * time.Hour
		}
		s.quiesce()
	})
}
