package sim

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/corrections"
	"github.com/awa-counterd/awa-counterd/internal/resume"
	"github.com/awa-counterd/awa-counterd/replication"
)

// start begins a session as internal/daemon does: what was found decides between resuming and a new slot.
func (s *sim) start() {
	if !s.claim() {
		return // refused; tried again later
	}
	if !s.resumed {
		s.makeSlot()
	}
	s.openStream()
	s.drive()
}

// claim takes the lead, clears the marker, and looks whether what is there can be resumed from. It reports false when the
// session is refused.
func (s *sim) claim() bool {
	s.session++
	s.leader = fmt.Sprint("i", s.session)
	s.core, s.pending, s.writes, s.scans = nil, nil, nil, 0
	s.looked = s.now
	if s.sql.of != s.shape { // awa has migrated
		s.sql = newDialect(s.shape)
	}
	s.writer = corrections.NewWriter(server{s}, s.sql.Statements, s.leader)
	if s.mark { // the first statement of a session
		_ = s.writer.SetMarker(context.Background(), applier.SetMarker{})
	}
	if !s.published() {
		return false
	}
	s.cfg = applier.Config{
		Instance: s.leader, Leaves: worldLeaves, HasMarker: true, Shape: s.shape.core(), Trust: applier.TrustLive,
		QuietPeriod: time.Minute, MaxStaleness: bound, FlushInterval: 20 * time.Millisecond,
		CheckpointInterval: 150 * time.Millisecond, AuditInterval: time.Second, JournalSize: 40_000,
	}
	s.identity = checkpoint.Identity{
		Slot: "s", Publications: []uint32{1, 2}, PublicationState: fmt.Sprint(s.altered), SystemIdentifier: "1", Timeline: 1,
		Relations: s.shape.layout().OIDs(), Shape: s.shape.layout().Fingerprint(),
	}
	found := resume.Found{
		Stored: s.stored, Identity: s.identity, End: s.lsn, Broken: s.broken, Rows: 1 << 30,
		Slot: &replication.Slot{Name: "s", Plugin: replication.Plugin, Confirmed: s.confirmed, Status: "reserved"},
	}
	s.resumed = resume.RescanReason(found) == ""
	return true
}

// openStream makes the Core of a session whose replication slot is there.
func (s *sim) openStream() {
	st := applier.Start{Uncounted: maps.Clone(s.history)}
	if s.resumed {
		st.Resumes, st.Position, st.Unseen, st.Pruned, st.Quiet = true, s.stored.Position, s.stored.Unseen, s.stored.Pruned, s.stored.Quiet
		for _, g := range slices.SortedFunc(maps.Keys(s.books), counter.Group.Compare) {
			c := s.books[g]
			st.Groups.Add(&counter.GroupCell{Group: g, Cell: c})
		}
	} else {
		s.stored, s.broken = nil, ""
		clear(s.poison)
		st.Position, st.Unseen = s.confirmed, s.snapshot().Unseen(s.xid+1)
	}
	// The server sends again from what was acknowledged; what the checkpoint has is skipped by us.
	for s.next = 0; s.next < len(s.wal) && s.wal[s.next].end <= s.confirmed; {
		s.next++
	}
	s.truth.rewind(s.wal, st.Position, st.Pruned)
	st.Snapshot, st.MarkerSet = s.snapshot(), s.mark
	s.scanned = make(map[int32]int)
	s.awaited, s.seen = 0, 0
	s.wire = newWire(s.shape, s.seed)
	core, err := applier.New(s.cfg, st, s.now)
	require.NoError(s.t, err)
	s.core = core
	s.core.HoldCorrections(s.finishing)
}

// makeSlot waits for every transaction that runs. Others begin meanwhile, and are streamed only when
// they commit after the slot is there; those that did so before need not be visible yet.
func (s *sim) makeSlot() {
	old := len(s.open)
	for range old {
		t := s.open[0]
		if !t.committed {
			s.commit(t)
		}
		s.show(t)
	}
	for range s.rng.IntN(12) {
		s.world.step(s.restless)
	}
	s.confirmed = s.lsn
}

// published is the verdict on the publications as they are.
func (s *sim) published() bool {
	for _, p := range replication.Needed("p", s.shape.layout()) {
		seen := replication.Published{
			OID: 1, ViaRoot: s.viaRoot.rows, Insert: true, Update: !p.AppendOnly, Delete: !p.AppendOnly, Truncate: true, Relations: p.Relations,
		}
		if p.AppendOnly {
			seen.OID, seen.ViaRoot = 2, s.viaRoot.ledger
		}
		if p.Validate(seen) != nil {
			return false
		}
	}
	return true
}
