package applier

import (
	"time"

	"github.com/awa-counterd/awa-counterd/internal/pgsnap"
	"github.com/awa-counterd/awa-counterd/internal/terminal"
)

// veil is what the books hold and readers cannot see yet: a commit is streamed before it is visible,
// and long before under synchronous replication. A correction that covered it would be seen without
// the rows it is for. It would be a drift of our own making, and one that we may be unable to take back
// or to warn of: a stalled prune holds the lock of the marker's row.
type veil struct {
	rows     map[terminal.Group]int64    // uncounted changes behind the veil
	groups   map[terminal.Group]struct{} // their counter row is changed by somebody behind the veil
	slots    map[int32]struct{}          // truncated behind the veil
	all      bool                        // the counters are truncated behind the veil, or nobody knows
	unproven []uint64                    // streamed since the last look
}

// veil lists what snap, which was asked for at looked, does not see. What was streamed after that is
// unproven.
func (j *journal) veil(snap pgsnap.Snapshot, looked time.Time) veil {
	v := veil{
		rows: make(map[terminal.Group]int64), groups: make(map[terminal.Group]struct{}), slots: make(map[int32]struct{}),
		all: j.missing(snap) > 0, // what those did is not known
	}
	for _, xid := range j.entries.Keys() {
		if snap.Sees(xid) {
			continue
		}
		entry, _ := j.entries.Peek(xid)
		if !entry.at.Before(looked) {
			v.unproven = append(v.unproven, xid)
			continue
		}
		e := &entry.effect
		for _, s := range e.Truncated {
			v.slots[s] = struct{}{}
		}
		for _, c := range e.Rows {
			v.rows[c.Group] += c.N
		}
		for _, c := range e.Counters {
			v.groups[c.Group] = struct{}{}
		}
		v.all = v.all || e.CountersReset
	}
	return v
}

// drift is how much of the group's drift is behind the veil; false when that cannot be told. Then the
// row or the leaf is locked until it is visible, and there is nothing to be written anyway.
func (v *veil) drift(g terminal.Group) (int64, bool) {
	_, counted := v.groups[g]
	_, truncated := v.slots[g.Slot]
	return v.rows[g], !counted && !truncated && !v.all
}
