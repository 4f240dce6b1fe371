package sim

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"
)

// choice is one thing that may happen next.
type choice struct {
	what byte
	arg  int8
}

// What may happen. Capitals are answers that the Core hears.
const (
	byActor      = 'a' // and which
	byStream     = 'd'
	byWrite      = 'w'
	hearsWrite   = 'W'
	losesWrite   = 'L'
	byMarker     = 'm'
	hearsMarker  = 'M'
	losesMarker  = 'N'
	byPersist    = 'p'
	hearsPersist = 'P'
	losesPersist = 'Q'
	byScan       = 's' // and which
	hearsScan    = 'S'
	timePasses   = 't'
	timeLeaps    = 'T' // past where trust ends
	byGhost      = 'g' // the next statement of what a dead session had sent for the counters
	marksByGhost = 'h' // and for the marker
	crashes      = 'c'
	rises        = 'r'
)

// certain says that it happens sooner or later.
func (c choice) certain() bool { return !strings.ContainsRune("LNQtTc", rune(c.what)) }

func (c choice) String() string {
	switch c.what {
	case byActor, byScan, hearsScan:
		return fmt.Sprintf("%c%d", c.what, c.arg)
	}
	return string(c.what)
}

func parseChoice(text string) choice {
	c := choice{what: text[0]}
	if n, err := strconv.Atoi(text[1:]); err == nil {
		c.arg = int8(n)
	}
	return c
}

func parsePath(text string) (path []choice) {
	for part := range strings.FieldsSeq(text) {
		path = append(path, parseChoice(part))
	}
	return path
}

// choices lists what may happen next.
func (s *small) choices() []choice {
	out := make([]choice, 0, 12)
	may := func(what byte, is bool) {
		if is {
			out = append(out, choice{what: what})
		}
	}
	alive, lose := s.core != nil, s.core != nil && s.left.losses > 0
	may(byStream, alive && s.next < len(s.wal))
	if f := s.flight.write; f != nil {
		may(byWrite, !f.done)
		may(hearsWrite, f.done && alive)
		may(losesWrite, lose && f.at == len(f.cmd.Chunks))
	}
	if f := s.flight.marker; f != nil {
		may(byMarker, !f.done)
		may(hearsMarker, f.done && alive)
		may(losesMarker, f.done && lose)
	}
	if f := s.flight.persist; f != nil {
		may(byPersist, !f.done)
		may(hearsPersist, f.done && alive)
		may(losesPersist, !f.done && lose)
	}
	for i := range s.flight.scans {
		what := byte(byScan)
		if s.flight.scans[i].done {
			what = hearsScan
		}
		out = append(out, choice{what, int8(i)})
	}
	may(byGhost, s.ghost.write != nil)
	may(marksByGhost, s.ghost.marker != nil)
	may(rises, !alive && s.mayRise())
	for i := range s.plan.actors {
		steps := s.plan.actors[i].steps
		if at := s.place[i]; at < len(steps) && (steps[at].may == nil || steps[at].may(s, i)) {
			out = append(out, choice{byActor, int8(i)})
		}
	}
	may(crashes, alive && s.left.crashes > 0)
	may(timePasses, s.left.ticks > 0)
	may(timeLeaps, s.left.leaps > 0 && !s.unheard())
	return out
}

// unheard says that the Core is about to hear of the marker: the server has half of the bound for the statement, and a leap is more.
func (s *small) unheard() bool {
	return s.core != nil && s.flight.marker != nil && s.flight.marker.done
}

// step lets one thing happen, and the Core do what follows from it.
func (s *small) step(c choice) {
	s.steps++
	s.perform(c)
	s.act()
	s.check()
}

func (s *small) perform(c choice) {
	switch c.what {
	case byActor:
		s.plan.actors[c.arg].steps[s.place[c.arg]].do(s, int(c.arg))
		s.place[c.arg]++
	case byStream:
		s.deliverOne()
	case byWrite:
		s.advanceWrite()
	case hearsWrite:
		s.hearWrite(false)
	case losesWrite:
		s.left.losses--
		s.hearWrite(true)
	case byMarker:
		s.advanceMarker()
	case hearsMarker:
		s.hearMarker(false)
	case losesMarker:
		s.left.losses--
		s.hearMarker(true)
	case byPersist:
		s.advancePersist()
	case hearsPersist:
		s.hearPersist(false)
	case losesPersist:
		s.left.losses--
		s.hearPersist(true)
	case byScan:
		s.advanceScan(int(c.arg))
	case hearsScan:
		s.hearScan(int(c.arg))
	case byGhost:
		s.haunt()
	case marksByGhost:
		s.hauntMarker()
	case rises:
		s.rise()
	case crashes:
		s.left.crashes--
		s.die()
	case timePasses:
		s.left.ticks--
		s.now = s.now.Add(quantum)
	case timeLeaps:
		s.left.leaps--
		s.now = s.now.Add(doubtful)
	default:
		require.Fail(s.t, "no such choice")
	}
	s.read()
}

// tell says what a choice is, before it is made.
func (s *small) tell(c choice) string {
	switch c.what {
	case byActor:
		a := &s.plan.actors[c.arg]
		return a.name + " " + a.steps[s.place[c.arg]].name
	case byStream:
		return "the stream delivers " + s.wal[s.next].String()
	case byWrite:
		if f := s.flight.write; f.at < len(f.cmd.Chunks) {
			return fmt.Sprint("the server writes the corrections ", f.cmd.Chunks[f.at].Corrections)
		}
		return "the server writes the token"
	case hearsWrite:
		return "the Core hears of its write"
	case losesWrite:
		return "the Core hears that its token may not have been written"
	case byMarker:
		if s.flight.marker.cmd.Set {
			return "the server sets the marker"
		}
		return "the server clears the marker: " + s.flight.marker.cmd.Reason
	case hearsMarker:
		return "the Core hears of the marker"
	case losesMarker:
		return "the Core hears that the marker may not have been written"
	case byPersist:
		return fmt.Sprintf("the checkpoint at %s is stored", s.flight.persist.cp.Position)
	case hearsPersist:
		return "the Core hears of the checkpoint"
	case losesPersist:
		return "the checkpoint is not stored, and the Core hears that"
	case byScan:
		return fmt.Sprintf("unit %d is scanned", s.flight.scans[c.arg].unit)
	case hearsScan:
		return fmt.Sprintf("the Core hears of the scan of unit %d", s.flight.scans[c.arg].unit)
	case timePasses:
		return "time passes"
	case timeLeaps:
		return "so much time passes that trust ends"
	case byGhost:
		return "what the dead daemon had sent for the counters comes to the server"
	case marksByGhost:
		return "what the dead daemon had sent for the marker comes to the server"
	case crashes:
		return "the daemon dies"
	case rises:
		return [...]string{down: "a session takes the lead", making: "the replication slot is made", made: "it begins"}[s.phase]
	}
	return "?"
}

// String tells what a record is.
func (r *record) String() string {
	var did []string
	for _, t := range r.tokens {
		did = append(did, "token "+t.Content)
	}
	say := func(is bool, what string, args ...any) {
		if is {
			did = append(did, fmt.Sprintf(what, args...))
		}
	}
	say(len(r.truncated) > 0, "truncate %v", r.truncated)
	say(len(r.emptied) > 0, "empty the ledger of %v", r.emptied)
	say(r.reset, "truncate the counters")
	for _, k := range ordered(r.rows, key.compare) {
		say(true, "rows of %s %+d", k, r.rows[k])
	}
	for _, d := range ordered(r.pending, delta.compare) {
		say(true, "pending of %s %+d", d.Group, r.pending[d])
	}
	for _, k := range ordered(r.counters, key.compare) {
		if v := r.counters[k]; v != nil {
			say(true, "counter %s[%d] = %d", k.Group, k.bucket, *v)
		} else {
			say(true, "counter %s[%d] gone", k.Group, k.bucket)
		}
	}
	say(r.mark != nil, "the marker's row")
	return fmt.Sprintf("%d at %s: ", r.xid, r.end) + strings.Join(did, ", ")
}
