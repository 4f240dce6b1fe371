package sim

import (
	"flag"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

var (
	simWorlds = flag.String("sim.worlds", "small", "which worlds are explored as a whole: small, large (these take long), none")
	simMost   = flag.Int("sim.most", 0, "stop after so many transitions, and fail; 0 for no bound")
	simFor    = flag.Duration("sim.for", 0, "stop a world after so long, and fail; 0 for no bound")
	simPath   = flag.String("sim.path", "", "with -run TestWorlds/…: make these choices instead of all")
)

func TestWorlds(t *testing.T) {
	for _, p := range worlds() {
		if *simWorlds == "none" || (p.large && *simWorlds != "large") {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			if *simPath == "" {
				playWorld(t, p)
				return
			}
			if f := replay(p, parsePath(*simPath), func(line string) { t.Log(line) }); f != nil {
				t.Fatal(f.what)
			}
		})
	}
}

func formNamed(name string) shape {
	for _, s := range awa.Shapes() {
		if s.Name() == name {
			return shape{Shape: s}
		}
	}
	panic("no shape " + name)
}

// The groups of the small worlds: two of one slot, one of another.
func groupA() counter.Group { return counter.Group{Slot: 0, Queue: "a", Priority: 1} }
func groupB() counter.Group { return counter.Group{Slot: 0, Queue: "b", Priority: 1} }
func groupC() counter.Group { return counter.Group{Slot: 1, Queue: "a", Priority: 1} }

// trusted is the preparation of a world in which the daemon leads and vouches.
func trusted(s *small) {
	s.read()
	s.settle(false)
	s.checkRest()
}

func worlds() []*plan { return slices.Concat(smallWorlds(), lateWorlds(), largeWorlds()) }

// largeWorlds leave nothing to be heard at once, and go on for longer.
func largeWorlds() []*plan {
	a, b := groupA(), groupB()
	one := []int32{0}
	ledger := formNamed("ledger")
	ab := []counter.Group{a, b}
	out := []*plan{
		{
			name: "start, and time passes", shape: ledger, leaves: one, groups: ab,
			actors: []actor{plain("the uncounted writer", bare(a, 2)), plain("the counting writer", counted(b, 1))},
			budget: budget{ticks: 1},
		},
		{
			name: "uncounted, and answers are late", shape: ledger, leaves: one, groups: []counter.Group{a}, prepare: trusted,
			actors: []actor{plain("the uncounted writer", bare(a, 2))},
			budget: budget{ticks: 2, leaps: 2}, always: behind,
		},
		{
			name: "two writers for longer", shape: ledger, leaves: one, groups: ab, prepare: trusted,
			actors: []actor{plain("the uncounted writer", bare(a, 2)), plain("the counting writer", counted(b, 1))},
			budget: budget{ticks: 2}, always: behind,
		},
		{
			name: "a standby, and answers are late", shape: ledger, leaves: one, groups: []counter.Group{a}, prepare: trusted,
			actors: []actor{plain("the uncounted writer", bare(a, 2)), prompted("the standby", marks(false))},
			budget: budget{ticks: 1, crashes: 1},
		},
		{
			name: "two crashes", shape: ledger, leaves: one, groups: []counter.Group{a}, prepare: trusted,
			actors: []actor{plain("the uncounted writer", bare(a, 2))},
			budget: budget{ticks: 1, crashes: 2},
		},
		{
			name: "both leaders", shape: ledger, leaves: one, groups: ab, prepare: filled(bare(a, 2), counted(b, 1)),
			actors: []actor{
				plain("the uncounted writer", bare(a, 1)), locking("the old leader", pruned(0, false)),
				locking("the new leader", folded(0), pruned(0, true)),
			},
			budget: budget{ticks: 1},
		},
		{
			name: "a leader that counts, for longer", shape: ledger, leaves: one, groups: ab, prepare: filled(bare(a, 2), counted(b, 1)),
			actors: []actor{plain("the uncounted writer", bare(a, 1)), locking("the leader", pruned(0, true))},
			budget: budget{ticks: 2},
		},
		{
			name: "a leader that does not, for longer", shape: ledger, leaves: one, groups: ab, prepare: filled(bare(a, 2), counted(b, 1)),
			actors: []actor{plain("the counting writer", counted(b, 1)), locking("the leader", pruned(0, false))},
			budget: budget{ticks: 2},
		},
		{
			name: "orphans beside a writer", shape: formNamed("striped"), leaves: one, groups: []counter.Group{a, orphan()}, orphans: true,
			actors: []actor{plain("the uncounted writer", bare(a, 2)), prompted("somebody", poisoned(orphan(), 3))},
		},
	}
	for _, p := range out {
		p.large = true
	}
	return out
}

func smallWorlds() []*plan {
	a, b, c := groupA(), groupB(), groupC()
	one, two := []int32{0}, []int32{0, 1}
	ledger, direct, striped := formNamed("ledger"), formNamed("#306"), formNamed("striped")
	ab := []counter.Group{a, b}
	swift := string([]byte{byStream, byWrite, hearsWrite, byMarker, hearsMarker, byScan, hearsScan}) // a daemon that is quick
	return []*plan{
		{
			name: "start", shape: ledger, leaves: one, groups: ab,
			actors: []actor{plain("the uncounted writer", bare(a, 2)), plain("the counting writer", counted(b, 1))},
		},
		{
			name: "start with one counter row", shape: direct, leaves: one, groups: []counter.Group{a},
			actors: []actor{plain("the uncounted writer", bare(a, 2)), locking("the counting writer", counted(a, 1))},
		},
		{
			name: "start with a small journal", shape: ledger, leaves: one, groups: ab, journal: 1,
			actors: []actor{plain("the uncounted writer", bare(a, 2), bare(b, 1))},
		},
		{
			name: "start with slow scans", shape: ledger, leaves: one, groups: []counter.Group{a},
			actors: []actor{plain("the uncounted writer", bare(a, 2))},
			budget: budget{ticks: 3}, swift: string([]byte{byStream, byWrite, hearsWrite, byMarker, hearsMarker}),
		},
		{
			name: "uncounted", shape: ledger, leaves: one, groups: []counter.Group{a}, prepare: trusted,
			actors: []actor{plain("the uncounted writer", bare(a, 2))},
			budget: budget{leaps: 2}, swift: string([]byte{hearsWrite, hearsMarker}), always: behind,
		},
		{
			name: "one after the other", shape: ledger, leaves: one, groups: []counter.Group{a}, prepare: trusted,
			actors: []actor{plain("the uncounted writer", bare(a, 2)), plain("another", bare(a, 1))},
			budget: budget{ticks: 1}, always: behind, rest: countersAreNotBlamed,
		},
		{
			name: "a prune that nobody sees", shape: ledger, leaves: one, groups: []counter.Group{a}, prepare: trusted,
			actors: []actor{{name: "the old fleet", steps: slices.Concat(
				plain("", bare(a, 2)).steps, locking("", pruned(0, false)).steps)}},
			budget: budget{ticks: 12}, swift: swift,
		},
		{
			name: "a trigger", shape: ledger, leaves: one, groups: []counter.Group{a}, prepare: eats,
			actors: []actor{prompted("the uncounted writer", bare(a, 2)), once("somebody", "drops the trigger", nil, func(s *small) { s.eaten = false })},
			budget: budget{ticks: 12}, swift: swift, ticking: true,
		},
		{
			name: "two writers", shape: ledger, leaves: one, groups: ab, prepare: trusted,
			actors: []actor{plain("the uncounted writer", bare(a, 2)), plain("the counting writer", counted(b, 1))},
			budget: budget{ticks: 1},
		},
		{
			name: "two slots", shape: ledger, leaves: two, groups: []counter.Group{a, b, c}, prepare: filled(counted(b, 2), counted(c, 2)),
			actors: []actor{plain("the uncounted writer", both(both(bare(a, 2), bare(b, -1)), bare(c, -1)))},
			budget: budget{ticks: 2},
		},
		{
			name: "a leader that counts", shape: ledger, leaves: one, groups: ab, prepare: filled(bare(a, 2), counted(b, 1)),
			actors: []actor{plain("the uncounted writer", bare(b, 1)), locking("the leader", pruned(0, true))},
			budget: budget{ticks: 1},
		},
		{
			name: "a leader that does not", shape: ledger, leaves: one, groups: ab, prepare: filled(bare(a, 2), counted(b, 1)),
			actors: []actor{plain("the counting writer", counted(b, 1)), locking("the leader", pruned(0, false))},
			budget: budget{ticks: 1},
		},
		{
			name: "a leader that carries rows on", shape: shape{Shape: ledger.Shape, receipts: true}, leaves: two, groups: []counter.Group{a, c},
			prepare: carrying(bare(a, 2)),
			actors:  []actor{plain("the uncounted writer", bare(c, 1)), locking("the leader", pruned(0, true))},
			budget:  budget{ticks: 1},
		},
		{
			name: "a fold", shape: ledger, leaves: one, groups: ab, prepare: filled(bare(a, 2), counted(b, 1)),
			actors: []actor{plain("the counting writer", counted(a, -1)), locking("the leader", folded(0))},
			budget: budget{ticks: 2},
		},
		{
			name: "a migration", shape: ledger, leaves: one, groups: ab, prepare: filled(bare(a, 2), counted(a, 1), counted(b, 1)),
			actors: []actor{plain("the uncounted writer", bare(a, 1)), locking("the migration", migrated)},
			budget: budget{ticks: 1}, rest: migrationsAreNotBlamed,
		},
		{
			name: "a rebuild", shape: striped, leaves: one, groups: []counter.Group{a}, prepare: filled(bare(a, 2)),
			actors: []actor{plain("the uncounted writer", bare(a, 1)), locking("the rebuild", rebuilt)},
			budget: budget{ticks: 1},
		},
		{
			name: "a prune with one counter row", shape: direct, leaves: one, groups: []counter.Group{a}, prepare: filled(bare(a, 2)),
			actors: []actor{plain("the uncounted writer", bare(a, 1)), locking("the leader", pruned(0, false), pruned(0, true))},
			budget: budget{ticks: 1},
		},
		{
			name: "a crash", shape: ledger, leaves: one, groups: []counter.Group{a}, prepare: trusted,
			actors: []actor{plain("the uncounted writer", bare(a, 2))},
			budget: budget{ticks: 1, crashes: 1},
		},
		{
			name: "two writers and a crash", shape: ledger, leaves: one, groups: ab, prepare: trusted,
			actors: []actor{plain("the uncounted writer", bare(a, 2)), plain("the counting writer", counted(b, 1))},
			budget: budget{crashes: 1},
		},
		{
			name: "a crash at the start", shape: ledger, leaves: one, groups: []counter.Group{a},
			actors: []actor{plain("the uncounted writer", bare(a, 2))},
			budget: budget{crashes: 1},
		},
		{
			name: "a crash and a prune", shape: ledger, leaves: one, groups: []counter.Group{a}, prepare: filled(bare(a, 2)),
			actors: []actor{locking("the leader", pruned(0, true))},
			budget: budget{ticks: 1, crashes: 1},
		},
		{
			name: "a standby", shape: ledger, leaves: one, groups: []counter.Group{a}, prepare: trusted,
			actors: []actor{plain("the uncounted writer", bare(a, 2)), prompted("the standby", marks(false))},
			budget: budget{ticks: 1, crashes: 1}, swift: "W",
		},
		{
			name: "a slot that is moved", shape: ledger, leaves: one, groups: []counter.Group{a}, prepare: trusted,
			actors: []actor{plain("the uncounted writer", bare(a, 2)), movesSlot()},
			budget: budget{crashes: 1},
		},
		{
			name: "lost answers", shape: ledger, leaves: one, groups: []counter.Group{a}, prepare: trusted,
			actors: []actor{plain("the uncounted writer", bare(a, 2))},
			budget: budget{ticks: 2, losses: 1},
		},
		{
			name: "a stop", shape: ledger, leaves: one, groups: []counter.Group{a}, prepare: trusted,
			actors: []actor{plain("the uncounted writer", bare(a, 2)), stops()},
			budget: budget{ticks: 1},
		},
		{
			name: "held", shape: ledger, leaves: one, groups: []counter.Group{a}, prepare: trusted,
			actors: []actor{plain("the uncounted writer", bare(a, 2)), finishes()},
			budget: budget{ticks: 2},
		},
		{
			name: "falsified books", shape: ledger, leaves: one, groups: []counter.Group{a}, prepare: falsified(a),
			actors: []actor{plain("the uncounted writer", bare(a, -2))},
		},
		{
			name: "orphans", shape: striped, leaves: one, groups: []counter.Group{a, orphan()}, orphans: true,
			actors: []actor{plain("somebody", poisoned(orphan(), 3))},
		},
	}
}

// behind: where nobody but uncounted writers adds rows, and nobody takes any away, no counter is ever ahead of them.
func behind(s *small) {
	for g, d := range s.drifts {
		if d < 0 {
			require.Fail(s.t, s.at("the counter of %s is %d ahead of its rows", g, -d))
		}
	}
}

// countersAreNotBlamed: where nobody touches counters but the daemon, nobody is said to have.
func countersAreNotBlamed(s *small) {
	for source := range s.core.Status(s.now).Uncounted {
		require.NotEqual(s.t, applier.KindCounter, source.Kind, s.at("a correction passed for somebody's write"))
	}
}

// migrationsAreNotBlamed: what they leave behind tells of no old binary.
func migrationsAreNotBlamed(s *small) {
	var written int64
	for _, n := range s.done.bare {
		written += n
	}
	require.LessOrEqual(s.t, s.core.Status(s.now).UncountedRows, written, s.at("a migration was taken for an old binary"))
}

// eats has the daemon trust, and then somebody make a trigger that takes its corrections away.
func eats(s *small) {
	trusted(s)
	s.eaten = true
}

func orphan() counter.Group { return counter.Group{Slot: orphanSlot, Queue: "a", Priority: 1} }

// filled has something written before, and the daemon trust what it has made of it.
func filled(first ...transaction) func(s *small) {
	return func(s *small) {
		for _, build := range first {
			t := build(s)
			s.open = append(s.open, t)
			s.commit(t)
			s.show(t)
		}
		trusted(s)
	}
}

// carrying is filled, for a fleet whose leader carries on whatever it can.
func carrying(first ...transaction) func(s *small) {
	return func(s *small) {
		s.fleet.carries = true
		filled(first...)(s)
	}
}

// falsified has a daemon die, and somebody take two rows of three out of the stored books of a group.
func falsified(g counter.Group) func(s *small) {
	return func(s *small) {
		filled(bare(g, 3))(s)
		s.die()
		cell := s.books[g]
		cell = cell.Clone()
		cell.Rows -= 2
		s.books[g], s.poison[g], s.poisoned = cell, -2, true
	}
}

// poisoned puts a number into a counter row.
func poisoned(g counter.Group, n int64) transaction {
	return func(s *small) *worldTx {
		t := s.begin()
		t.counters[key{g, 1}] = new(n)
		return t
	}
}
