package applier

import (
	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pgsnap"
)

// Scan is the result of a fenced scan of one unit (docs/design.md §4).
type Scan struct {
	Unit     int32           // a leaf's slot, or NoLeaf
	Groups   *counter.Table  // rows and contributions; nil for none
	Snapshot pgsnap.Snapshot // of the one statement that read Groups
	Bound    pglogrepl.LSN   // WAL insert position, read after that statement
}

// scanOutcome is what became of a scan or of its fence.
type scanOutcome struct {
	unit       int32
	filled     bool       // the unit's books are ready to act on
	audited    bool       // the unit's books agreed with a scan
	mismatches []Mismatch // they did not; the scan was taken over
	negative   bool       // a fresh scan came out below 0: taken again
}

// completeScan completes a scan with the journal. It fills the unit's books when they are empty and starts
// an audit beside them when they are not. It reports false when the journal has a gap: transactions
// that the scan does not hold and that cannot be added.
func (b *Books) completeScan(s Scan, j *journal) bool {
	if j.missing(s.Snapshot) > 0 {
		return false
	}
	l := &unitView{groups: b.scanned(s.Groups), snap: s.Snapshot, bound: s.Bound, open: true}
	for e := range j.unseen(s.Snapshot) {
		b.fold(l, s.Unit, &e.effect)
	}
	if u := b.units[s.Unit]; u.main == nil {
		b.replace(s.Unit, l)
	} else {
		u.shadow = l
	}
	return true
}

// scanned is a table of the books' own with what a scan has read.
func (b *Books) scanned(groups *counter.Table) *counter.Table {
	if groups == nil {
		return b.table(0)
	}
	out := b.table(groups.Len())
	out.Copy(groups)
	return out
}

// advance closes the fences that the position has passed and judges what they held back.
func (b *Books) advance(position pglogrepl.LSN) []scanOutcome {
	b.position = max(b.position, position)
	var out []scanOutcome
	for _, slot := range b.order {
		u := b.units[slot]
		if u.main != nil && u.main.dropPassedFence(b.position) {
			if u.main.negative() {
				b.empty(slot)
				out = append(out, scanOutcome{unit: slot, negative: true})
				continue
			}
			out = append(out, scanOutcome{unit: slot, filled: true})
		}
		if u.shadow != nil && u.shadow.dropPassedFence(b.position) {
			if u.shadow.negative() { // the scan is what is wrong; look again
				u.shadow = nil
				out = append(out, scanOutcome{unit: slot, negative: true})
				continue
			}
			diff := u.main.difference(u.shadow)
			if len(diff) > 0 {
				b.replace(slot, u.shadow)
			}
			u.shadow = nil
			out = append(out, scanOutcome{unit: slot, audited: len(diff) == 0, mismatches: diff})
		}
	}
	return out
}
