package applier

import (
	"fmt"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/pgsnap"
	"github.com/awa-counterd/awa-counterd/internal/terminal"
)

// journalSize bounds the journal. An entry is some 200 bytes; what matters is the number of
// transactions on awa's tables during the longest scan of one leaf.
const journalSize = 1 << 16

// journal keeps the recent transactions' effects by xid, in commit order, for as long as a snapshot
// still to come might not see them: the server streams a commit a moment before it is visible, and
// much longer before under synchronous replication (docs/design.md §4).
type journal struct {
	entries *simplelru.LRU[uint64, journaled]
	// lost has the transactions whose effect is gone though they may not be visible yet: pushed
	// out of a full journal, or streamed by the process before this one.
	lost map[uint64]struct{}
	seen pgsnap.Snapshot
	size int
}

type journaled struct {
	effect decoder.Effect
	at     moment  // its commit on the server's clock, its arrival on ours
	drifts []drift // what it did to the drifts
	// partial: some unit had no books yet, so that not all it did is in drifts.
	partial bool
}

// drift is a change of one group's drift.
type drift struct {
	terminal.Group
	by int64
}

func newJournal(size int, unseen []uint64) (*journal, error) {
	j := &journal{lost: make(map[uint64]struct{}), size: size}
	for _, x := range unseen {
		j.lost[x] = struct{}{}
	}
	var err error
	j.entries, err = simplelru.NewLRU(size, func(xid uint64, _ journaled) {
		if !j.seen.Sees(xid) {
			j.lost[xid] = struct{}{}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("make the journal: %w", err)
	}
	return j, nil
}

func (j *journal) add(xid uint64, e journaled) {
	delete(j.lost, xid) // streamed after all
	if !j.seen.Sees(xid) {
		j.entries.Add(xid, e)
	}
}

// oldestUnseen returns when the oldest transaction that snap does not see was streamed; zero when
// snap sees them all.
func (j *journal) oldestUnseen(snap pgsnap.Snapshot) time.Time {
	for _, xid := range j.entries.Keys() { // oldest first
		if snap.Sees(xid) {
			continue
		}
		if e, ok := j.entries.Peek(xid); ok {
			return e.at.local
		}
	}
	return time.Time{}
}

// forget lets go of everything that snap sees. Every snapshot taken after snap sees it too, so snap
// must be older than the snapshot of any scan that is still to be taken in.
func (j *journal) forget(snap pgsnap.Snapshot) {
	j.seen = snap
	for _, xid := range j.entries.Keys() {
		if snap.Sees(xid) {
			j.entries.Remove(xid)
		}
	}
	for xid := range j.lost {
		if snap.Sees(xid) {
			delete(j.lost, xid)
		}
	}
}

// missing counts the lost transactions that snap does not see. A scan under snap can be completed
// only when there are none.
func (j *journal) missing(snap pgsnap.Snapshot) int {
	n := 0
	for xid := range j.lost {
		if !snap.Sees(xid) {
			n++
		}
	}
	return n
}

// unseen calls f for each effect that snap does not see, in commit order.
func (j *journal) unseen(snap pgsnap.Snapshot, f func(decoder.Effect)) {
	for _, xid := range j.entries.Keys() { // oldest first
		if snap.Sees(xid) {
			continue
		}
		if e, ok := j.entries.Peek(xid); ok {
			f(e.effect)
		}
	}
}

// ids lists the transactions that may not be visible yet, for the checkpoint: the process that
// resumes from it has no journal of them.
func (j *journal) ids() []uint64 {
	out := j.entries.Keys()
	for xid := range j.lost {
		out = append(out, xid)
	}
	return out
}

func (j *journal) crowded() bool { return j.entries.Len() > j.size/2 }
