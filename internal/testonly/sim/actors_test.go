package sim

import (
	"maps"
	"slices"

	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// actor does its steps one after the other.
type actor struct {
	name  string
	steps []actorStep
	maybe bool // it may never get to do its steps
}

type actorStep struct {
	name string
	may  func(s *small, i int) bool // nil: always
	do   func(s *small, i int)
}

// transaction is what an actor does at once: built when it begins, from what is visible then.
type transaction func(s *small) *worldTx

// locking are transactions that hold locks which others want, or that look at what is there: begun, committed to the WAL, and
// visible some time later.
func locking(name string, all ...transaction) actor {
	a := actor{name: name}
	for _, build := range all {
		a.steps = append(a.steps,
			actorStep{"begins", func(s *small, _ int) bool { return s.free(build) }, func(s *small, i int) { s.beginTx(i, build) }},
			actorStep{"commits", nil, (*small).commitTx},
			actorStep{"becomes visible", nil, (*small).showTx})
	}
	return a
}

// plain are transactions that write the same whatever is there, and hold no lock against the daemon. Nobody can tell how long
// before its commit such a one began: no snapshot sees it while it runs, and whoever waits for it (a prune, the making of a
// replication slot) might as well have come later. So it begins as it commits.
func plain(name string, all ...transaction) actor {
	a := actor{name: name}
	for _, build := range all {
		a.steps = append(a.steps,
			actorStep{"commits", func(s *small, _ int) bool { return s.free(build) }, func(s *small, i int) {
				s.beginTx(i, build)
				s.commitTx(i)
			}},
			actorStep{"becomes visible", nil, (*small).showTx})
	}
	return a
}

// prompted are transactions that are visible as soon as they are in the WAL.
func prompted(name string, all ...transaction) actor {
	a := actor{name: name}
	for _, build := range all {
		a.steps = append(a.steps, actorStep{"commits, and is visible", func(s *small, _ int) bool { return s.free(build) }, func(s *small, i int) {
			s.beginTx(i, build)
			s.commitTx(i)
			s.showTx(i)
		}})
	}
	return a
}

// free reports that the locks are.
func (s *small) free(build transaction) bool {
	xid := s.xid
	t := build(s)
	s.xid = xid
	return t != nil && !slices.ContainsFunc(s.open, func(o *worldTx) bool { return t.bars(o) || o.bars(t) })
}

func (s *small) beginTx(i int, build transaction) {
	s.txs[i] = build(s)
	s.open = append(s.open, s.txs[i])
}

// commitTx commits a copy: other states have the transaction as it was.
func (s *small) commitTx(i int) {
	t := *s.txs[i]
	s.open[slices.Index(s.open, s.txs[i])] = &t
	s.txs[i] = &t
	s.commit(&t)
}

func (s *small) showTx(i int) {
	s.show(s.txs[i])
	s.txs[i] = nil
}

// bare writes n rows that nobody counts, or takes them away.
func bare(g counter.Group, n int64) transaction {
	return func(s *small) *worldTx {
		t := s.begin()
		t.rows[key{g, 1}] = n
		return t
	}
}

// counted writes n rows and counts them.
func counted(g counter.Group, n int64) transaction {
	return func(s *small) *worldTx {
		t := s.begin()
		k := key{g, 1}
		t.rows[k] = n
		s.count(t, k, n, s.generation[g.Slot])
		return t
	}
}

// pruned empties a slot, as a leader does that counts (fresh) or one that does not.
func pruned(slot int32, fresh bool) transaction {
	return func(s *small) *worldTx {
		t := s.begin()
		s.prune(t, slot, fresh)
		return t
	}
}

func folded(slot int32) transaction {
	return func(s *small) *worldTx {
		t := s.begin()
		s.fold(t, slot)
		return t
	}
}

func rebuilt(s *small) *worldTx {
	t := s.begin()
	s.rebuild(t)
	return t
}

func migrated(s *small) *worldTx {
	t := s.begin()
	s.migrate(t)
	return t
}

// both is one transaction that does what two do.
func both(x, y transaction) transaction {
	return func(s *small) *worldTx {
		t, o := x(s), y(s)
		maps.Copy(t.rows, o.rows)
		maps.Copy(t.pending, o.pending)
		maps.Copy(t.counters, o.counters)
		return t
	}
}

// once is an actor that does one thing, when it may.
func once(name, what string, may func(s *small) bool, do func(s *small)) actor {
	step := actorStep{name: what, do: func(s *small, _ int) { do(s) }}
	if may != nil {
		step.may = func(s *small, _ int) bool { return may(s) }
	}
	return actor{name: name, steps: []actorStep{step}}
}

const stopper = "the supervisor"

// stops asks the daemon to end, and it may be started again afterwards.
func stops() actor {
	return once(stopper, "asks it to stop", (*small).alive, func(s *small) {
		s.now = s.now.Add(1) // later than the last token was sent, by any clock
		s.stop = stop{true, s.lsn, len(s.done.bare) > 0}
		s.core.Stop(s.now)
	})
}

func (s *small) alive() bool { return s.core != nil }

// finishes asks the daemon to hold its corrections back, waits until it says that it does, and lets it go again.
func finishes() actor {
	a := actor{name: "finish"}
	a.steps = []actorStep{
		{"asks it to hold", func(s *small, _ int) bool { return s.alive() }, func(s *small, _ int) {
			s.finishing = true
			s.core.HoldCorrections(true)
		}},
		{"knows that it does", func(s *small, _ int) bool { return s.held }, func(*small, int) {}},
		{"lets it go", func(s *small, _ int) bool { return s.alive() }, func(s *small, _ int) { s.letGo() }},
	}
	return a
}

// movesSlot is an operator who moves the replication slot to the end of the WAL while nobody reads it.
func movesSlot() actor {
	a := once("the operator", "moves the slot", func(s *small) bool { return s.phase == down }, func(s *small) { s.confirmed = s.lsn })
	a.maybe = true
	return a
}

// marks sets or clears the trust marker, as a hand or a standby does.
func marks(set bool) transaction {
	return func(s *small) *worldTx {
		t := s.begin()
		t.mark = new(set)
		return t
	}
}
