package applier

import (
	"slices"

	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/terminal"
)

// Books holds rows and counter of every group at one position.
type Books struct {
	units    map[int32]*unit
	order    []int32 // units in the order of their scans
	position pglogrepl.LSN
	drifting map[terminal.Group]struct{} // drift ≠ 0
	dirty    map[terminal.Group]struct{} // changed since the last persist
	touched  map[terminal.Group]terminal.Cell
	rollups  rollups
}

type unit struct {
	main   *layer // nil until filled
	shadow *layer // while an audit is under way
}

// settled reports whether the unit is filled and its fence passed: what it says can be acted on.
func (u *unit) settled() bool { return u.main != nil && !u.main.open }

func newBooks(leaves []int32) *Books {
	b := &Books{
		units:    make(map[int32]*unit),
		drifting: make(map[terminal.Group]struct{}),
		dirty:    make(map[terminal.Group]struct{}),
		touched:  make(map[terminal.Group]terminal.Cell),
		rollups:  make(rollups),
	}
	for _, slot := range append(slices.Clone(leaves), NoLeaf) {
		b.units[slot] = &unit{}
		b.order = append(b.order, slot)
	}
	return b
}

func (b *Books) unit(slot int32) *unit {
	if u, ok := b.units[slot]; ok && slot != NoLeaf {
		return u
	}
	return b.units[NoLeaf]
}

func (b *Books) newMain(cells Cells) *layer {
	return &layer{cells: cells, touch: func(g terminal.Group, before terminal.Cell) {
		if _, ok := b.touched[g]; !ok {
			b.touched[g] = before
		}
	}}
}

// change is a group whose drift a transaction changed.
type change struct {
	terminal.Group
	before, after int64
	broken        bool // rows fell below 0 though no fence is open: the books are wrong
}

// drifts lists what the changes did to the drifts.
func drifts(changes []change) []drift {
	var out []drift
	for _, c := range changes {
		if c.after != c.before {
			out = append(out, drift{Group: c.Group, by: c.after - c.before})
		}
	}
	return out
}

// apply puts one transaction on top of the books and of every shadow, and returns the groups whose
// drift it changed, in no particular order.
func (b *Books) apply(xid uint64, e *decoder.Effect, end pglogrepl.LSN) []change {
	for _, slot := range e.Truncated {
		b.each(slot, xid, func(l *layer) { l.truncateRows(slot) })
	}
	for i := range e.Rows {
		c := &e.Rows[i]
		b.each(c.Slot, xid, func(l *layer) { l.addRows(c.Group, c.N) })
	}
	if e.CountersReset {
		for _, slot := range b.order {
			b.each(slot, xid, (*layer).resetCounters)
		}
	}
	for i := range e.Counters {
		c := e.Counters[i]
		b.each(c.Slot, xid, func(l *layer) { l.setCounter(c) })
	}
	b.position = max(b.position, end)
	return b.settle()
}

func (b *Books) each(slot int32, xid uint64, f func(*layer)) {
	u := b.unit(slot)
	if u.main != nil && !u.main.skips(xid) {
		f(u.main)
	}
	if u.shadow != nil && !u.shadow.skips(xid) {
		f(u.shadow)
	}
}

// settle closes the accounts of what was touched since the last call.
func (b *Books) settle() []change {
	if len(b.touched) == 0 {
		return nil
	}
	var out []change
	for g, before := range b.touched {
		u := b.unit(g.Slot)
		after := u.main.cells[g]
		if after == before {
			continue
		}
		b.dirty[g] = struct{}{}
		if after.Drift() != 0 {
			b.drifting[g] = struct{}{}
		} else {
			delete(b.drifting, g)
		}
		broken := after.Rows < 0 && !u.main.open
		if after.Drift() != before.Drift() || broken {
			out = append(out, change{Group: g, before: before.Drift(), after: after.Drift(), broken: broken})
		}
	}
	clear(b.touched)
	return out
}

// cell is what the books hold for g.
func (b *Books) cell(g terminal.Group) terminal.Cell {
	if u := b.unit(g.Slot); u.main != nil {
		return u.main.cells[g]
	}
	return terminal.Cell{}
}

// load fills a unit without a scan: from a checkpoint at the books' position.
func (b *Books) load(cells Cells) {
	for _, u := range b.units {
		u.main = b.newMain(make(Cells))
	}
	for g, c := range cells {
		b.unit(g.Slot).main.cells[g] = c
		if c.Drift() != 0 {
			b.drifting[g] = struct{}{}
		}
	}
}

// replace puts a new view in the place of a unit's books.
func (b *Books) replace(slot int32, l *layer) {
	u := b.units[slot]
	b.retire(u)
	main := b.newMain(l.cells)
	main.snap, main.bound, main.open = l.snap, l.bound, l.open
	u.main = main
	for g, c := range main.cells {
		b.dirty[g] = struct{}{}
		if c.Drift() != 0 {
			b.drifting[g] = struct{}{}
		}
	}
}

// retire takes a unit's groups out of the accounts; the checkpoint must not keep what is gone.
func (b *Books) retire(u *unit) {
	if u.main == nil {
		return
	}
	for g := range u.main.cells {
		delete(b.drifting, g)
		b.dirty[g] = struct{}{}
	}
}

// empty makes a unit unknown again.
func (b *Books) empty(slot int32) {
	u := b.units[slot]
	b.retire(u)
	u.main, u.shadow = nil, nil
}

// settled counts the units that can be acted on.
func (b *Books) settled() (n int) {
	for _, u := range b.units {
		if u.settled() {
			n++
		}
	}
	return n
}

// groups counts what the books hold.
func (b *Books) groups() (n int) {
	for _, u := range b.units {
		if u.main != nil {
			n += len(u.main.cells)
		}
	}
	return n
}
