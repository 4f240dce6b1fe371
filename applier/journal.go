package applier

import (
	"iter"
	"time"
	"unsafe"

	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pgsnap"
)

// journalSize bounds the journal's memory. What it needs is the transactions on awa's tables during the longest
// scan of one leaf, and some 600 bytes for each: 80 s of 5,000 a second. At other times it is next to empty.
const journalSize = 256 << 20

// journal keeps the recent transactions' effects by xid, in commit order, for as long as a snapshot
// still to come might not see them: the server streams a commit a moment before it is visible, and
// much longer before under synchronous replication (docs/design.md §4). It is no LRU: what is read is not kept for longer, and what goes
// is the oldest commit, by what the entries take of memory and not by how many they are.
type journal struct {
	entries []journalEntry // in commit order
	fresh   int            // those before it are seen by the newest snapshot known, and kept for scans
	bytes   int
	// lost has the transactions whose effect is gone though they may not be visible yet: pushed
	// out of a full journal, or streamed by the process before this one.
	lost   map[uint64]struct{}
	pushed int // how many were pushed out, since lost was empty last
	seen   pgsnap.Snapshot
	size   int
}

type journalEntry struct {
	xid    uint64
	effect decoder.Effect
	at     clocks  // its commit on the server's clock, its arrival on ours
	drifts []drift // what it did to the drifts
	// partial: some unit had no books yet, so that not all it did is in drifts.
	partial bool
}

// drift is a change of one group's drift.
type drift struct {
	counter.Group
	by int64
}

func newJournal(size int, unseen []uint64) *journal {
	j := &journal{lost: make(map[uint64]struct{}, len(unseen)), size: size}
	for _, x := range unseen {
		j.lost[x] = struct{}{}
	}
	return j
}

// weight is about what an entry takes of memory.
func (e *journalEntry) weight() int {
	const group = int(unsafe.Sizeof(decoder.CounterChange{}))
	f := &e.effect
	n := len(f.Rows) + len(f.Pruned) + len(f.Counters) + len(f.Pending) + len(f.Rollups) + len(f.Folded) + len(e.drifts)
	return int(unsafe.Sizeof(*e)) + n*group + 8*(len(f.Truncated)+len(f.LedgerEmptied)+len(f.CountingPrunes))
}

func (j *journal) add(e journalEntry) {
	delete(j.lost, e.xid) // streamed after all
	if j.seen.Sees(e.xid) {
		return
	}
	j.entries = append(j.entries, e)
	j.bytes += e.weight()
	for j.bytes > j.size && len(j.entries) > 1 {
		j.dropOldest()
	}
}

// dropOldest lets go of the oldest entry: the order is that of commits, whoever asks, so a queue is right and an LRU cache would not be.
func (j *journal) dropOldest() {
	e := &j.entries[0]
	j.bytes -= e.weight()
	if !j.seen.Sees(e.xid) {
		j.lost[e.xid] = struct{}{}
		j.pushed++
	}
	*e = journalEntry{}
	j.entries, j.fresh = j.entries[1:], max(j.fresh-1, 0)
}

// observe takes in the newest snapshot: what it did to the drifts is asked of those only that it does not see.
func (j *journal) observe(snap pgsnap.Snapshot) {
	for ; j.fresh < len(j.entries) && snap.Sees(j.entries[j.fresh].xid); j.fresh++ {
		e := &j.entries[j.fresh]
		j.bytes -= e.weight()
		e.drifts = nil
		j.bytes += e.weight()
	}
}

// after yields those that snap does not see, in commit order. It must be no older than the one looked at last.
func (j *journal) after(snap pgsnap.Snapshot) iter.Seq[*journalEntry] {
	return unseenBy(snap, j.entries[j.fresh:])
}

// oldestUnseen returns when the oldest transaction that snap does not see was streamed; zero when
// snap sees them all.
func (j *journal) oldestUnseen(snap pgsnap.Snapshot) time.Time {
	j.observe(snap)
	for e := range j.after(snap) {
		return e.at.local
	}
	return time.Time{}
}

// forget lets go of everything that snap sees. Every snapshot taken after snap sees it too, so snap
// must be older than the snapshot of any scan that is still to be taken in.
func (j *journal) forget(snap pgsnap.Snapshot) {
	j.seen = snap
	kept := make([]journalEntry, 0, min(len(j.entries), 16)) // what a long scan has piled up is given back
	j.bytes, j.fresh = 0, 0
	for e := range unseenBy(snap, j.entries) {
		kept = append(kept, *e)
		j.bytes += e.weight()
	}
	j.entries = kept
	for xid := range j.lost {
		if snap.Sees(xid) {
			delete(j.lost, xid)
		}
	}
	if len(j.lost) == 0 && j.pushed > 0 {
		j.lost, j.pushed = make(map[uint64]struct{}), 0 // a map keeps what it once took
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

// unseen yields those that snap does not see, in commit order.
func (j *journal) unseen(snap pgsnap.Snapshot) iter.Seq[*journalEntry] {
	return unseenBy(snap, j.entries)
}

func unseenBy(snap pgsnap.Snapshot, entries []journalEntry) iter.Seq[*journalEntry] {
	return func(yield func(*journalEntry) bool) {
		for i := range entries {
			if !snap.Sees(entries[i].xid) && !yield(&entries[i]) {
				return
			}
		}
	}
}

// unseenIDs lists the transactions that may not be visible yet, for the checkpoint: the process that
// resumes from it has no journal of them.
func (j *journal) unseenIDs() []uint64 {
	out := make([]uint64, 0, len(j.entries)-j.fresh+len(j.lost))
	for i := range j.entries[j.fresh:] {
		out = append(out, j.entries[j.fresh+i].xid)
	}
	for xid := range j.lost {
		out = append(out, xid)
	}
	return out
}

func (j *journal) crowded() bool { return j.bytes > j.size/2 }
