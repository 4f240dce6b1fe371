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
//
// Where awa has receipts a prune also folds jobs that never were rows, and leaves out the failed rows that
// it carries on to the current slot in the same transaction. Then only a shortfall tells: what was folded
// and what was carried must be no less than the rows.
func (b *Books) auditPrune(e *decoder.Effect, receipts bool) (checked int, out []PruneMismatch) {
	if e.RollupsReset {
		clear(b.rollups)
	}
	if len(e.Rollups) == 0 && len(e.Folded) == 0 && len(e.CountingPrunes) == 0 {
		return 0, nil // no prune
	}
	folded, blind := b.folded(e)
	if e.RollupsReset {
		return 0, nil
	}
	held, known := b.rowsInEmptiedLeaves(e)
	if !known {
		return 0, nil
	}
	if receipts {
		for _, c := range e.Rows {
			folded[rollupKey{c.Queue, c.Priority}] += max(c.N, 0)
		}
	}
	for k := range held {
		folded[k] += 0 // what it should have folded
	}
	for k, jobs := range folded {
		if _, ok := blind[k]; ok {
			continue
		}
		checked++
		if jobs < held[k] || (jobs > held[k] && !receipts) {
			out = append(out, PruneMismatch{Queue: k.queue, Priority: k.priority, Books: held[k], Folded: jobs})
		}
	}
	return checked, out
}

// folded sums what a transaction added to the rollups. blind are those of which the total before is not
// known.
func (b *Books) folded(e *decoder.Effect) (jobs map[rollupKey]int64, blind map[rollupKey]struct{}) {
	jobs, blind = make(map[rollupKey]int64), make(map[rollupKey]struct{})
	for _, r := range e.Rollups {
		k := rollupKey{r.Queue, r.Priority}
		before, seen := b.rollups[k]
		if r.Fresh {
			before, seen = 0, true
		}
		if _, there := b.rollups[k]; !there && len(b.rollups) >= mostRollups {
			clear(b.rollups) // queues come and go; each is blind once more
		}
		b.rollups[k] = r.Jobs()
		jobs[k] += r.Jobs() - before
		if !seen {
			blind[k] = struct{}{}
		}
	}
	for _, r := range e.Folded {
		jobs[rollupKey{r.Queue, r.Priority}] += r.Jobs()
	}
	return jobs, blind
}

// rowsInEmptiedLeaves sums what the books have for the leaves that e empties, with what e itself put there first.
// It reports false when e empties none, or when one of them is not settled.
func (b *Books) rowsInEmptiedLeaves(e *decoder.Effect) (map[rollupKey]int64, bool) {
	if len(e.Truncated) == 0 {
		return nil, false
	}
	held := make(map[rollupKey]int64)
	for _, slot := range e.Truncated {
		u := b.unit(slot)
		if !u.settled() {
			return nil, false
		}
		for id := range u.main.all() {
			if e := u.main.groups.At(id); e.Slot() == slot && e.Rows != 0 {
				g := u.main.groups.Group(e)
				held[rollupKey{g.Queue, g.Priority}] += e.Rows
			}
		}
	}
	for _, c := range e.Pruned {
		held[rollupKey{c.Queue, c.Priority}] += c.N
	}
	return held, true
}
