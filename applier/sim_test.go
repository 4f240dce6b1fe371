package applier

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/decoder"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "replay this one seed of the simulation")
	simSeeds = flag.Uint64("sim.seeds", 250, "how many seeds the simulation tries")
)

// sim drives one Core after another against a world, through crashes.
type sim struct {
	*world
	t    *testing.T
	core *Core
	cfg  Config

	next     int           // next WAL entry to deliver
	acked    pglogrepl.LSN // what the server would resend from
	stored   *stored
	session  int
	pending  []func() // commands under way, in no order but writes among themselves
	writes   []func()
	scanned  map[int32]int // scans taken in by this session
	ownSent  uint64        // newest token of this session that may be in the WAL
	ownSeen  uint64        // newest one delivered to the Core
	crashes  int
	steps    int
	due      time.Time // when the Core asked to be called
	resumed  bool
	stalled  bool // the stream delivers nothing
	restless bool // uncounted writers, poison, foreign markers
}

type stored struct {
	position  pglogrepl.LSN
	cells     Cells
	unseen    []uint64
	uncounted map[string]Uncounted
}

func newSim(t *testing.T, seed uint64) *sim {
	t.Helper()
	s := &sim{t: t, world: newWorld(seed), restless: true}
	s.start()
	return s
}

func (s *sim) start() {
	s.session++
	s.cfg = Config{
		Instance: fmt.Sprint("i", s.session), Leaves: worldLeaves, HasMarker: true, Trust: TrustLive,
		QuietPeriod: time.Minute, MaxStaleness: 400 * time.Millisecond, FlushInterval: 20 * time.Millisecond,
		CheckpointInterval: 150 * time.Millisecond, AuditInterval: time.Second, JournalSize: 64,
	}
	st := Start{Snapshot: s.snapshot(), MarkerSet: s.mark}
	s.resumed = s.stored != nil
	if s.resumed {
		st.Position, st.Unseen, st.Uncounted = s.stored.position, s.stored.unseen, s.stored.uncounted
		st.Cells = make(Cells)
		maps.Copy(st.Cells, s.stored.cells)
		// The server resends from what was acknowledged; what the checkpoint has is skipped by us.
		s.next = 0
		for s.next < len(s.wal) && s.wal[s.next].End <= s.acked {
			s.next++
		}
	} else {
		// A new slot waits for all that run, so what is committed before it is visible.
		s.rest()
		s.next = len(s.wal)
		st.Position = s.lsn
	}
	s.pending, s.writes, s.scanned = nil, nil, make(map[int32]int)
	s.ownSent, s.ownSeen = 0, 0
	core, err := New(s.cfg, st, s.now)
	require.NoError(s.t, err)
	s.core = core
	s.drive()
}

// crash forgets everything but what was stored. Each command under way happens or does not.
func (s *sim) crash() {
	s.crashes++
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
	s.run(s.core.Next(s.now))
	s.due = s.core.Deadline(s.now)
}

func (s *sim) run(cmds []Command) {
	core, session := s.core, s.session
	alive := func() bool { return session == s.session }
	for _, c := range cmds {
		switch c := c.(type) {
		case Write:
			s.checkWrite(c)
			s.writes = append(s.writes, func() { s.write(core, c, alive) })
		case StartScan:
			s.pending = append(s.pending, s.scanning(core, c, alive))
		case Persist:
			s.pending = append(s.pending, func() { s.persist(core, c.Checkpoint, alive) })
		case SetMarker:
			if c.Set {
				s.checkMaySet()
			}
			s.writes = append(s.writes, func() { s.setMarker(core, c, alive) })
		case Acknowledge:
			require.NotNil(s.t, s.stored, s.at("acknowledged %s before anything was persisted", c.Position))
			require.LessOrEqual(s.t, c.Position, s.stored.position, s.at("acknowledged more than was persisted"))
			s.acked = c.Position
		}
	}
}

func (s *sim) at(format string, args ...any) string {
	return fmt.Sprintf("step %d, session %d: ", s.steps, s.session) + fmt.Sprintf(format, args...)
}

// checkWrite: no correction before every token that may be on its way has come back.
func (s *sim) checkWrite(c Write) {
	if len(c.Chunks) == 0 {
		return
	}
	require.NotZero(s.t, s.ownSeen, s.at("a correction before the first token"))
	require.Equal(s.t, s.ownSent, s.ownSeen, s.at("a correction while a token is on its way"))
}

// checkMaySet: every unit agreed with a scan taken after its books were filled.
func (s *sim) checkMaySet() {
	want := 2
	if s.resumed {
		want = 1
	}
	for _, u := range append([]int32{NoLeaf}, worldLeaves...) {
		require.GreaterOrEqual(s.t, s.scanned[u], want, s.at("marker set, but unit %d was not audited", u))
	}
}

// write is the writer's half: each chunk a transaction of its own, then the token.
func (s *sim) write(core *Core, c Write, alive func() bool) {
	r := WriteResult{Seq: c.Seq, Sent: s.now, Server: s.now}
	snap := s.snapshot()
	if slices.ContainsFunc(c.Unproven, func(x uint64) bool { return !snap.Sees(x) }) {
		r.Hidden, c.Chunks = true, nil
	}
	token := decoder.Token{Content: Token(core.cfg.Instance, c.Seq)}
	for _, chunk := range c.Chunks {
		t := s.begin()
		t.tokens = []decoder.Token{token}
		for _, k := range chunk.Corrections {
			have, ok := s.count[k.Group]
			switch {
			case k.Delta > 0:
				t.counters[k.Group] = new(have + k.Delta)
			case ok:
				t.counters[k.Group] = new(max(0, have+k.Delta))
			}
		}
		if s.rng.IntN(10) == 0 || !s.admit(t) {
			for _, k := range chunk.Corrections {
				r.Deferred = append(r.Deferred, k.Group)
			}
			continue
		}
		s.commit(t)
		s.show(t)
		r.Written += len(chunk.Corrections)
	}
	if s.rng.IntN(40) == 0 {
		r.Err = errors.New("connection lost")
	}
	if r.Err == nil || s.rng.IntN(2) == 0 { // unknown outcome: written or not
		t := s.begin()
		t.tokens = []decoder.Token{{Content: Token(core.cfg.Instance, c.Seq)}}
		s.admit(t)
		r.Snapshot, r.Marker = s.snapshot(), s.mark
		s.commit(t)
		s.show(t)
	}
	if alive() {
		if r.Err == nil {
			s.ownSent = c.Seq
		} else {
			s.ownSeen = 0 // the books have to see a new token first
		}
		core.Written(s.now, r)
		s.drive()
	}
}

func (s *sim) scanning(core *Core, c StartScan, alive func() bool) func() {
	scan, ok := s.scan(c.Unit) // the snapshot is taken now, the result comes later
	return func() {
		if !alive() {
			return
		}
		if !ok {
			core.Scanned(s.now, c.Unit, Scan{}, errors.New("lock timeout"))
			s.drive()
			return
		}
		scan.Bound = s.lsn
		s.scanned[c.Unit]++
		core.Scanned(s.now, c.Unit, scan, nil)
		s.drive()
	}
}

func (s *sim) persist(core *Core, cp Checkpoint, alive func() bool) {
	if s.stored == nil {
		s.stored = &stored{cells: make(Cells), uncounted: make(map[string]Uncounted)}
	}
	require.Equal(s.t, s.stored.position, cp.Before, s.at("checkpoint out of order"))
	for g, c := range cp.Cells {
		if c.Empty() {
			delete(s.stored.cells, g)
		} else {
			s.stored.cells[g] = c
		}
	}
	maps.Copy(s.stored.uncounted, cp.Uncounted)
	s.stored.position, s.stored.unseen = cp.Position, cp.Unseen
	if alive() {
		s.run(core.Persisted(s.now, nil))
		s.drive()
	}
}

func (s *sim) setMarker(core *Core, c SetMarker, alive func() bool) {
	t := s.begin()
	t.tokens = []decoder.Token{{Content: Token(core.cfg.Instance, c.Seq)}}
	t.mark = new(c.Set)
	var err error
	if s.admit(t) {
		s.commit(t)
		s.show(t)
	} else {
		err = errors.New("lock timeout")
	}
	if alive() {
		core.MarkerWritten(s.now, err)
		s.drive()
	}
}

// deliver hands the Core some of the WAL, or a keepalive when there is none left.
func (s *sim) deliver(most int) {
	from := s.next
	for s.next < len(s.wal) && s.next-from < most {
		for _, tok := range s.wal[s.next].Tokens {
			if instance, seq, _ := ParseToken(tok.Content); instance == s.cfg.Instance && seq == s.core.tokens.awaited {
				s.ownSeen = seq
			}
		}
		s.next++
	}
	if s.next > from {
		s.core.Transactions(s.now, s.wal[from:s.next])
	} else {
		s.core.Idle(s.now, s.lsn)
	}
	s.drive()
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
		if !s.stalled {
			s.deliver(1 + s.rng.IntN(4))
		}
	case k < 98:
		s.answer()
	case k < 99 && crashes:
		s.crash()
	default:
	}
	if !s.now.Before(s.due) {
		s.drive()
	}
	s.checkHonest()
}

// checkHonest is promise P2 and P3: while the marker stands by our doing, no drift is older than
// the bound. A marker that somebody else set, or that a dead session left, is ours to clear only
// once we hear of it.
func (s *sim) checkHonest() {
	m := &s.core.marker
	if !s.mark || !m.set || m.busy || m.reason != "" || len(s.writes) > 0 {
		return
	}
	for g, d := range s.drifts() {
		if d == 0 {
			continue
		}
		age := s.now.Sub(s.driftAt[g])
		require.LessOrEqual(s.t, age, s.cfg.MaxStaleness, s.at("trusted, but %s has been off by %d for %s", g, d, age))
	}
}

// quiesce stops the writers and waits for promise P1.
func (s *sim) quiesce() {
	s.rest()
	for range 4000 {
		s.now = s.now.Add(5 * time.Millisecond)
		s.deliver(8)
		s.answer()
		s.answer()
		if len(s.core.books.drifting) == 0 && s.next == len(s.wal) && !s.core.tokens.busy() &&
			s.core.audited() && !s.core.scans.auditing && s.mark {
			break
		}
	}
	for g, d := range s.drifts() {
		require.Zero(s.t, d, s.at("at rest, %s is off", g))
	}
	for _, u := range s.core.books.units {
		require.True(s.t, u.settled(), s.at("at rest, a slot is not settled: %s", s.core.doubt(s.now)))
		for g, c := range u.main.cells {
			require.Equal(s.t, s.rows[g], c.Rows, s.at("rows of %s in the books", g))
			require.Equal(s.t, s.count[g], c.Counter, s.at("counter of %s in the books", g))
		}
	}
	require.True(s.t, s.mark, s.at("at rest, the marker is not set: %s", s.core.doubt(s.now)))
	require.Zero(s.t, s.core.totals.AuditMismatches, s.at("an audit found the books wrong"))
	require.Zero(s.t, s.core.totals.Rescans, s.at("the books had to be thrown away"))
}

func eachSeed(t *testing.T, f func(t *testing.T, seed uint64)) {
	t.Helper()
	if *simSeed != 0 {
		f(t, *simSeed)
		return
	}
	for seed := uint64(1); seed <= *simSeeds; seed++ {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) { f(t, seed) })
		if !ok {
			t.Fatalf("replay: go test ./applier -run %s -sim.seed=%d", t.Name(), seed)
		}
	}
}

func TestSimulation(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		s := newSim(t, seed)
		for range 3000 {
			s.step(true)
		}
		s.quiesce()
	})
}

// Without crashes the sessions live long enough for audits to run beside the writers.
func TestSimulationLongSession(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		s := newSim(t, seed)
		for range 3000 {
			s.step(false)
		}
		s.quiesce()
		require.Positive(t, s.core.totals.Audits)
	})
}

// A fleet that counts everything is no uncounted writer, and gets no correction.
func TestSimulationCountedFleet(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		s := newSim(t, seed)
		s.restless = false
		for range 1500 {
			s.step(true)
		}
		s.quiesce()
		require.Zero(t, s.core.totals.Corrections, s.at("corrected what was counted"))
		require.Zero(t, s.core.uncounted.total, s.at("a counted write passed for an uncounted one"))
	})
}

// The stream stalls while uncounted writers go on: the marker has to fall in time.
func TestSimulationStalledStream(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		s := newSim(t, seed)
		for range 4 {
			s.stalled = false
			for range 400 {
				s.step(false)
			}
			s.stalled = true
			for range 400 {
				s.step(false)
			}
			require.False(t, s.core.marker.set && s.core.marker.reason == "", s.at("still trusted"))
		}
		s.stalled = false
		s.quiesce()
	})
}
