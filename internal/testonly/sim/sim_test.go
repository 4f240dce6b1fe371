package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/corrections"
)

// sim drives one session after another against a world, through crashes. A session is what
// internal/daemon makes of one: a wire, a Writer and a Core.
type sim struct {
	*world
	t      tester
	seed   uint64
	core   *applier.Core // nil while a session is refused
	cfg    applier.Config
	wire   *wire
	writer *corrections.Writer
	leader string // the instance in the leader's row

	next      int           // next WAL record to deliver
	confirmed pglogrepl.LSN // of the slot
	stored    *checkpoint.Stored
	identity  checkpoint.Identity // of this session
	broken    string
	session   int
	pending   []func() // commands under way, in no order but writes among themselves
	writes    []func()
	scanned   map[int32]int // scans taken in by this session
	scans     int           // scans under way
	steps     int
	due       time.Time // when the Core asked to be called
	looked    time.Time // by the monitor
	resumed   bool
	deaf      bool // the stream delivers nothing
	restless  bool // uncounted writers, poison, foreign markers
	finishing bool // awa-counterd finish is running
	held      bool // and has been told that no correction comes any more
	eaten     bool // a trigger takes corrections away

	// What must come back before the next correction: the last token that may be in the WAL, and the
	// newest one delivered.
	awaited, seen uint64
	markerAt      time.Time // a write of the marker failed last
	truth         truth
	poison        map[counter.Group]int64 // by how much the stored books were falsified
	poisoned      bool
	planted       int // prunes that folded less than there was, on purpose

	// What outlives a checkpoint: cells by group, and who wrote uncounted.
	books   map[counter.Group]counter.Cell
	history map[applier.Source]applier.Uncounted
}

// tester is told of what is wrong: a *testing.T, or whoever wants to know how it came about.
type tester interface {
	require.TestingT
	Fatalf(format string, args ...any)
}

func newSim(t tester, seed uint64, form shape) *sim {
	return &sim{
		t: t, seed: seed, world: newWorld(seed, form), restless: true,
		poison: make(map[counter.Group]int64), history: make(map[applier.Source]applier.Uncounted),
	}
}

const bound = 400 * time.Millisecond

// crash forgets everything but what was stored. Each command under way happens or does not.
func (s *sim) crash() {
	for _, w := range s.writes { // these are one connection: a prefix of them happens
		if s.rng.IntN(2) == 0 {
			break
		}
		w()
	}
	for _, p := range s.pending {
		if s.rng.IntN(2) == 0 {
			p()
		}
	}
	s.start()
}

func (s *sim) drive() {
	if s.core == nil {
		return
	}
	s.run(s.core.Next(s.now))
	s.due = s.core.Deadline(s.now)
}

func (s *sim) run(cmds []applier.Command) {
	core, session := s.core, s.session
	alive := func() bool { return session == s.session && s.core == core }
	for _, c := range cmds {
		switch c := c.(type) {
		case applier.Write:
			s.checkWrite(c)
			s.writes = append(s.writes, s.write(core, c, alive))
		case applier.StartScan:
			s.scans++
			s.checkScans()
			s.pending = append(s.pending, s.scanning(core, c, alive))
		case applier.Persist:
			s.pending = append(s.pending, func() { s.persist(core, c.Checkpoint, alive) })
		case applier.SetMarker:
			if c.Set {
				s.checkMaySet()
			}
			s.writes = append(s.writes, s.setMarker(core, c, alive))
		case applier.Acknowledge:
			s.acknowledge(c)
		}
	}
}

func (s *sim) acknowledge(c applier.Acknowledge) {
	require.NotNil(s.t, s.stored, s.at("acknowledged %s before anything was persisted", c.Position))
	require.LessOrEqual(s.t, c.Position, s.stored.Position, s.at("acknowledged more than was persisted"))
	s.confirmed = max(s.confirmed, c.Position)
}

func (s *sim) at(format string, args ...any) string {
	return fmt.Sprintf("step %d, session %d: ", s.steps, s.session) + fmt.Sprintf(format, args...)
}

// write is the Writer's half. An answer may get lost, whatever became of the write.
func (s *sim) write(core *applier.Core, c applier.Write, alive func() bool) func() {
	w := s.writer
	return func() {
		r, err := w.Write(context.Background(), c, "")
		if err != nil {
			require.ErrorIs(s.t, err, corrections.ErrNotLeading)
			return
		}
		r.Sent = s.now
		if s.rng.IntN(40) == 0 {
			r = applier.WriteResult{Seq: c.Seq, Err: errors.New("no answer")}
		}
		if !alive() {
			return
		}
		if s.awaited = c.Seq; r.Err != nil {
			s.seen = 0 // the books have to see a new token first
		}
		core.Written(s.now, r)
		s.drive()
	}
}

func (s *sim) scanning(core *applier.Core, c applier.StartScan, alive func() bool) func() {
	scan, ok := s.scan(c.Unit) // the snapshot is taken now, the result comes later
	return func() {
		if !alive() {
			return
		}
		s.scans--
		if !ok {
			core.Scanned(s.now, c.Unit, applier.Scan{}, errors.New("lock timeout"))
			s.drive()
			return
		}
		scan.Bound = s.lsn
		s.scanned[c.Unit]++
		core.Scanned(s.now, c.Unit, scan, nil)
		s.drive()
	}
}

func (s *sim) persist(core *applier.Core, cp applier.Checkpoint, alive func() bool) {
	if !alive() && s.leader != s.cfg.Instance {
		return
	}
	s.store(cp)
	if alive() {
		core.Persisted(s.now, nil)
		s.drive()
	}
}

func (s *sim) store(cp applier.Checkpoint) {
	var before pglogrepl.LSN
	if s.stored == nil {
		s.books = make(map[counter.Group]counter.Cell)
	} else {
		before = s.stored.Position
	}
	require.Equal(s.t, before, cp.Before, s.at("checkpoint out of order"))
	for h := range cp.Groups.All() {
		if h.Empty() {
			delete(s.books, h.Group)
		} else {
			s.books[h.Group] = h.Cell
		}
	}
	maps.Copy(s.history, cp.Uncounted)
	s.stored = &checkpoint.Stored{Identity: s.identity, Position: cp.Position, Unseen: cp.Unseen, Pruned: cp.Pruned, Quiet: cp.Quiet}
}

func (s *sim) setMarker(core *applier.Core, c applier.SetMarker, alive func() bool) func() {
	w := s.writer
	require.True(s.t, !c.Set || !c.Until.IsZero(), s.at("a command to set the marker that never comes too late"))
	return func() {
		err := w.SetMarker(context.Background(), c)
		if err != nil {
			s.markerAt = s.now
		}
		if alive() {
			core.MarkerWritten(s.now, err)
			s.drive()
		}
	}
}

// deliver hands the Core some of the WAL, or a keepalive when there is none left.
func (s *sim) deliver(most int) {
	if s.core == nil {
		return
	}
	var txs []decoder.Tx
	for ; s.next < len(s.wal) && len(txs) < most; s.next++ {
		r := &s.wal[s.next]
		tx, err := s.wire.read(r)
		require.NoError(s.t, err, s.at("decode"))
		txs = append(txs, tx)
		s.notice(r)
	}
	s.truth.advance(s.wal, s.next)
	if len(txs) > 0 {
		s.core.Transactions(s.now, txs)
		s.checkBooks(txs)
	} else {
		s.core.Idle(s.now, s.lsn)
	}
	s.drive()
}

// notice follows which token of this session has come back.
func (s *sim) notice(r *record) {
	for _, tok := range r.tokens {
		if instance, seq, _ := applier.ParseToken(tok.Content); instance == s.cfg.Instance && len(r.counters) == 0 && r.mark == nil {
			s.seen = max(s.seen, seq)
		}
	}
}

// answer carries out one command under way.
func (s *sim) answer() {
	queues := []*[]func(){&s.writes, &s.pending}
	q := queues[s.rng.IntN(2)]
	if len(*q) == 0 {
		return
	}
	i := 0
	if q == &s.pending {
		i = s.rng.IntN(len(*q))
	}
	f := (*q)[i]
	*q = append((*q)[:i:i], (*q)[i+1:]...)
	f()
}

func (s *sim) step(crashes bool) {
	s.steps++
	switch k := s.rng.IntN(100); {
	case k < 45:
		s.world.step(s.restless)
	case k < 70:
		if !s.deaf {
			s.deliver(1 + s.rng.IntN(4))
		}
	case k < 98:
		s.answer()
	case k < 99 && crashes:
		s.crash()
	default:
	}
	if s.now.Sub(s.looked) > 300*time.Millisecond {
		s.monitor()
	}
	if !s.now.Before(s.due) {
		s.drive()
	}
	s.checkHonest()
}

// monitor is internal/daemon's: it ends a session whose publication is not what it was, and tries again
// what was refused.
func (s *sim) monitor() {
	s.looked = s.now
	switch {
	case s.core == nil:
		s.start()
	case !s.published(), s.identity.PublicationState != fmt.Sprint(s.altered):
		s.crash()
	default:
		s.core.TablesUnchanged(s.now)
	}
}
