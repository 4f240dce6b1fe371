package applier

import (
	"github.com/awa-counterd/awa-counterd/decoder"
)

type rollupKey struct {
	queue    string
	priority int16
}

// rollups follows queue_terminal_rollups: what pruners say they folded away.
type rollups map[rollupKey]int64

// PruneMismatch is a prune that folded another number of jobs into the rollups than the books held
// for the leaves it emptied. It is reported and never acted on (docs/design.md §3).
type PruneMismatch struct {
	Queue    string
	Priority int16
	Books    int64
	Folded   int64
}

// auditPrune compares a prune with the books. It must be called before the transaction is applied.
func (b *Books) auditPrune(e *decoder.Effect) (checked int, out []PruneMismatch) {
	if e.RollupsReset {
		clear(b.rollups)
	}
	if len(e.Rollups) == 0 {
		return 0, nil
	}
	held, known := b.held(e)
	for _, r := range e.Rollups {
		k := rollupKey{r.Queue, r.Priority}
		before, seen := b.rollups[k]
		if r.Fresh {
			before, seen = 0, true
		}
		b.rollups[k] = r.Value
		if !known || !seen {
			continue
		}
		checked++
		if folded := r.Value - before; folded != held[k] {
			out = append(out, PruneMismatch{Queue: r.Queue, Priority: r.Priority, Books: held[k], Folded: folded})
		}
	}
	return checked, out
}

// held sums what the books have for the leaves that e empties, with what e itself put there first.
// It reports false when e empties none, or when one of them is not settled.
func (b *Books) held(e *decoder.Effect) (map[rollupKey]int64, bool) {
	if len(e.Truncated) == 0 {
		return nil, false
	}
	held := make(map[rollupKey]int64)
	for _, slot := range e.Truncated {
		u := b.unit(slot)
		if !u.settled() {
			return nil, false
		}
		for g, c := range u.main.cells {
			if g.Slot == slot {
				held[rollupKey{g.Queue, g.Priority}] += c.Rows
			}
		}
	}
	for _, c := range e.Pruned {
		held[rollupKey{c.Queue, c.Priority}] += c.N
	}
	return held, true
}
