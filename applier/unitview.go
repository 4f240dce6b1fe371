package applier

import (
	"iter"

	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pgsnap"
)

// NoLeaf is the unit of all counter rows whose slot has no leaf. Such rows are drift: nothing can
// be counted there (docs/design.md §4).
const NoLeaf int32 = -1

// viewEntry is a group in a unit view. A unit view keeps one by reference, since a million of them are copied
// nowhere then.
type viewEntry struct {
	counter.GroupCell

	touched bool // by the transaction being applied
	dirty   bool // changed since it was last handed to a checkpoint
}

// unitView is one view of a unit (a leaf's slot, or NoLeaf): the books proper, or the shadow that an audit
// builds beside them.
type unitView struct {
	cells map[counter.Group]*viewEntry
	snap  pgsnap.Snapshot  // the fence: what the scan under this view has seen already
	bound pglogrepl.LSN    // once the position is here, the fence has no more to skip
	open  bool             // the fence stands
	touch func(*viewEntry) // told before a change; nil in a shadow
}

// newUnitView makes a unit view of groups, which it takes over.
func newUnitView(groups []counter.GroupCell) *unitView {
	l, add := sizedView(len(groups))
	for i := range groups {
		add(groups[i])
	}
	return l
}

// sizedView makes a layer for n groups, and returns how to put in one of these, which it takes over.
func sizedView(n int) (l *unitView, add func(counter.GroupCell) *viewEntry) {
	entries := make([]viewEntry, 0, n) // one block: a million small ones cost the collector more
	l = &unitView{cells: make(map[counter.Group]*viewEntry, n)}
	return l, func(h counter.GroupCell) *viewEntry {
		entries = append(entries, viewEntry{GroupCell: h}) // never more than n, so it stays where it is
		e := &entries[len(entries)-1]
		l.cells[h.Group] = e
		return e
	}
}

func (l *unitView) fenceSees(xid uint64) bool { return l.open && l.snap.Sees(xid) }

// viewEntry finds a group, or makes it.
func (l *unitView) entry(g counter.Group) *viewEntry {
	e, ok := l.cells[g]
	if !ok {
		e = &viewEntry{GroupCell: counter.GroupCell{Group: g}}
		l.cells[g] = e
	}
	return e
}

// change does something to a group. An empty one goes, unless the accounts still need it.
func (l *unitView) change(e *viewEntry, do func(*counter.Cell)) {
	if l.touch != nil {
		l.touch(e)
	}
	do(&e.Cell)
	if l.touch == nil && e.Empty() {
		delete(l.cells, e.Group)
	}
}

func (l *unitView) addRows(c decoder.Change) {
	l.change(l.entry(c.Group), func(cell *counter.Cell) { cell.Rows += c.N })
}

func (l *unitView) addPending(c decoder.Change) {
	l.change(l.entry(c.Group), func(cell *counter.Cell) { cell.AddPending(c.N) })
}

// setCounter takes the new value of a counter row as it is, and no change of it: the row's last value is
// what turns it into one.
func (l *unitView) setCounter(c decoder.CounterChange) {
	if e, known := l.cells[c.Group]; !known {
		if c.Gone {
			return
		}
	} else if v, ok := e.Bucket(c.Bucket); ok == !c.Gone && v == c.Value {
		return
	}
	l.change(l.entry(c.Group), func(cell *counter.Cell) {
		if c.Gone {
			cell.RemoveBucket(c.Bucket)
		} else {
			cell.SetBucket(c.Bucket, c.Value)
		}
	})
}

// truncateRows: the leaf of a slot was emptied.
func (l *unitView) truncateRows(slot int32) {
	for _, e := range l.cells {
		if e.Slot == slot && e.Rows != 0 {
			l.change(e, func(cell *counter.Cell) { cell.Rows = 0 })
		}
	}
}

// emptyLedger: what was pending in a slot is gone.
func (l *unitView) emptyLedger(slot int32) {
	for _, e := range l.cells {
		if e.Slot == slot && e.Pending != 0 {
			l.change(e, func(cell *counter.Cell) { cell.AddPending(-cell.Pending) })
		}
	}
}

// resetCounters: the counter table was emptied. What is pending stays; a TRUNCATE of the ledger names it.
func (l *unitView) resetCounters() {
	for _, e := range l.cells {
		if len(e.Buckets()) > 0 {
			l.change(e, func(cell *counter.Cell) { cell.RemoveBuckets() })
		}
	}
}

// dropPassedFence drops the fence when the position has reached its bound, and says whether it did so now.
func (l *unitView) dropPassedFence(position pglogrepl.LSN) bool {
	if !l.open || position < l.bound {
		return false
	}
	l.open = false
	l.snap = pgsnap.Snapshot{}
	return true
}

func (l *unitView) negative() bool {
	for _, e := range l.cells {
		if e.Rows < 0 {
			return true
		}
	}
	return false
}

// all yields what the view holds; a group without a trace is not held.
func (l *unitView) all() iter.Seq[*viewEntry] {
	return func(yield func(*viewEntry) bool) {
		for _, e := range l.cells {
			if !e.Empty() && !yield(e) {
				return
			}
		}
	}
}

// difference lists the groups in which two views of a unit, at the same position, disagree.
func (l *unitView) difference(o *unitView) []Mismatch {
	var out []Mismatch
	var none counter.Cell
	for mine := range l.all() {
		theirs := &none
		if e, ok := o.cells[mine.Group]; ok {
			theirs = &e.Cell
		}
		if !mine.Equal(theirs) {
			out = append(out, Mismatch{Group: mine.Group, Books: mine.Clone(), Scan: theirs.Clone()})
		}
	}
	for theirs := range o.all() {
		if e, ok := l.cells[theirs.Group]; !ok || e.Empty() {
			out = append(out, Mismatch{Group: theirs.Group, Scan: theirs.Clone()})
		}
	}
	return out
}

// Mismatch is a group in which the books and a scan disagreed at the same position.
type Mismatch struct {
	counter.Group
	Books, Scan counter.Cell
}
