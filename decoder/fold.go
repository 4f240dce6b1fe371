package decoder

import (
	"slices"

	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// fold gathers changes into an Effect. The zero value is ready; reset makes it ready again and
// keeps its memory, which the hot path of many small transactions lives on.
type fold struct {
	e        Effect // but for rows, pending and rollups
	rows     sums
	pending  sums
	tokens   []Token
	countsAt map[counterRow]int
	rollups  rollups
	folded   rollups
}

// rollups are changes of rollups, one a (queue, priority).
type rollups struct {
	list []RollupChange
	at   map[rollupKey]int
}

type rollupKey struct {
	queue    string
	priority int16
}

// of finds a change, or makes one; it says whether it was there.
func (r *rollups) of(c RollupChange) (*RollupChange, bool) {
	k := rollupKey{c.Queue, c.Priority}
	i, ok := r.at[k]
	if !ok {
		if r.at == nil {
			r.at = make(map[rollupKey]int)
		}
		i = len(r.list)
		r.at[k] = i
		r.list = append(r.list, c)
	}
	return &r.list[i], ok
}

func (r *rollups) reset() { r.list, r.at = truncateOrDrop(r.list), clearOrDrop(r.at) }

// counterRow names one row of the counter table.
type counterRow struct {
	counter.Group
	bucket int16
}

func (f *fold) reset() {
	f.e = Effect{
		Truncated: f.e.Truncated[:0], Pruned: truncateOrDrop(f.e.Pruned), Counters: truncateOrDrop(f.e.Counters),
		LedgerEmptied: f.e.LedgerEmptied[:0], CountingPrunes: f.e.CountingPrunes[:0],
	}
	f.rows.reset()
	f.pending.reset()
	f.rollups.reset()
	f.folded.reset()
	f.tokens = f.tokens[:0]
	f.countsAt = clearOrDrop(f.countsAt)
}

// keepAtMost is from where on memory is not kept for the next transaction, nor copied for the journal: a rebuild
// writes every counter row in one.
const keepAtMost = 4096

func truncateOrDrop[T any](s []T) []T {
	if cap(s) > keepAtMost {
		return nil
	}
	return s[:0]
}

// clearOrDrop clears a map, or drops it when it once held much: clearing costs the capacity, and one bulk
// transaction must not slow down every small one after it.
func clearOrDrop[K comparable](m map[K]int) map[K]int {
	if len(m) > 256 {
		return nil
	}
	clear(m)
	return m
}

func (f *fold) truncate(slot int32) {
	f.e.Pruned = append(f.e.Pruned, f.rows.drain(slot)...)
	f.e.Truncated = addOnce(f.e.Truncated, slot)
}

func (f *fold) emptyLedger(slot int32) {
	f.pending.drain(slot)
	f.e.LedgerEmptied = addOnce(f.e.LedgerEmptied, slot)
}

func (f *fold) countingPrune(slot int32) { f.e.CountingPrunes = addOnce(f.e.CountingPrunes, slot) }

func addOnce(slots []int32, slot int32) []int32 {
	if slices.Contains(slots, slot) {
		return slots
	}
	return append(slots, slot)
}

func (f *fold) setCounter(c CounterChange) {
	row := counterRow{c.Group, c.Bucket}
	if i, ok := f.countsAt[row]; ok {
		f.e.Counters[i] = c
		return
	}
	if f.countsAt == nil {
		f.countsAt = make(map[counterRow]int)
	}
	f.countsAt[row] = len(f.e.Counters)
	f.e.Counters = append(f.e.Counters, c)
}

func (f *fold) resetCounters() {
	f.e.CountersReset = true
	f.e.Counters = f.e.Counters[:0]
	f.countsAt = clearOrDrop(f.countsAt)
}

func (f *fold) setRollup(c RollupChange) {
	if o, there := f.rollups.of(c); there {
		c.Fresh = c.Fresh || o.Fresh
		*o = c
	}
}

func (f *fold) addFolded(c RollupChange) {
	if o, there := f.folded.of(c); there {
		o.Completed += c.Completed
		o.Failed += c.Failed
	}
}

func (f *fold) resetRollups() {
	f.e.RollupsReset = true
	f.rollups.reset()
}

// append puts a later effect of the same transaction on top of this one.
func (f *fold) append(o *fold) {
	for _, c := range o.e.Pruned {
		f.rows.addGroup(c.Group, c.N)
	}
	for _, slot := range o.e.Truncated {
		f.truncate(slot)
	}
	for _, slot := range o.e.LedgerEmptied {
		f.emptyLedger(slot)
	}
	for _, slot := range o.e.CountingPrunes {
		f.countingPrune(slot)
	}
	for _, c := range o.rows.list {
		f.rows.addGroup(c.Group, c.N)
	}
	for _, c := range o.pending.list {
		f.pending.addGroup(c.Group, c.N)
	}
	if o.e.CountersReset {
		f.resetCounters()
	}
	for _, c := range o.e.Counters {
		f.setCounter(c)
	}
	if o.e.RollupsReset {
		f.resetRollups()
	}
	for _, c := range o.rollups.list {
		f.setRollup(c)
	}
	for _, c := range o.folded.list {
		f.addFolded(c)
	}
	if o.e.Marker.Seen {
		f.e.Marker = o.e.Marker
	}
	f.tokens = append(f.tokens, o.tokens...)
}

// effect copies the result out, at its exact size: it outlives the fold in the journal.
func (f *fold) effect(room *room) Effect {
	e := f.e
	e.Truncated = cloneOrNil(f.e.Truncated)
	e.Rows = f.rows.nonzero(&room.changes)
	e.Pruned = moveOut(&f.e.Pruned)
	e.Counters = moveOutTo(&room.counters, &f.e.Counters)
	e.LedgerEmptied = cloneOrNil(f.e.LedgerEmptied)
	e.Pending = f.pending.nonzero(&room.changes)
	e.CountingPrunes = cloneOrNil(f.e.CountingPrunes)
	e.Rollups = moveOut(&f.rollups.list)
	e.Folded = moveOut(&f.folded.list)
	return e
}

// room is where what effects need in every transaction comes from.
type room struct {
	changes  slab[Change]
	counters slab[CounterChange]
}

func cloneOrNil[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return slices.Clone(s)
}

// moveOut is clip, but gives a large slice away instead of copying it.
func moveOut[T any](s *[]T) []T {
	if len(*s) <= keepAtMost {
		return cloneOrNil(*s)
	}
	out := *s
	*s = nil
	return out
}

// moveOutTo is moveOut into the room of a slab.
func moveOutTo[T any](to *slab[T], s *[]T) []T {
	if len(*s) <= keepAtMost {
		return append(to.take(len(*s))[:0], *s...)
	}
	return moveOut(s)
}

// slab hands out short slices of one block after the other, so that most of them cost no allocation. What is handed out is the
// taker's, but for the block, which lives as long as any slice of it: so blocks are small.
type slab[T any] struct{ rest []T }

// slabSize is how many of them a block has. What takes more gets a block of its own.
const slabSize = 64

// take returns n zero values; nil for none.
func (s *slab[T]) take(n int) []T {
	if n == 0 {
		return nil
	}
	if n >= slabSize {
		return make([]T, n)
	}
	if n > len(s.rest) {
		s.rest = make([]T, slabSize)
	}
	out := s.rest[:n:n]
	s.rest = s.rest[n:]
	return out
}
