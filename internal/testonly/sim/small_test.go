package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// quantum is the one step in which time passes in a small world: a flush, a token and a checkpoint are due after one, a token
// that takes longer is not prompt, trust ends after more than two, and what is older than four is a broken promise.
const quantum = bound / 4

const (
	doubtful = 3 * quantum // trust has ended by then
	prompt   = 3           // tokens in a row that must be so
)

// plan is what a small world is made of.
type plan struct {
	name    string
	shape   shape
	leaves  []int32
	groups  []counter.Group
	prepare func(s *small) // what was before the exploration begins, without a choice
	actors  []actor
	budget  budget
	journal int  // bytes; 0 for enough
	orphans bool // there are counter rows whose slot has no leaf
	large   bool // it takes long, and is explored when asked for
	// swift are choices that are made as soon as they can be: what follows from their being made late is left to other worlds.
	swift string
	// ticking: the clock moves on, by a nanosecond, while corrections are written. Elsewhere all that happens between two steps
	// of time happens at one instant, and where that leaves a doubt the Core waits for the next one.
	ticking bool
	// late: what a session had sent when it died may arrive when another one leads.
	late   bool
	always func(s *small) // holds in every state
	rest   func(s *small) // and this at rest
}

// budget bounds a world. Time ends, so the space does.
type budget struct {
	ticks   int // of a quantum each
	leaps   int // of as much as it takes to end trust
	crashes int
	losses  int // answers that get lost
}

// small is a world in one state. The database, the checks and the start of a session are those of the seeded simulation; what
// is drawn there is chosen here, one step at a time.
type small struct {
	*sim
	*tools

	place  []int      // how many steps of each actor are done
	txs    []*worldTx // of each actor, the one that is open
	left   budget
	phase  phase
	stop   stop
	waits  []uint64 // transactions that the making of a replication slot waits for
	flight flight
	ghost  ghost
	died   time.Time    // the last session that did
	sent   []decoder.Tx // the WAL as the decoder reads it

	told func(string) // nil: nobody wants to know

	live *applier.Books // where the books of this session's Core are worked with
	kept applier.Books  // what stands there while this state is worked with
}

// tools are shared by all states of a world.
type tools struct {
	plan   *plan
	cloner *cloner
	script *script
	line   *wire
}

// steady stands in for the dice: what the database draws is the same every time, and its records are sent as streamed
// transactions with a savepoint that is rolled back, rows that come and go, and deltas in two rows.
type steady uint64

func (s steady) Uint64() uint64 { return uint64(s) }

func newSmall(p *plan, t tester) *small {
	const noise = 1<<63 - 1<<63%210 + 126 // 0 mod 2, 3 and 7; 1 mod 5
	s := &small{
		sim: newSim(t, 1, p.shape), tools: &tools{plan: p, cloner: newCloner(), script: newScript()},
		place: make([]int, len(p.actors)), txs: make([]*worldTx, len(p.actors)), left: p.budget, phase: down,
	}
	s.rng = rand.New(steady(noise))
	s.line = newWire(p.shape, 1)
	if p.prepare != nil {
		p.prepare(s)
	}
	s.keep()
	return s
}

// clone is another world in the same state, ready to be worked with; s is not until it is cloned again.
func (s *small) clone() *small {
	c, inner, w := *s, *s.sim, *s.world
	c.sim, inner.world = &inner, &w
	w.tables, inner.truth.tables = s.tables.clone(), s.truth.clone()
	w.generation, w.driftAt, w.done.bare = maps.Clone(w.generation), maps.Clone(w.driftAt), maps.Clone(w.done.bare)
	w.open, w.wal, c.sent = slices.Clone(w.open), slices.Clip(w.wal), slices.Clip(c.sent)
	inner.books, inner.history = maps.Clone(inner.books), maps.Clone(inner.history)
	inner.poison, inner.scanned = maps.Clone(inner.poison), maps.Clone(inner.scanned)
	c.place, c.txs = slices.Clone(c.place), slices.Clone(c.txs)
	c.flight.scans = slices.Clone(c.flight.scans)
	if s.core != nil {
		inner.core = s.cloner.core(s.core)
		*s.live = s.cloner.books(&s.kept)
	}
	return &c
}

// keep ends the work with a state: from here on it is only cloned.
func (s *small) keep() {
	if s.core != nil {
		s.live = booksOf(s.core)
		s.kept = *s.live
	}
}

func (w *tables) clone() tables {
	return tables{
		rows: maps.Clone(w.rows), counters: maps.Clone(w.counters), ledger: maps.Clone(w.ledger), rollups: maps.Clone(w.rollups),
		pending: maps.Clone(w.pending), drifts: maps.Clone(w.drifts),
	}
}

// read has the decoder read what is new in the WAL.
func (s *small) read() {
	for i := len(s.sent); i < len(s.wal); i++ {
		clear(s.line.described) // each transaction tells all of its tables, so that none depends on what came before
		tx, err := s.line.read(&s.wal[i])
		require.NoError(s.t, err, s.at("decode"))
		s.sent = append(s.sent, tx)
	}
}

// act has the Core say what is to be done, and does what is to be done at once.
func (s *small) act() {
	for s.core != nil {
		s.do(s.core.Next(s.now))
		if !s.atOnce() {
			s.end()
			return
		}
	}
}

// atOnce does one thing that has no choice of when. It reports false when there is none.
func (s *small) atOnce() bool {
	if s.flight.persist != nil && !s.mayDie() {
		s.advancePersist()
		s.hearPersist(false)
		return true
	}
	if i := slices.IndexFunc(s.flight.scans, s.empty); i >= 0 {
		s.advanceScan(i)
		s.hearScan(i)
		return true
	}
	if s.plan.swift == "" {
		return false
	}
	all := s.choices()
	i := slices.IndexFunc(all, func(c choice) bool { return strings.IndexByte(s.plan.swift, c.what) >= 0 })
	if i >= 0 {
		s.say("  at once ", all[i])
		s.perform(all[i])
	}
	return i >= 0
}

// empty scans are those of what has no leaf where there is no such row: they read nothing, and are taken in at once. This leaves
// ways out in which such a scan is all that is under way; the world of orphans has them.
func (s *small) empty(f scanFlight) bool { return f.unit == applier.NoLeaf && !s.plan.orphans }

// do takes the Core's commands in.
func (s *small) do(cmds []applier.Command) {
	for _, c := range cmds {
		switch c := c.(type) {
		case applier.Write:
			s.checkWrite(c)
			require.Nil(s.t, s.flight.write, s.at("two writes at a time"))
			s.flight.write = &writeFlight{cmd: c, sent: s.now}
		case applier.StartScan:
			s.scans++
			s.checkScans()
			s.flight.scans = append(s.flight.scans, scanFlight{unit: c.Unit})
		case applier.Persist:
			s.checkCheckpoint(c.Checkpoint)
			require.Nil(s.t, s.flight.persist, s.at("two checkpoints at a time"))
			s.flight.persist = &persistFlight{cp: c.Checkpoint}
		case applier.SetMarker:
			if c.Set {
				s.checkMaySet()
				require.False(s.t, c.Until.IsZero(), s.at("a command to set the marker that never comes too late"))
			}
			require.Nil(s.t, s.flight.marker, s.at("two writes of the marker at a time"))
			s.flight.marker = &markerFlight{cmd: c}
		case applier.Acknowledge:
			s.acknowledge(c)
		}
	}
}

// deliverOne hands the Core the next transaction of the stream.
func (s *small) deliverOne() {
	i := s.next
	s.next++
	s.notice(&s.wal[i])
	s.truth.advance(s.wal, s.next)
	tx := s.sent[i : i+1]
	s.core.Transactions(s.now, tx)
	s.checkBooks(tx)
}

// settle lets everything go on until the daemon is at rest, without a choice. It reports false when that does not come.
func (s *small) settle(actors bool) bool {
	for range 60 {
		for steps := 0; ; steps++ {
			require.Less(s.t, steps, 1000, s.at("it goes on and on"))
			all := s.choices()
			i := slices.IndexFunc(all, func(c choice) bool { return c.certain() && (actors || c.what != byActor) })
			if i < 0 {
				break
			}
			s.say("    ", all[i])
			s.step(all[i])
		}
		if s.core != nil && s.atRest() && s.flight.empty() && (!actors || s.waiting() == "") {
			return true
		}
		s.say("    ", choice{what: timePasses})
		s.now = s.now.Add(quantum)
		s.act()
		s.check()
	}
	return false
}

// say tells what comes, if somebody wants to know.
func (s *small) say(indent string, c choice) {
	if s.told != nil {
		s.told(fmt.Sprintf("%s%-3s %s", indent, c, s.tell(c)))
	}
}

// waiting names an actor that has steps left.
func (s *small) waiting() string {
	for i, a := range s.plan.actors {
		if s.place[i] < len(a.steps) && !a.maybe {
			return a.name
		}
	}
	return ""
}

// check is what holds in every state.
func (s *small) check() {
	if s.plan.always != nil {
		s.plan.always(s)
	}
	if s.core == nil {
		return
	}
	for _, g := range s.plan.groups {
		s.checkGroup(g)
	}
	s.core.TablesUnchanged(s.now.Add(1))
	st := s.core.Status(s.now)
	if !s.poisoned && st.AuditMismatches+st.Rescans+st.PruneMismatches > 0 {
		require.Fail(s.t, s.at("the books were found wrong: %d audits, %d rescans, %d prunes", st.AuditMismatches, st.Rescans, st.PruneMismatches))
	}
	s.core.Notices()
	if f := s.flight.marker; f == nil || f.cmd.Set { // else it is being cleared
		s.checkHonest()
	}
}

// checkCheckpoint: what would be stored is what the WAL says at its position.
func (s *small) checkCheckpoint(cp applier.Checkpoint) {
	if s.poisoned {
		return
	}
	for _, g := range s.plan.groups {
		c := s.books[g]
		if s.stored == nil {
			c = counter.Cell{}
		}
		for h := range cp.Groups.All() {
			if h.Group == g {
				c = h.Cell
			}
		}
		if want := s.truth.cell(g); !c.Equal(&want) {
			require.Fail(s.t, s.at("the checkpoint of %s: %s", g, fmt.Sprint(c, " and not ", want)))
		}
	}
}
