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

// unitView is one view of a unit (a leaf's slot, or NoLeaf): the books proper, or the shadow that an audit
// builds beside them.
type unitView struct {
	groups *counter.Table
	snap   pgsnap.Snapshot  // the fence: what the scan under this view has seen already
	bound  pglogrepl.LSN    // once the position is here, the fence has no more to skip
	open   bool             // the fence stands
	touch  func(counter.ID) // told before a change; nil in a shadow
}

func (l *unitView) fenceSees(xid uint64) bool { return l.open && l.snap.Sees(xid) }

// change does something to a group. An empty one goes, unless the accounts still need it.
func (l *unitView) change(id counter.ID, do func(*counter.Entry)) {
	if l.touch != nil {
		l.touch(id)
	}
	e := l.groups.At(id)
	do(e)
	if l.touch == nil && e.Empty() {
		l.groups.Remove(id)
	}
}

func (l *unitView) addRows(c decoder.Change) {
	l.change(l.groups.Put(c.Group), func(e *counter.Entry) { e.Rows += c.N })
}

func (l *unitView) addPending(c decoder.Change) {
	l.change(l.groups.Put(c.Group), func(e *counter.Entry) { e.Pending += c.N })
}

// setCounter takes the new value of a counter row as it is, and no change of it: the row's last value is
// what turns it into one.
func (l *unitView) setCounter(c decoder.CounterChange) {
	id, known := l.groups.Find(c.Group)
	if !known {
		if c.Gone {
			return
		}
		id = l.groups.Put(c.Group)
	} else if v, ok := l.groups.Bucket(id, c.Bucket); ok == !c.Gone && v == c.Value {
		return
	}
	l.change(id, func(*counter.Entry) {
		if c.Gone {
			l.groups.RemoveBucket(id, c.Bucket)
		} else {
			l.groups.SetBucket(id, c.Bucket, c.Value)
		}
	})
}

// truncateRows: the leaf of a slot was emptied.
func (l *unitView) truncateRows(slot int32) {
	for id := range l.groups.All() {
		if e := l.groups.At(id); e.Slot() == slot && e.Rows != 0 {
			l.change(id, func(e *counter.Entry) { e.Rows = 0 })
		}
	}
}

// emptyLedger: what was pending in a slot is gone.
func (l *unitView) emptyLedger(slot int32) {
	for id := range l.groups.All() {
		if e := l.groups.At(id); e.Slot() == slot && e.Pending != 0 {
			l.change(id, func(e *counter.Entry) { e.Pending = 0 })
		}
	}
}

// resetCounters: the counter table was emptied. What is pending stays; a TRUNCATE of the ledger names it.
func (l *unitView) resetCounters() {
	for id := range l.groups.All() {
		if l.groups.At(id).HasBuckets() {
			l.change(id, func(*counter.Entry) { l.groups.RemoveBuckets(id) })
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
	for id := range l.groups.All() {
		if l.groups.At(id).Rows < 0 {
			return true
		}
	}
	return false
}

// all yields what the view holds; a group without a trace is not held.
func (l *unitView) all() iter.Seq[counter.ID] {
	return func(yield func(counter.ID) bool) {
		for id := range l.groups.All() {
			if !l.groups.At(id).Empty() && !yield(id) {
				return
			}
		}
	}
}

// difference lists the groups in which two views of a unit, at the same position, disagree.
func (l *unitView) difference(o *unitView) []Mismatch {
	var out []Mismatch
	for mine := range l.all() {
		theirs, ok := o.groups.Match(l.groups, mine)
		if ok && l.groups.SameCell(mine, o.groups, theirs) {
			continue
		}
		m := Mismatch{Group: l.groups.Group(l.groups.At(mine)), Books: l.groups.Cell(mine)}
		if ok {
			m.Scan = o.groups.Cell(theirs)
		}
		out = append(out, m)
	}
	for theirs := range o.all() {
		if mine, ok := l.groups.Match(o.groups, theirs); !ok || l.groups.At(mine).Empty() {
			out = append(out, Mismatch{Group: o.groups.Group(o.groups.At(theirs)), Scan: o.groups.Cell(theirs)})
		}
	}
	return out
}

// Mismatch is a group in which the books and a scan disagreed at the same position.
type Mismatch struct {
	counter.Group
	Books, Scan counter.Cell
}
