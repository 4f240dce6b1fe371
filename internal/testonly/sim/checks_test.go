package sim

import (
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// truth is what the WAL says, up to what was delivered.
type truth struct {
	tables

	next   int       // WAL record
	pruned time.Time // when a pre-#290 leader emptied a ring slot last, as far as this session may know
}

func (t *truth) rewind(wal []record, position pglogrepl.LSN, pruned time.Time) {
	t.tables = newTables()
	for t.next = 0; t.next < len(wal) && wal[t.next].end <= position; t.next++ {
		t.apply(wal[t.next].worldTx)
	}
	t.pruned = pruned
}

// advance goes on to where the stream is, also over what was not sent.
func (t *truth) advance(wal []record, next int) {
	for ; t.next < next; t.next++ {
		r := &wal[t.next]
		t.apply(r.worldTx)
		if r.old && !r.viaRoot.rows && r.at.After(t.pruned) {
			t.pruned = r.at
		}
	}
}

// checkBooks: where the books can be acted on, they are what the WAL says, exactly, or off by what
// somebody did to the stored ones; and never below 0.
func (s *sim) checkBooks(txs []decoder.Tx) {
	if s.wal[s.next-1].end > s.core.Position() || s.viaRootSince(len(txs)) || s.identity.PublicationState != fmt.Sprint(s.altered) {
		return // these came again, or were sent in part; that is for the monitor to find out
	}
	for i := range txs {
		e := &txs[i].Effect
		for _, c := range e.Rows {
			s.checkGroup(c.Group)
		}
		for _, c := range e.Counters {
			s.checkGroup(c.Group)
		}
		for _, c := range e.Pending {
			s.checkGroup(c.Group)
		}
		if len(e.Truncated) > 0 || len(e.LedgerEmptied) > 0 || e.CountersReset {
			for _, g := range s.truth.groups(everywhere) {
				s.checkGroup(g)
			}
		}
	}
}

func (s *sim) checkGroup(g counter.Group) {
	got, settled := s.core.Cell(g)
	if !settled {
		delete(s.poison, g)
		return
	}
	want := s.truth.cell(g)
	if off, ok := s.poison[g]; ok {
		if got.Equal(&want) {
			delete(s.poison, g)
			return
		}
		want.Rows += off
	}
	s.checkEqual(g, want, got)
	if got.Rows < 0 {
		require.Fail(s.t, s.at("the books of %s are acted on below 0", g))
	}
}

// checkEqual compares every contribution, and the sum that the books keep of them.
func (s *sim) checkEqual(g counter.Group, want, got counter.Cell) {
	if !got.Equal(&want) || got.Counter != want.Counter {
		require.Equal(s.t, want, got, s.at("the books of %s", g))
	}
}

func (s *sim) viaRootSince(n int) bool {
	for i := s.next - n; i < s.next; i++ {
		if s.wal[i].viaRoot.any() {
			return true
		}
	}
	return s.viaRoot.any()
}

// checkWrite: no correction before every token that may be on its way has come back.
func (s *sim) checkWrite(c applier.Write) {
	if len(c.Chunks) == 0 {
		return
	}
	require.NotZero(s.t, s.seen, s.at("a correction before the first token"))
	require.GreaterOrEqual(s.t, s.seen, s.awaited, s.at("a correction while a token is on its way"))
	for _, chunk := range c.Chunks {
		require.LessOrEqual(s.t, len(chunk.Corrections), applier.ChunkSize, s.at("a chunk that locks too much"))
	}
}

// checkScans: a scan's snapshot keeps awa up to 0.6.9 from folding, so beside a ledger they come one by one.
func (s *sim) checkScans() {
	most := 2
	if s.shape.HasLedger() {
		most = 1
	}
	require.LessOrEqual(s.t, s.scans, most, s.at("scans crowd each other"))
}

// checkMaySet: every unit agreed with a scan taken after its books were filled.
func (s *sim) checkMaySet() {
	want := 2
	if s.resumed {
		want = 1
	}
	for _, u := range append([]int32{applier.NoLeaf}, s.cfg.Leaves...) {
		require.GreaterOrEqual(s.t, s.scanned[u], want, s.at("marker set, but unit %d was not audited", u))
	}
}

// checkHonest is promise P2 and P3: while the marker stands by our doing, no drift is older than the
// bound. A marker that somebody else set, or that a dead session left, is ours to clear only once we
// hear of it.
func (s *sim) checkHonest() {
	if !s.mark || s.core == nil || !s.core.MarkerSet() || len(s.writes) > 0 || len(s.drifts) == 0 {
		return
	}
	if s.core.Status(s.now).Reason != "" && s.now.Sub(s.markerAt) < bound/2 {
		return // it is being cleared; a lock is in the way
	}
	for g, d := range s.drifts {
		age := s.now.Sub(s.driftAt[g])
		if age > bound {
			require.Fail(s.t, s.at("trusted, but %s has been off by %d for %s", g, d, age))
		}
	}
}

// quiesce stops the writers and waits for promise P1.
func (s *sim) quiesce() {
	s.rest()
	s.stalled, s.deaf = false, false
	if s.viaRoot.any() {
		s.viaRoot = viaRoot{}
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
		if s.atRest() && len(s.writes) == 0 {
			break
		}
	}
	s.checkRest()
}

// atRest reports that the daemon has nothing left to do and says so.
func (s *sim) atRest() bool {
	st := s.core.Status(s.now)
	return st.DriftGroups == 0 && s.next == len(s.wal) && st.Reason == "" && !st.Auditing && s.mark &&
		s.identity.PublicationState == fmt.Sprint(s.altered)
}

// checkRest: every counter is right, the books are the database, and nothing was made of nothing.
func (s *sim) checkRest() {
	require.NotNil(s.t, s.core, s.at("refused at rest"))
	for g, d := range s.drifts {
		require.Zero(s.t, d, s.at("at rest, %s is off", g))
	}
	for _, g := range s.groups(everywhere) {
		got, settled := s.core.Cell(g)
		require.True(s.t, settled, s.at("at rest, %s is not settled", g))
		s.checkEqual(g, s.cell(g), got)
	}
	if s.shape.HasBuckets() {
		for k, v := range s.counters {
			require.False(s.t, k.bucket == ownBucket && v == 0, s.at("our counter row of %s is at 0 and stays", k))
		}
	}
	s.core.TablesUnchanged(s.now.Add(1))
	st := s.core.Status(s.now)
	require.True(s.t, s.mark, s.at("at rest, the marker is not set: %s", st.Reason))
	s.checkBlame(st)
	if s.poisoned {
		return
	}
	require.Zero(s.t, st.AuditMismatches, s.at("an audit found the books wrong"))
	require.Zero(s.t, st.Rescans, s.at("the books had to be thrown away"))
	if s.altered == 0 {
		require.EqualValues(s.t, s.planted, st.PruneMismatches, s.at("prunes that folded another number than there was"))
	}
}

// checkBlame: beside a ledger what is said of old binaries is true. Elsewhere a counting binary may meet a
// counter row that our correction has made, or not made, and leave it wrong.
func (s *sim) checkBlame(st applier.Status) {
	if !s.shape.HasLedger() || s.poisoned {
		return
	}
	for source, u := range st.Uncounted {
		switch source.Kind {
		case applier.KindRows:
			require.LessOrEqual(s.t, u.Rows, s.done.bare[source.Queue], s.at("rows of queue %s that nobody wrote uncounted", source.Queue))
		case applier.KindPrune:
			require.Positive(s.t, s.done.oldPrunes, s.at("a prune of a leader that counts was taken for an old one's"))
		case applier.KindCounter:
		}
	}
	require.True(s.t, st.OldPrune.Equal(s.truth.pruned), s.at("the last prune by an old leader: %s, and said to be %s", s.truth.pruned, st.OldPrune))
}
