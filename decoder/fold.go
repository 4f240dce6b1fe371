package decoder

import (
	"slices"

	"github.com/awa-counterd/awa-counterd/internal/terminal"
)

// fold gathers changes into an Effect. The zero value is ready; reset makes it ready again and
// keeps its memory, which the hot path of many small transactions lives on.
type fold struct {
	e        Effect
	tokens   []Token
	rowsAt   map[terminal.Group]int
	countsAt map[terminal.Group]int
	last     int // index+1 into e.Rows of the group that changed last
}

func (f *fold) reset() {
	f.e = Effect{
		Truncated: f.e.Truncated[:0], Rows: f.e.Rows[:0], Pruned: f.e.Pruned[:0],
		Counters: f.e.Counters[:0], Rollups: f.e.Rollups[:0],
	}
	f.tokens = f.tokens[:0]
	f.rowsAt, f.countsAt = emptied(f.rowsAt), emptied(f.countsAt)
	f.last = 0
}

// emptied clears a map, or drops it when it once held many groups: clearing costs the capacity, and
// one bulk transaction must not slow down every small one after it.
func emptied(m map[terminal.Group]int) map[terminal.Group]int {
	if len(m) > 256 {
		return nil
	}
	clear(m)
	return m
}

// key is a group as it stands in a message: the queue name still points into the buffer.
type key struct {
	queue           []byte
	slot            int32
	priority, shard int16
}

func (k key) is(g *terminal.Group) bool {
	return g.Slot == k.slot && g.Priority == k.priority && g.Shard == k.shard && g.Queue == string(k.queue)
}

// addRows finds the group without allocating: most rows of a transaction fall into the group of
// the row before, and a map look-up by converted bytes does not copy them.
func (f *fold) addRows(k key, n int64, names *names) {
	if f.last > 0 {
		if c := &f.e.Rows[f.last-1]; k.is(&c.Group) {
			c.N += n
			return
		}
	}
	i, ok := f.rowsAt[terminal.Group{Queue: string(k.queue), Slot: k.slot, Priority: k.priority, Shard: k.shard}]
	if !ok {
		i = f.appendRows(names.group(k))
	}
	f.e.Rows[i].N += n
	f.last = i + 1
}

func (f *fold) appendRows(g terminal.Group) int {
	if f.rowsAt == nil {
		f.rowsAt = make(map[terminal.Group]int)
	}
	i := len(f.e.Rows)
	f.e.Rows = append(f.e.Rows, RowsChange{Group: g})
	f.rowsAt[g] = i
	return i
}

func (f *fold) truncate(slot int32) {
	for i := range f.e.Rows {
		if c := &f.e.Rows[i]; c.Slot == slot && c.N != 0 {
			f.e.Pruned = append(f.e.Pruned, *c)
			c.N = 0
		}
	}
	if !slices.Contains(f.e.Truncated, slot) {
		f.e.Truncated = append(f.e.Truncated, slot)
	}
}

func (f *fold) setCounter(c CounterChange) {
	if i, ok := f.countsAt[c.Group]; ok {
		f.e.Counters[i] = c
		return
	}
	if f.countsAt == nil {
		f.countsAt = make(map[terminal.Group]int)
	}
	f.countsAt[c.Group] = len(f.e.Counters)
	f.e.Counters = append(f.e.Counters, c)
}

func (f *fold) resetCounters() {
	f.e.CountersReset = true
	f.e.Counters = f.e.Counters[:0]
	f.countsAt = emptied(f.countsAt)
}

func (f *fold) setRollup(c RollupChange) {
	for i := range f.e.Rollups {
		if o := &f.e.Rollups[i]; o.Queue == c.Queue && o.Priority == c.Priority {
			c.Fresh = c.Fresh || o.Fresh
			*o = c
			return
		}
	}
	f.e.Rollups = append(f.e.Rollups, c)
}

// then puts a later effect of the same transaction on top of this one.
func (f *fold) then(o *fold) {
	for _, c := range o.e.Pruned {
		f.rows(c.Group, c.N)
	}
	for _, slot := range o.e.Truncated {
		f.truncate(slot)
	}
	for _, c := range o.e.Rows {
		f.rows(c.Group, c.N)
	}
	if o.e.CountersReset {
		f.resetCounters()
	}
	for _, c := range o.e.Counters {
		f.setCounter(c)
	}
	if o.e.RollupsReset {
		f.e.RollupsReset = true
		f.e.Rollups = f.e.Rollups[:0]
	}
	for _, c := range o.e.Rollups {
		f.setRollup(c)
	}
	if o.e.Marker.Seen {
		f.e.Marker = o.e.Marker
	}
	f.tokens = append(f.tokens, o.tokens...)
}

func (f *fold) rows(g terminal.Group, n int64) {
	i, ok := f.rowsAt[g]
	if !ok {
		i = f.appendRows(g)
	}
	f.e.Rows[i].N += n
}

// effect copies the result out, at its exact size: it outlives the fold in the journal.
func (f *fold) effect() Effect {
	e := f.e
	e.Truncated = clip(f.e.Truncated)
	e.Pruned = clip(f.e.Pruned)
	e.Counters = clip(f.e.Counters)
	e.Rollups = clip(f.e.Rollups)
	n := 0
	for i := range f.e.Rows {
		if f.e.Rows[i].N != 0 {
			n++
		}
	}
	e.Rows = nil
	if n > 0 {
		e.Rows = make([]RowsChange, 0, n)
		for i := range f.e.Rows {
			if f.e.Rows[i].N != 0 {
				e.Rows = append(e.Rows, f.e.Rows[i])
			}
		}
	}
	return e
}

func clip[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return slices.Clone(s)
}

// names keeps one copy of each queue name, so that the same name is not allocated for every
// transaction. It forgets everything when it grows past a bound: names come and go.
type names struct {
	seen map[string]string
}

const maxNames = 1 << 14

func (n *names) name(b []byte) string {
	if s, ok := n.seen[string(b)]; ok {
		return s
	}
	if n.seen == nil || len(n.seen) >= maxNames {
		n.seen = make(map[string]string)
	}
	s := string(b)
	n.seen[s] = s
	return s
}

func (n *names) group(k key) terminal.Group {
	return terminal.Group{Queue: n.name(k.queue), Slot: k.slot, Priority: k.priority, Shard: k.shard}
}
