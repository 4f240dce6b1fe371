package sim

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/internal/terminal"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "replay this one seed of the simulation")
	simSeeds = flag.Uint64("sim.seeds", 200, "how many seeds the simulation tries")
)

// eachSeed plays one scenario with many seeds, and says how fast.
func eachSeed(t *testing.T, f func(s *sim)) {
	t.Helper()
	play := func(t *testing.T, seed uint64) int {
		t.Helper()
		s := newSim(t, seed)
		f(s)
		return s.steps
	}
	if *simSeed != 0 {
		play(t, *simSeed)
		return
	}
	began, steps := time.Now(), 0
	for seed := uint64(1); seed <= *simSeeds; seed++ {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) { steps += play(t, seed) })
		if !ok {
			t.Fatalf("replay: go test ./internal/sim -run '%s$' -sim.seed=%d", t.Name(), seed)
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

// backlog makes uncounted rows from before the first session.
func (s *sim) backlog(transactions int, rows int64) {
	for i := range transactions {
		old := s.begin()
		old.rows[terminal.Group{Slot: worldLeaves[i%len(worldLeaves)], Queue: string(rune('a' + i%2)), Priority: int16(1 + i%3%2)}] = rows + int64(i)
		s.admit(old)
		s.commit(old)
		s.show(old)
	}
}

// A backlog of old drift, a fleet that counts everything, and rebuilds that get in the way of
// corrections: what is off then is our own doing, and nobody is blamed for it.
func TestOwnWritesAreNobodysFault(t *testing.T) {
	eachSeed(t, func(s *sim) {
		s.backlog(12, 3)
		s.restless, s.counting = false, true
		s.start()
		for range 1500 {
			s.step(true)
		}
		s.quiesce()
		require.Zero(s.t, s.core.Status(s.now).UncountedRows, s.at("a correction passed for an uncounted write"))
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
		s.honest = true
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
	for g, d := range s.drifts() {
		locked := slices.ContainsFunc(s.open, func(t *worldTx) bool {
			_, ok := t.counters[g]
			return ok || t.truncated[g.Slot]
		})
		if age := s.now.Sub(s.driftAt[g]); s.mark && d != 0 && age > 2*bound && !locked {
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
			s.viaRoot = true
			s.altered++
			for range s.rng.IntN(800) {
				s.step(true)
			}
			s.viaRoot = false
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
		s.shrinking = true
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
	for _, g := range sorted(s.stored.Cells) {
		if c := s.stored.Cells[g]; c.Rows > 0 {
			off := c.Rows - s.rng.Int64N(min(c.Rows, 3))
			c.Rows -= off
			s.stored.Cells[g] = c
			s.poison[g] -= off
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
