package sim

import (
	"cmp"
	"maps"
	"slices"

	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// key names one counter row. Rows are kept by it as well: a job's id decides which bucket it is counted in.
type key struct {
	counter.Group
	bucket int16
}

func (k key) compare(o key) int {
	if c := k.Compare(o.Group); c != 0 {
		return c
	}
	return cmp.Compare(k.bucket, o.bucket)
}

// delta names what the ledger holds for one counter row under one generation of its slot.
type delta struct {
	key

	generation int64
}

func (d delta) compare(o delta) int {
	if c := d.key.compare(o.key); c != 0 {
		return c
	}
	return cmp.Compare(d.generation, o.generation)
}

// rollup names what prunes fold jobs into.
type rollup struct {
	queue    string
	priority int16
}

func (r rollup) compare(o rollup) int {
	if c := cmp.Compare(r.queue, o.queue); c != 0 {
		return c
	}
	return cmp.Compare(r.priority, o.priority)
}

// jobs is how many were folded away.
type jobs struct{ completed, failed int64 }

// tables is what awa's tables hold. The world has one of what readers see, and truth one of what the WAL
// says: the same transactions, in another order.
type tables struct {
	rows     map[key]int64
	counters map[key]int64
	ledger   map[delta]int64
	rollups  map[rollup]jobs

	// Both follow from the others, and are kept up to date: nearly every step asks for them.
	pending map[counter.Group]int64
	drifts  map[counter.Group]int64 // rows − counter, where that is not 0
}

func newTables() tables {
	return tables{
		rows: make(map[key]int64), counters: make(map[key]int64), ledger: make(map[delta]int64), rollups: make(map[rollup]jobs),
		pending: make(map[counter.Group]int64), drifts: make(map[counter.Group]int64),
	}
}

// worldBuckets are what the world spreads a group's jobs over; awa has 256.
const worldBuckets = 4

// apply does what a transaction does.
func (w *tables) apply(t *worldTx) {
	for _, s := range t.truncated {
		for k, n := range w.rows {
			if k.Slot == s {
				w.addRows(k, -n)
			}
		}
	}
	for _, s := range t.emptied {
		for d, n := range w.ledger {
			if d.Slot == s {
				w.addPending(d, -n)
			}
		}
	}
	if t.reset {
		for k, v := range w.counters {
			w.off(k.Group, v)
		}
		clear(w.counters)
	}
	for k, n := range t.rows {
		w.addRows(k, n)
	}
	for d, n := range t.pending {
		w.addPending(d, n)
	}
	for k, v := range t.counters {
		w.off(k.Group, w.counters[k])
		if v == nil {
			delete(w.counters, k)
			continue
		}
		w.counters[k] = *v
		w.off(k.Group, -*v)
	}
	if t.forgets {
		clear(w.rollups)
	}
	for r, total := range t.totals {
		w.rollups[r] = total.jobs
	}
}

func (w *tables) addRows(k key, n int64) {
	add(w.rows, k, n)
	w.off(k.Group, n)
}

func (w *tables) addPending(d delta, n int64) {
	add(w.ledger, d, n)
	add(w.pending, d.Group, n)
	w.off(d.Group, -n)
}

func (w *tables) off(g counter.Group, by int64) { add(w.drifts, g, by) }

// add keeps a map free of zeros.
func add[K comparable](m map[K]int64, k K, n int64) {
	if n += m[k]; n == 0 {
		delete(m, k)
	} else {
		m[k] = n
	}
}

// cell is what is to be known of a group.
func (w *tables) cell(g counter.Group) counter.Cell {
	var rows int64
	var buckets []counter.Bucket
	look := func(bucket int16) {
		k := key{g, bucket}
		rows += w.rows[k]
		if v, ok := w.counters[k]; ok {
			buckets = append(buckets, counter.Bucket{ID: bucket, Value: v})
		}
	}
	for b := range int16(worldBuckets) {
		look(b)
	}
	look(ownBucket)
	return counter.NewCell(rows, w.pending[g], buckets...)
}

// groups lists the groups that have left any trace, in order.
func (w *tables) groups(mine func(slot int32) bool) []counter.Group {
	found := make(map[counter.Group]struct{})
	note := func(g counter.Group) {
		if mine(g.Slot) {
			found[g] = struct{}{}
		}
	}
	for k := range w.rows {
		note(k.Group)
	}
	for k := range w.counters {
		note(k.Group)
	}
	for g := range w.pending {
		note(g)
	}
	return slices.SortedFunc(maps.Keys(found), counter.Group.Compare)
}

func everywhere(int32) bool { return true }

// byRow sums what is pending for each counter row of a slot, of generations that are wanted.
func (w *tables) byRow(slot int32, wanted func(generation int64) bool) map[key]int64 {
	out := make(map[key]int64)
	for d, n := range w.ledger {
		if d.Slot == slot && wanted(d.generation) {
			add(out, d.key, n)
		}
	}
	return out
}

func ordered[K comparable, V any](m map[K]V, compare func(a, b K) int) []K {
	return slices.SortedFunc(maps.Keys(m), compare)
}
