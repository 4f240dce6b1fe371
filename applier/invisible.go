package applier

import (
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pgsnap"
)

// invisible is what the books hold and readers cannot see yet: a commit is streamed before it is visible,
// and long before under synchronous replication. A correction that covered it would be seen without
// the rows it is for. It would be a drift of the daemon's own making, and one that we may be unable to take back
// or to warn of: a stalled prune holds the lock of the marker's row.
type invisible struct {
	drifts  map[counter.Group]int64    // how much of each drift is not visible yet
	unknown map[counter.Group]struct{} // that cannot be told: changed before their books were filled
	slots   map[int32]struct{}         // the same, for whole slots
	all     bool                       // the same, for all
	oldest  clocks                     // of the transactions not visible yet that changed a drift
}

// invisible lists what snap does not see.
func (j *journal) invisible(snap pgsnap.Snapshot) invisible {
	v := invisible{
		drifts: make(map[counter.Group]int64), unknown: make(map[counter.Group]struct{}), slots: make(map[int32]struct{}),
		all: j.missing(snap) > 0, // what those did is not known
	}
	for e := range j.after(snap) {
		if e.partial {
			v.doubt(e)
		}
		for _, d := range e.drifts {
			v.drifts[d.Group] += d.by
		}
		if e.partial || len(e.drifts) > 0 {
			v.oldest = older(v.oldest, e.at)
		}
	}
	return v
}

func (v *invisible) doubt(e *journalEntry) {
	for _, s := range e.effect.Truncated {
		v.slots[s] = struct{}{}
	}
	for _, c := range e.effect.Rows {
		v.unknown[c.Group] = struct{}{}
	}
	for _, c := range e.effect.Counters {
		v.unknown[c.Group] = struct{}{}
	}
	for _, s := range e.effect.LedgerEmptied {
		v.slots[s] = struct{}{}
	}
	for _, c := range e.effect.Pending {
		v.unknown[c.Group] = struct{}{}
	}
	v.all = v.all || e.effect.CountersReset
}

// partOf is how much of the group's drift is not visible yet; false when that cannot be told.
func (v *invisible) partOf(g counter.Group) (int64, bool) {
	_, unknown := v.unknown[g]
	_, slot := v.slots[g.Slot]
	return v.drifts[g], !unknown && !slot && !v.all
}
