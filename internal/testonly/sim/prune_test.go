package sim

import "maps"

// lead is one turn of whoever leads: beside a ledger it folds or prunes.
func (w *world) lead(t *worldTx, slot int32, counted bool) {
	fresh := w.fleet.leader == newLeader || (w.fleet.leader == anyLeader && counted)
	if fresh && w.shape.HasLedger() && w.rng.IntN(2) == 0 {
		w.fold(t, slot)
		return
	}
	w.prune(t, slot, fresh)
}

// prune empties a slot. Old leaders truncate the leaf of done_entries alone; new ones take the ledger's leaf
// along in the same statement, and delete the counter rows that they see.
func (w *world) prune(t *worldTx, slot int32, fresh bool) {
	t.mark = new(w.mark)
	t.old = !fresh
	rows := make(map[key]int64)
	for k, n := range w.rows {
		if k.Slot == slot {
			rows[k] = n
		}
	}
	pending := w.byRow(slot, func(int64) bool { return true })
	if fresh {
		for k := range w.counters {
			if k.Slot == slot {
				t.counters[k] = nil
			}
		}
		if w.shape.receipts && len(rows) == 0 && len(pending) == 0 {
			return // nothing to truncate, finds 0.6.4
		}
		if w.shape.HasLedger() {
			t.emptied = []int32{slot}
		}
		if w.shape.receipts {
			w.carry(t, rows)
		}
	}
	t.truncated = []int32{slot}
	if w.rng.IntN(2) == 0 {
		t.turns = []int32{slot} // the ring turns at once, while nobody uses the slot, or at another time
	}
	w.rollUp(t, rows, fresh)
}

// carry moves failed rows on to another slot, and takes them out of what is folded.
func (w *world) carry(t *worldTx, rows map[key]int64) {
	if len(rows) == 0 || (!w.fleet.carries && w.rng.IntN(2) == 0) {
		return
	}
	for _, k := range ordered(rows, key.compare) {
		n := w.rng.Int64N(rows[k] + 1)
		if n == 0 {
			continue
		}
		to := k
		to.Slot = worldLeaves[(int(k.Slot)+1)%len(worldLeaves)]
		t.rows[to] += n
		w.count(t, to, n, w.generation[to.Slot])
		rows[k] -= n
	}
}

// rollUp keeps the number of jobs that a prune takes away. Where there are receipts these are more than rows.
func (w *world) rollUp(t *worldTx, rows map[key]int64, fresh bool) {
	sums := make(map[rollup]jobs)
	for _, k := range ordered(rows, key.compare) {
		r, n := rollup{k.Queue, k.Priority}, rows[k]
		if n == 0 {
			continue
		}
		j := sums[r]
		if fresh && w.shape.receipts {
			failed := w.rng.Int64N(n + 1)
			j.failed, n = j.failed+failed, n-failed
			if w.fleet.short == 0 && w.rng.IntN(3) == 0 {
				n += w.rng.Int64N(4) // compact batches
			}
		}
		j.completed += n
		if t.short == 0 && w.fleet.short > 0 && j.completed >= w.fleet.short {
			j.completed, t.short = j.completed-w.fleet.short, w.fleet.short
		}
		sums[r] = j
	}
	if fresh && w.shape.appends {
		t.folded = sums
		return
	}
	t.totals = make(map[rollup]total)
	for r, j := range sums {
		before, known := w.rollups[r]
		t.totals[r] = total{jobs{before.completed + j.completed, before.failed + j.failed}, !known}
	}
}

// fold moves what is pending in a slot into the counter rows. awa clamps, makes no row for what comes out
// below 0, and takes no notice of deltas of another generation; but the leaf is emptied of them all.
func (w *world) fold(t *worldTx, slot int32) {
	t.ring, t.emptied = true, []int32{slot}
	current := func(generation int64) bool { return generation == w.generation[slot] }
	for k, n := range w.byRow(slot, current) {
		v, ok := w.counters[k]
		switch {
		case ok:
			t.lost = t.lost || v+n < 0
			t.counters[k] = new(max(0, v+n))
		case n > 0:
			t.counters[k] = new(n)
		default:
			t.lost = true
		}
	}
	t.lost = t.lost || w.stale(slot)
}

// stale reports that the ledger holds something of another generation than its slot.
func (w *world) stale(slot int32) bool {
	for d := range maps.Keys(w.ledger) {
		if d.Slot == slot && d.generation != w.generation[slot] {
			return true
		}
	}
	return false
}
