package applier

import (
	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/pgsnap"
)

// Scan is the result of a fenced scan of one unit (docs/design.md §4).
type Scan struct {
	Unit     int32           // a leaf's slot, or NoLeaf
	Cells    Cells           // rows and counters; the receiver owns the map
	Snapshot pgsnap.Snapshot // of the one statement that read Cells
	Bound    pglogrepl.LSN   // WAL insert position, read after that statement
}

// verdict is what became of a scan or of its fence.
type verdict struct {
	unit       int32
	filled     bool       // the unit's books are ready to act on
	audited    bool       // the unit's books agreed with a scan
	mismatches []Mismatch // they did not; the scan was taken over
	negative   bool       // a fresh scan came out below 0: taken again
}

// take completes a scan with the journal. It fills the unit's books when they are empty and starts
// an audit beside them when they are not. It reports false when the journal has a gap: transactions
// that the scan does not hold and that cannot be added.
func (b *Books) take(s Scan, j *journal) bool {
	if j.missing(s.Snapshot) > 0 {
		return false
	}
	l := &layer{cells: s.Cells, snap: s.Snapshot, bound: s.Bound, open: true}
	j.unseen(s.Snapshot, func(e decoder.Effect) { b.fold(l, s.Unit, &e) })
	if u := b.units[s.Unit]; u.main == nil {
		b.replace(s.Unit, l)
	} else {
		u.shadow = l
	}
	return true
}

// fold applies the part of an effect that falls into one unit.
func (b *Books) fold(l *layer, slot int32, e *decoder.Effect) {
	u := b.units[slot]
	for _, s := range e.Truncated {
		if b.unit(s) == u {
			l.truncateRows(s)
		}
	}
	for _, c := range e.Rows {
		if b.unit(c.Slot) == u {
			l.addRows(c.Group, c.N)
		}
	}
	if e.CountersReset {
		l.resetCounters()
	}
	for _, c := range e.Counters {
		if b.unit(c.Slot) == u {
			l.setCounter(c)
		}
	}
}

// advance closes the fences that the position has passed and judges what they held back.
func (b *Books) advance(position pglogrepl.LSN) []verdict {
	b.position = max(b.position, position)
	var out []verdict
	for _, slot := range b.order {
		u := b.units[slot]
		if u.main != nil && u.main.passed(b.position) {
			if u.main.cells.negative() {
				b.empty(slot)
				out = append(out, verdict{unit: slot, negative: true})
				continue
			}
			out = append(out, verdict{unit: slot, filled: true})
		}
		if u.shadow != nil && u.shadow.passed(b.position) {
			if u.shadow.cells.negative() { // the scan is what is wrong; look again
				u.shadow = nil
				out = append(out, verdict{unit: slot, negative: true})
				continue
			}
			diff := u.main.cells.difference(u.shadow.cells)
			if len(diff) > 0 {
				b.replace(slot, u.shadow)
			}
			u.shadow = nil
			out = append(out, verdict{unit: slot, audited: len(diff) == 0, mismatches: diff})
		}
	}
	return out
}

func (c Cells) negative() bool {
	for _, cell := range c {
		if cell.Rows < 0 {
			return true
		}
	}
	return false
}
