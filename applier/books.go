package applier

import (
	"iter"
	"slices"

	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// Books holds rows and counter of every group at one position.
type Books struct {
	units    map[int32]*unit
	order    []int32 // units in the order of their scans
	position pglogrepl.LSN
	touched  []touched // by the transaction being applied
	affected []int32   // units, by the same; here for its memory
	changes  []change  // of the last one; the same
	rollups  rollups
}

type unit struct {
	main     *unitView            // nil until filled
	shadow   *unitView            // while an audit is under way
	drifting map[*viewEntry]int64 // by how much each is wrong
	off      int64                // the sum of that
	dirty    []*viewEntry         // changed since the last checkpoint; each once
}

// settled reports whether the unit is filled and its fence passed: what it says can be acted on.
func (u *unit) settled() bool { return u.main != nil && !u.main.open }

// updateDrift notes that an entry has changed, and files it under what it is now.
func (u *unit) updateDrift(e *viewEntry) {
	if !e.dirty {
		e.dirty = true
		u.dirty = append(u.dirty, e)
	}
	u.indexDrift(e)
}

// indexDrift puts an entry to those that are wrong, or takes it away. The sum is kept beside them, since whoever looks on must not
// have a million of them walked.
func (u *unit) indexDrift(e *viewEntry) {
	was, wrong := u.drifting[e]
	by := abs(e.Drift())
	u.off += by - was
	switch {
	case by != 0:
		u.drifting[e] = by
	case wrong:
		delete(u.drifting, e)
	}
}

func newBooks(leaves []int32) *Books {
	b := &Books{units: make(map[int32]*unit), rollups: make(rollups)}
	for _, slot := range append(slices.Clone(leaves), NoLeaf) {
		b.units[slot] = &unit{drifting: make(map[*viewEntry]int64)}
		b.order = append(b.order, slot)
	}
	return b
}

func (b *Books) unit(slot int32) *unit { return b.units[b.unitOf(slot)] }

// unitOf is the slot of a leaf, or NoLeaf.
func (b *Books) unitOf(slot int32) int32 {
	if _, ok := b.units[slot]; ok {
		return slot
	}
	return NoLeaf
}

// touched is an entry that the transaction being applied has changed.
type touched struct {
	*viewEntry

	before int64 // its drift before that
}

// touch remembers how an entry was before the transaction that now changes it.
func (b *Books) touch(e *viewEntry) {
	if !e.touched {
		e.touched = true
		b.touched = append(b.touched, touched{e, e.Drift()})
	}
}

// change is a group that a transaction touched.
type change struct {
	counter.Group
	before, after int64 // its drift
	broken        bool  // rows fell below 0 though no fence is open: the books are wrong
}

// driftRoom is where the journal's entries of one batch of transactions keep their drifts: in a block or two, of so many.
type driftRoom struct {
	rest  []drift
	block int
}

// drifts lists what the changes did to the drifts.
func (r *driftRoom) drifts(changes []change) []drift {
	n := 0
	for _, c := range changes {
		if c.after != c.before {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	if len(r.rest) < n {
		r.rest = make([]drift, max(n, r.block))
	}
	out := r.rest[:0:n]
	r.rest = r.rest[n:]
	for _, c := range changes {
		if c.after != c.before {
			out = append(out, drift{Group: c.Group, by: c.after - c.before})
		}
	}
	return out
}

// apply puts one transaction on top of the books and of every shadow, and returns the groups whose
// drift it changed, in no particular order, until the next call.
func (b *Books) apply(xid uint64, e *decoder.Effect, end pglogrepl.LSN) []change {
	for _, slot := range b.affectedUnits(e) {
		u := b.units[slot]
		for _, l := range []*unitView{u.main, u.shadow} {
			if l != nil && !l.fenceSees(xid) {
				b.fold(l, slot, e)
			}
		}
	}
	b.position = max(b.position, end)
	return b.settle()
}

// affectedUnits lists the units that an effect falls into.
func (b *Books) affectedUnits(e *decoder.Effect) []int32 {
	if e.CountersReset {
		return b.order
	}
	out := b.affected[:0]
	add := func(slot int32) {
		if slot = b.unitOf(slot); !slices.Contains(out, slot) {
			out = append(out, slot)
		}
	}
	for _, slot := range e.Truncated {
		add(slot)
	}
	for _, slot := range e.LedgerEmptied {
		add(slot)
	}
	for i := range e.Rows {
		add(e.Rows[i].Slot)
	}
	for i := range e.Counters {
		add(e.Counters[i].Slot)
	}
	for i := range e.Pending {
		add(e.Pending[i].Slot)
	}
	b.affected = out[:0]
	return out
}

// fold applies the part of an effect that falls into one unit.
func (b *Books) fold(l *unitView, slot int32, e *decoder.Effect) {
	u := b.units[slot]
	for _, s := range e.Truncated {
		if b.unit(s) == u {
			l.truncateRows(s)
		}
	}
	for _, c := range e.Rows {
		if b.unit(c.Slot) == u {
			l.addRows(c)
		}
	}
	for _, s := range e.LedgerEmptied {
		if b.unit(s) == u {
			l.emptyLedger(s)
		}
	}
	for _, c := range e.Pending {
		if b.unit(c.Slot) == u {
			l.addPending(c)
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

// settle closes the accounts of what was touched since the last call.
func (b *Books) settle() []change {
	out := b.changes[:0]
	for _, e := range b.touched {
		e.touched = false
		u := b.unit(e.Slot)
		u.updateDrift(e.viewEntry)
		after := e.Drift()
		broken := e.Rows < 0 && !u.main.open
		if after != e.before || broken {
			out = append(out, change{Group: e.Group, before: e.before, after: after, broken: broken})
		}
	}
	if b.touched, b.changes = b.touched[:0], out[:0]; cap(b.touched) > mostTouched {
		b.touched, b.changes = nil, nil
	}
	return out
}

// mostTouched is for how many groups of one transaction memory is kept until the next.
const mostTouched = 4096

// cell is what the books hold for g. It is the books' own.
func (b *Books) cell(g counter.Group) counter.Cell {
	if u := b.unit(g.Slot); u.main != nil {
		if e, ok := u.main.cells[g]; ok {
			return e.Cell
		}
	}
	return counter.Cell{}
}

// load fills all units without a scan: from a checkpoint at the books' position.
func (b *Books) load(groups *counter.Packed) {
	sizes := make(map[int32]int)
	for slot, n := range groups.Slots() {
		sizes[b.unitOf(slot)] += n
	}
	add := make(map[int32]func(counter.GroupCell) *viewEntry)
	for slot, u := range b.units {
		u.main, add[slot] = sizedView(sizes[slot])
		u.main.touch = b.touch
	}
	for h := range groups.All() {
		slot := b.unitOf(h.Slot)
		b.units[slot].indexDrift(add[slot](h))
	}
}

// replace puts a new view in the place of a unit's books. The checkpoint must not keep what is gone.
func (b *Books) replace(slot int32, l *unitView) {
	u := b.units[slot]
	u.stored(l)
	l.touch = b.touch
	u.main, u.drifting, u.off, u.dirty = l, make(map[*viewEntry]int64), 0, nil
	for _, e := range l.cells {
		u.updateDrift(e)
	}
}

// empty makes a unit unknown again. What is left of it is what the next checkpoint has to take away.
func (b *Books) empty(slot int32) {
	u := b.units[slot]
	gone := newUnitView(nil)
	u.stored(gone)
	u.main, u.shadow, u.drifting, u.off, u.dirty = nil, nil, make(map[*viewEntry]int64), 0, nil
	for _, e := range gone.cells {
		u.updateDrift(e)
	}
}

// stored gives l an entry, be it an empty one, for each group that a checkpoint may have.
func (u *unit) stored(l *unitView) {
	if u.main != nil {
		for g := range u.main.cells {
			l.entry(g)
		}
	}
	for _, e := range u.dirty {
		l.entry(e.Group)
	}
}

// markDirty hands a group to the next checkpoint once more.
func (b *Books) markDirty(g counter.Group) {
	u := b.unit(g.Slot)
	if u.main == nil {
		u.updateDrift(&viewEntry{GroupCell: counter.GroupCell{Group: g}})
		return
	}
	u.updateDrift(u.main.entry(g))
}

// takeDirty returns what a checkpoint has to store, a copy each, and forgets that it was to be stored.
func (b *Books) takeDirty() counter.Packed {
	n := 0
	for _, u := range b.units {
		n += len(u.dirty)
	}
	out := counter.Pack(n)
	for _, slot := range b.order {
		u := b.units[slot]
		for _, e := range u.dirty {
			out.Add(&e.GroupCell)
			e.dirty = false
			if e.Empty() && u.main != nil && u.main.cells[e.Group] == e {
				delete(u.main.cells, e.Group)
			}
		}
		u.dirty = nil
	}
	return out
}

// due yields what is to be corrected and can be, from one unit on and then round.
func (b *Books) due(turn int) iter.Seq[*viewEntry] {
	return func(yield func(*viewEntry) bool) {
		for i := range b.order {
			u := b.units[b.order[(turn+i)%len(b.order)]]
			if !u.settled() {
				continue
			}
			for e := range u.drifting {
				if !yield(e) {
					return
				}
			}
		}
	}
}

func (b *Books) isDirty() bool {
	for _, u := range b.units {
		if len(u.dirty) > 0 {
			return true
		}
	}
	return false
}

// drifting counts the groups whose counter is wrong.
func (b *Books) drifting() (n int) {
	for _, u := range b.units {
		n += len(u.drifting)
	}
	return n
}

// totalDrift is by how much all counters are wrong.
func (b *Books) totalDrift() (n int64) {
	for _, u := range b.units {
		n += u.off
	}
	return n
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
