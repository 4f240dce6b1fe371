package sim

import (
	"fmt"
	"maps"

	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/terminal"
)

// truth is what the WAL says of rows and counters, up to what was delivered.
type truth struct {
	cells map[terminal.Group]terminal.Cell
	next  int // WAL record
}

func (t *truth) rewind(wal []record, position pglogrepl.LSN) {
	t.cells = make(map[terminal.Group]terminal.Cell)
	t.next = 0
	for t.next < len(wal) && wal[t.next].End <= position {
		t.apply(&wal[t.next])
		t.next++
	}
}

// advance goes on to where the stream is, also over what was not sent.
func (t *truth) advance(wal []record, next int) {
	for ; t.next < next; t.next++ {
		t.apply(&wal[t.next])
	}
}

func (t *truth) apply(r *record) {
	for _, s := range r.Effect.Truncated {
		for g, c := range t.cells {
			if g.Slot == s {
				c.Rows = 0
				t.cells[g] = c
			}
		}
	}
	for _, ch := range r.Effect.Rows {
		c := t.cells[ch.Group]
		c.Rows += ch.N
		t.cells[ch.Group] = c
	}
	if r.Effect.CountersReset {
		for g, c := range t.cells {
			t.cells[g] = terminal.Cell{Rows: c.Rows}
		}
	}
	for _, ch := range r.Effect.Counters {
		c := t.cells[ch.Group]
		c.Counter, c.HasRow = ch.Value, true
		if ch.Gone {
			c.Counter, c.HasRow = 0, false
		}
		t.cells[ch.Group] = c
	}
}

// checkBooks: where the books can be acted on, they are what the WAL says, exactly, or off by what
// somebody did to the stored ones; and never below 0.
func (s *sim) checkBooks(txs []decoder.Tx) {
	if s.wal[s.next-1].End > s.core.Position() || s.viaRootSince(txs) || s.identity.PublicationState != fmt.Sprint(s.altered) {
		return // these came again, or were sent in part; that is for the monitor to find out
	}
	check := func(g terminal.Group) {
		got, settled := s.core.Cell(g)
		if !settled {
			delete(s.poison, g)
			return
		}
		want := s.truth.cells[g]
		if off, ok := s.poison[g]; ok {
			if got == want {
				delete(s.poison, g)
				return
			}
			want.Rows += off
		}
		require.Equal(s.t, want, got, s.at("the books of %s", g))
		require.GreaterOrEqual(s.t, got.Rows, int64(0), s.at("the books of %s are acted on below 0", g))
	}
	for i := range txs {
		for _, c := range txs[i].Effect.Rows {
			check(c.Group)
		}
		for _, c := range txs[i].Effect.Counters {
			check(c.Group)
		}
	}
}

func (s *sim) viaRootSince(txs []decoder.Tx) bool {
	for i := s.next - len(txs); i < s.next; i++ {
		if s.wal[i].viaRoot {
			return true
		}
	}
	return s.viaRoot
}

// checkWrite: no correction before every token that may be on its way has come back.
func (s *sim) checkWrite(c applier.Write) {
	if len(c.Chunks) == 0 {
		return
	}
	require.NotZero(s.t, s.seen, s.at("a correction before the first token"))
	require.GreaterOrEqual(s.t, s.seen, s.awaited, s.at("a correction while a token is on its way"))
}

// checkMaySet: every unit agreed with a scan taken after its books were filled.
func (s *sim) checkMaySet() {
	want := 2
	if s.resumed {
		want = 1
	}
	for _, u := range append([]int32{applier.NoLeaf}, worldLeaves...) {
		require.GreaterOrEqual(s.t, s.scanned[u], want, s.at("marker set, but unit %d was not audited", u))
	}
}

// checkHonest is promise P2 and P3: while the marker stands by our doing, no drift is older than the
// bound. A marker that somebody else set, or that a dead session left, is ours to clear only once we
// hear of it.
func (s *sim) checkHonest() {
	if !s.mark || s.core == nil || !s.core.MarkerSet() || len(s.writes) > 0 {
		return
	}
	if s.core.Status(s.now).Reason != "" && s.now.Sub(s.markerAt) < bound/2 {
		return // it is being cleared; a lock is in the way
	}
	for g, d := range s.drifts() {
		if d == 0 {
			continue
		}
		age := s.now.Sub(s.driftAt[g])
		require.LessOrEqual(s.t, age, bound, s.at("trusted, but %s has been off by %d for %s", g, d, age))
	}
}

// quiesce stops the writers and waits for promise P1.
func (s *sim) quiesce() {
	s.rest()
	s.stalled, s.deaf = false, false
	if s.viaRoot {
		s.viaRoot = false
		s.altered++
	}
	for range 4000 {
		s.now = s.now.Add(5e6)
		if s.now.Sub(s.looked) > 3e8 {
			s.monitor()
			s.rest() // a new slot has let writers in again
		}
		if s.core == nil {
			continue
		}
		s.deliver(8)
		s.answer()
		s.answer()
		if st := s.core.Status(s.now); st.DriftGroups == 0 && s.next == len(s.wal) && st.Reason == "" && !st.Auditing && s.mark && len(s.writes) == 0 &&
			s.identity.PublicationState == fmt.Sprint(s.altered) {
			break
		}
	}
	require.NotNil(s.t, s.core, s.at("refused at rest"))
	for g, d := range s.drifts() {
		require.Zero(s.t, d, s.at("at rest, %s is off", g))
	}
	all := maps.Clone(s.rows)
	maps.Copy(all, s.count)
	for g := range all {
		got, settled := s.core.Cell(g)
		require.True(s.t, settled, s.at("at rest, %s is not settled", g))
		require.Equal(s.t, s.rows[g], got.Rows, s.at("rows of %s in the books", g))
		require.Equal(s.t, s.count[g], got.Counter, s.at("counter of %s in the books", g))
	}
	st := s.core.Status(s.now)
	require.True(s.t, s.mark, s.at("at rest, the marker is not set: %s", st.Reason))
	if !s.poisoned {
		require.Zero(s.t, st.AuditMismatches, s.at("an audit found the books wrong"))
		require.Zero(s.t, st.Rescans, s.at("the books had to be thrown away"))
	}
}
