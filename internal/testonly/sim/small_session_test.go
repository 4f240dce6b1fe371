package sim

import (
	"slices"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"
)

// phase is how far a session has come.
type phase uint8

const (
	up     phase = iota
	down         // it has crashed, or there was none
	making       // a replication slot is being made
	made         // and is there; the first snapshot is yet to be read
)

// stop is a graceful end that was asked for.
type stop struct {
	asked     bool
	at        pglogrepl.LSN // everything before it is to be in the books
	uncounted bool          // somebody wrote uncounted before it
}

// mayDie says that a checkpoint may be asked for. Where it may not, nobody can tell when one was stored: the Core goes on all
// the same meanwhile.
func (s *small) mayDie() bool {
	return s.left.crashes > 0 || (s.mayStop() && !s.stop.asked) || s.stop.asked
}

func (s *small) mayStop() bool {
	return slices.ContainsFunc(s.plan.actors, func(a actor) bool { return a.name == stopper })
}

// die ends the session. What it has asked for may be carried out until the next one takes the lead.
func (s *small) die() {
	s.core, s.phase, s.died = nil, down, s.now
	s.flight.scans, s.scans = nil, 0
	if f := s.flight.write; f != nil && f.done {
		s.flight.write = nil
	}
	if f := s.flight.marker; f != nil && f.done {
		s.flight.marker = nil
	}
	if f := s.flight.persist; f != nil && f.done {
		s.flight.persist = nil
	}
}

// mayRise: a session waits until it can clear the marker; a new replication slot, for whoever ran when it was begun.
func (s *small) mayRise() bool {
	switch s.phase {
	case down:
		return !s.mark || !slices.ContainsFunc(s.open, func(t *worldTx) bool { return t.ring || t.mark != nil })
	case making:
		return !slices.ContainsFunc(s.open, func(t *worldTx) bool { return slices.Contains(s.waits, t.xid) })
	default:
		return true
	}
}

// rise goes on with the start of a session.
func (s *small) rise() {
	switch s.phase {
	case down:
		if s.plan.late {
			s.ghost = ghost{s.leader, s.flight.write, s.flight.marker}
		}
		s.flight = flight{} // fenced from here on
		require.True(s.t, s.claim(), s.at("refused"))
		if s.resumed {
			s.enter()
			return
		}
		s.phase, s.waits = making, nil
		for _, t := range s.open {
			s.waits = append(s.waits, t.xid)
		}
	case making:
		s.confirmed, s.phase, s.waits = s.lsn, made, nil
	case made:
		s.enter()
	}
}

func (s *small) enter() {
	s.cfg.Leaves, s.cfg.FlushInterval, s.cfg.CheckpointInterval = s.plan.leaves, quantum, quantum
	s.cfg.AuditInterval = time.Hour
	if s.plan.journal > 0 {
		s.cfg.JournalSize = s.plan.journal
	}
	s.openStream()
	s.phase = up
}

// end is where a session ends that was asked to.
func (s *small) end() {
	if s.core == nil || !s.core.Stopped(s.now) {
		return
	}
	require.GreaterOrEqual(s.t, s.core.Position(), s.stop.at, s.at("stopped before everything was heard of"))
	for _, g := range s.plan.groups {
		held, stored := s.truth.cell(g), s.books[g]
		require.Zero(s.t, held.Drift(), s.at("stopped before %s was corrected", g))
		require.True(s.t, held.Equal(&stored), s.at("stopped before %s was stored", g))
	}
	require.False(s.t, s.mark && s.stop.uncounted, s.at("stopped, and the marker stands though somebody writes uncounted"))
	s.die()
	s.stop = stop{}
}
