package sim

import "github.com/awa-counterd/awa-counterd/internal/base/counter"

// fleet says what the writers are like, beyond those who do not count.
type fleet struct {
	honest    bool   // nobody but pruners touches the marker, nobody poisons
	counting  bool   // writers all count; only rebuilds disturb them, often
	shrinking bool   // more is deleted than inserted
	migrates  bool   // awa's migrations are run again and again
	rarely    bool   // slots are pruned and folded rarely: a prune hides what was wrong before it
	carries   bool   // every prune that can carries on what it can
	leader    leader // who prunes
	short     int64  // jobs that the next prune of a slot with rows keeps to itself
}

// leader is the binary that prunes and folds.
type leader uint8

const (
	anyLeader leader = iota
	newLeader        // it counts, and knows the ledger
	oldLeader        // it does neither
)

// tally counts what was committed.
type tally struct {
	bare      map[string]int64 // by queue: rows written or deleted without counting them
	oldPrunes int
	lost      int // transactions in which a clamp or a stale generation lost what had been counted
	carried   int
	folds     int
	short     int // prunes that kept jobs to themselves
}

func (y *tally) note(t *worldTx) {
	if t.old {
		y.oldPrunes++
	}
	if t.lost {
		y.lost++
	}
	if t.short > 0 {
		y.short++
	}
	if len(t.emptied) > 0 && len(t.truncated) == 0 && !t.reset {
		y.folds++
	}
	if len(t.rows) > 0 && len(t.truncated) > 0 {
		y.carried++
	}
	if len(t.counters) == 0 && len(t.pending) == 0 {
		for k, n := range t.rows {
			y.bare[k.Queue] += max(n, -n)
		}
	}
}

// A writer's transaction, as awa's binaries and its operators do them.
func (w *world) writer(uncounted bool) {
	t := w.begin()
	k := key{w.group(), int16(w.rng.IntN(worldBuckets))}
	counted := !uncounted || w.rng.IntN(2) == 0
	did := true
	switch n := w.rng.IntN(20); {
	case (w.fleet.shrinking && n < 14) || (n >= 10 && n < 13):
		did = w.remove(t, k, counted)
	case n < 10:
		w.complete(t, k, counted, uncounted)
	case n < 17 && w.leads():
		w.lead(t, k.Slot, counted)
	case n < 17 && !w.fleet.counting:
		w.complete(t, k, counted, uncounted)
	case n < 18 && (uncounted || w.fleet.counting) && !w.fleet.honest:
		w.rebuild(t)
	case n == 18 && w.fleet.migrates:
		w.migrate(t)
	case uncounted && !w.fleet.honest:
		w.meddle(t, k, n)
	default:
		did = false
	}
	if did {
		w.admit(t)
	}
}

// leads: where prunes delete counters row by row, one that meets a correction leaves it behind, whoever
// prunes; so a fleet that must do no wrong has no leader there.
func (w *world) leads() bool {
	if w.fleet.counting && !w.shape.HasLedger() {
		return false
	}
	return !w.fleet.rarely || w.rng.IntN(8) == 0
}

// complete makes rows. A late one is of a job whose slot has been pruned since.
func (w *world) complete(t *worldTx, k key, counted, maybeLate bool) {
	for range 1 + w.rng.IntN(2) {
		n := int64(1 + w.rng.IntN(3))
		t.rows[k] += n
		if counted {
			generation := w.generation[k.Slot]
			if maybeLate && w.rng.IntN(16) == 0 {
				generation -= int64(len(worldLeaves))
			}
			w.count(t, k, n, generation)
		}
		k.bucket = int16(w.rng.IntN(worldBuckets))
	}
}

// count keeps the counter in the transaction that changes rows, as binaries that count do.
func (w *world) count(t *worldTx, k key, n, generation int64) {
	if w.shape.HasLedger() {
		add(t.pending, delta{k, generation}, n)
		return
	}
	k = w.shape.row(k)
	v, ok := w.counters[k]
	if u, set := t.counters[k]; set {
		v, ok = *u, true
	}
	switch {
	case n > 0:
		t.counters[k] = new(v + n)
	case !ok:
		t.lost = true // the update finds no row
	default:
		t.lost = t.lost || v+n < 0
		t.counters[k] = new(max(0, v+n))
	}
}

// remove is a retry, a discard, a move to the DLQ; awa clamps and never creates a row.
func (w *world) remove(t *worldTx, k key, counted bool) bool {
	n := min(int64(1+w.rng.IntN(3)), w.free(k))
	if n <= 0 || (w.fleet.counting && !w.shape.HasLedger()) { // a decrement that finds no row does leave a counter wrong
		return false
	}
	t.rows[k] = -n
	if counted {
		w.count(t, k, -n, w.generation[k.Slot])
	}
	return true
}

// free is how many rows a writer may delete: rows that a running transaction deletes are locked.
func (w *world) free(k key) int64 {
	n := w.rows[k]
	for _, t := range w.open {
		if d := t.rows[k]; d < 0 {
			n += d
		}
	}
	return n
}

// rebuild truncates the counters and what is pending, counts what is visible, and trusts. Beside a ledger
// it holds every table against everybody.
func (w *world) rebuild(t *worldTx) {
	w.recount(t)
	if w.shape.HasLedger() {
		t.emptied, t.holds = worldLeaves, true
	}
}

// migrate is a migration of awa's that is run again: what is pending stays, and is counted twice.
func (w *world) migrate(t *worldTx) { w.recount(t) }

func (w *world) recount(t *worldTx) {
	t.reset = true
	for k, n := range w.rows {
		row := w.shape.row(k)
		if v := t.counters[row]; v != nil {
			n += *v
		}
		t.counters[row] = new(n)
	}
	t.mark = new(true)
}

// meddle is the installer, who trusts; an operator who poisons a counter, on a leaf or beside all of them, or
// the ledger; a test that resets everything; a migration run again.
func (w *world) meddle(t *worldTx, k key, n int) {
	if n == 19 {
		t.mark = new(w.rng.IntN(2) == 0)
		return
	}
	switch w.rng.IntN(8) {
	case 0:
		t.truncated, t.reset, t.forgets, t.holds = worldLeaves, true, true, true
		if w.shape.HasLedger() {
			t.emptied = worldLeaves
		}
		return
	case 1:
		if w.shape.HasLedger() {
			w.migrate(t)
			return
		}
	case 2, 3:
		if w.shape.HasLedger() {
			n := int64(1 + w.rng.IntN(4))
			if w.rng.IntN(2) == 0 {
				n = -n
			}
			t.pending[delta{k, w.generation[k.Slot] - int64(w.rng.IntN(2)*len(worldLeaves))}] = n
			return
		}
	}
	if w.rng.IntN(3) == 0 {
		k.Slot = orphanSlot
	}
	t.counters[w.shape.row(k)] = new(int64(w.rng.IntN(9) - 2))
}

// backlog makes uncounted rows from before the first session.
func (w *world) backlog(transactions int, rows int64) {
	for i := range transactions {
		old := w.begin()
		g := counter.Group{Slot: worldLeaves[i%len(worldLeaves)], Queue: string(rune('a' + i%2)), Priority: int16(1 + i%3%2)}
		old.rows[key{g, int16(i % worldBuckets)}] = rows + int64(i)
		w.admit(old)
		w.commit(old)
		w.show(old)
	}
}
