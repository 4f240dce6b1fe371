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
	order    []int32        // units in the order of their scans
	names    *counter.Names // of the queues in all units
	position pglogrepl.LSN
	touched  []touched // by the transaction being applied
	affected []int32   // units, by the same; here for its memory
	changes  []change  // of the last one; the same
	rollups  rollups
}

func newBooks(leaves []int32) *Books {
	b := &Books{units: make(map[int32]*unit), names: counter.NewNames(), rollups: make(rollups)}
	for _, slot := range append(slices.Clone(leaves), NoLeaf) {
		b.units[slot] = &unit{gone: b.table(0)}
		b.order = append(b.order, slot)
	}
	return b
}

func (b *Books) table(groups int) *counter.Table { return counter.NewTable(b.names, groups) }

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
	unit   int32
	id     counter.ID
	before int64 // its drift before that
}

// toucher remembers how an entry of a unit's books was before the transaction that now changes it.
func (b *Books) toucher(slot int32) func(counter.ID) {
	return func(id counter.ID) {
		if e := b.units[slot].main.groups.At(id); !e.Touched {
			e.Touched = true
			b.touched = append(b.touched, touched{slot, id, e.Drift()})
		}
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
	for _, t := range b.touched {
		u := b.units[t.unit]
		e := u.main.groups.At(t.id)
		e.Touched = false
		u.updateDrift(t.id, t.before)
		after := e.Drift()
		broken := e.Rows < 0 && !u.main.open
		if after != t.before || broken {
			out = append(out, change{Group: u.main.groups.Group(e), before: t.before, after: after, broken: broken})
		}
	}
	if b.touched, b.changes = b.touched[:0], out[:0]; cap(b.touched) > mostTouched {
		b.touched, b.changes = nil, nil
	}
	return out
}

// mostTouched is for how many groups of one transaction memory is kept until the next.
const mostTouched = 4096

// cell is what the books hold for g.
func (b *Books) cell(g counter.Group) counter.Cell {
	if u := b.unit(g.Slot); u.main != nil {
		if id, ok := u.main.groups.Find(g); ok {
			return u.main.groups.Cell(id)
		}
	}
	return counter.Cell{}
}

// balanced reports that rows and counter of g are the same.
func (b *Books) balanced(g counter.Group) bool {
	u := b.unit(g.Slot)
	if u.main == nil {
		return true
	}
	id, ok := u.main.groups.Find(g)
	return !ok || u.main.groups.At(id).Drift() == 0
}

// load fills all units without a scan: from a checkpoint at the books' position.
func (b *Books) load(groups *counter.Packed) {
	sizes := make(map[int32]int)
	for slot, n := range groups.Slots() {
		sizes[b.unitOf(slot)] += n
	}
	for slot, u := range b.units {
		u.main, u.gone = &unitView{groups: b.table(sizes[slot]), touch: b.toucher(slot)}, nil
	}
	groups.Unpack(b.names, func(slot int32) *counter.Table { return b.unit(slot).main.groups })
	for _, u := range b.units {
		for id := range u.main.groups.All() {
			u.indexDrift(id, u.main.groups.At(id), 0)
		}
	}
}

// replace puts a new view in the place of a unit's books. The checkpoint must not keep what is gone.
func (b *Books) replace(slot int32, l *unitView) {
	u := b.units[slot]
	u.storedIn(l.groups)
	l.touch = b.toucher(slot)
	*u = unit{main: l, shadow: u.shadow}
	for id := range l.groups.All() {
		u.updateDrift(id, 0)
	}
}

// empty makes a unit unknown again. What is left of it is what the next checkpoint has to take away.
func (b *Books) empty(slot int32) {
	u := b.units[slot]
	gone := b.table(0)
	u.storedIn(gone)
	*u = unit{gone: gone}
	for id := range gone.All() {
		u.updateDrift(id, 0)
	}
}

// markDirty hands a group to the next checkpoint once more.
func (b *Books) markDirty(g counter.Group) {
	u := b.unit(g.Slot)
	id := u.groups().Put(g)
	u.updateDrift(id, u.groups().At(id).Drift())
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
		groups := u.groups()
		for _, id := range u.dirty {
			groups.PackInto(&out, id)
			e := groups.At(id)
			e.Dirty = false
			if e.Empty() {
				groups.Remove(id)
			}
		}
		u.dirty = nil
		if u.main != nil && groups.Len() == 0 { // pruned: what it took is given back
			*u = unit{main: u.main, shadow: u.shadow}
			u.main.groups = b.table(0)
		}
	}
	b.forgetNames()
	return out
}

// forgetNames forgets the names of queues that are gone, when they are many.
func (b *Books) forgetNames() {
	if !b.names.Crowded() {
		return
	}
	var all []*counter.Table
	for _, u := range b.units {
		all = append(all, u.groups())
		if u.shadow != nil {
			all = append(all, u.shadow.groups)
		}
	}
	b.names.Sweep(all...)
}

// due yields what is to be corrected and can be, from one unit on and then round.
func (b *Books) due(turn int) iter.Seq2[*counter.Table, counter.ID] {
	return func(yield func(*counter.Table, counter.ID) bool) {
		for i := range b.order {
			u := b.units[b.order[(turn+i)%len(b.order)]]
			if !u.settled() {
				continue
			}
			for id := range u.drifting() {
				if !yield(u.main.groups, id) {
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
		n += u.wrong
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
			n += u.main.groups.Len()
		}
	}
	return n
}
