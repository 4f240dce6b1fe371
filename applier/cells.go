package applier

import (
	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/pgsnap"
	"github.com/awa-counterd/awa-counterd/internal/terminal"
)

// NoLeaf is the unit of all counter rows whose slot has no leaf. Such rows are drift: nothing can
// be counted there (docs/design.md §4).
const NoLeaf int32 = -1

// Cells is the state of one unit: a leaf's slot, or NoLeaf.
type Cells map[terminal.Group]terminal.Cell

// layer is one view of a unit: the books proper, or the shadow that an audit builds beside them.
type layer struct {
	cells Cells
	snap  pgsnap.Snapshot // the fence: what the scan under this layer has seen already
	bound pglogrepl.LSN   // once the position is here, the fence has no more to skip
	open  bool            // the fence stands
	touch func(g terminal.Group, before terminal.Cell)
}

func (l *layer) skips(xid uint64) bool { return l.open && l.snap.Sees(xid) }

func (l *layer) put(g terminal.Group, before, after terminal.Cell) {
	if before == after {
		return
	}
	if l.touch != nil {
		l.touch(g, before)
	}
	if after.Empty() {
		delete(l.cells, g)
		return
	}
	l.cells[g] = after
}

func (l *layer) addRows(g terminal.Group, n int64) {
	c := l.cells[g]
	after := c
	after.Rows += n
	l.put(g, c, after)
}

func (l *layer) setCounter(ch decoder.CounterChange) {
	c := l.cells[ch.Group]
	after := c
	after.Counter, after.HasRow = ch.Value, true
	if ch.Gone {
		after.Counter, after.HasRow = 0, false
	}
	l.put(ch.Group, c, after)
}

func (l *layer) truncateRows(slot int32) {
	for g, c := range l.cells {
		if g.Slot == slot {
			after := c
			after.Rows = 0
			l.put(g, c, after)
		}
	}
}

func (l *layer) resetCounters() {
	for g, c := range l.cells {
		after := c
		after.Counter, after.HasRow = 0, false
		l.put(g, c, after)
	}
}

// passed drops the fence when the position has reached its bound, and says whether it did so now.
func (l *layer) passed(position pglogrepl.LSN) bool {
	if !l.open || position < l.bound {
		return false
	}
	l.open = false
	l.snap = pgsnap.Snapshot{}
	return true
}

// difference lists the groups in which two views of a unit, at the same position, disagree.
func (c Cells) difference(o Cells) []Mismatch {
	var out []Mismatch
	for g, mine := range c {
		if theirs := o[g]; theirs != mine {
			out = append(out, Mismatch{Group: g, Books: mine, Scan: theirs})
		}
	}
	for g, theirs := range o {
		if _, ok := c[g]; !ok {
			out = append(out, Mismatch{Group: g, Scan: theirs})
		}
	}
	return out
}

// Mismatch is a group in which the books and a scan disagreed at the same position.
type Mismatch struct {
	terminal.Group
	Books, Scan terminal.Cell
}
