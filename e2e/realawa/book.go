package main

import (
	"slices"
	"sync"
	"time"
)

// change is what one transaction did to a group of done_entries and its ledger.
type change struct {
	rows, ledger int64
}

// transaction is what the stream says of one.
type transaction struct {
	at          time.Time // of its commit, by the server's clock
	groups      map[group]change
	inserted    map[string]int64 // rows by queue
	deleted     map[string]int64
	doneLeaf    map[int32]bool // truncated
	ledgerLeaf  map[int32]bool
	cursorAfter uint64
}

// uncounted is a write that a counter missed.
type uncounted struct {
	at time.Time
	n  int64
}

// book is what the test's own replication slot has told: the naive consumer's sums, and every uncounted write.
type book struct {
	mu    sync.Mutex
	naive map[string]int64 // +1 an INSERT, −1 a DELETE; a TRUNCATE does not say how many
	log   map[group][]uncounted
	upset map[int32][]time.Time // a leaf was truncated: what its groups are wrong by then has no sum
	books

	position uint64
}

// books are the sums.
type books struct {
	RowsUncounted    int64 `json:"rows_uncounted"`    // inserted without a ledger row
	RemovedUncounted int64 `json:"removed_uncounted"` // deleted without one
	RowsCounted      int64 `json:"rows_counted"`
	OldPrunes        int64 `json:"old_prunes"`
	NewPrunes        int64 `json:"new_prunes"`
	Folds            int64 `json:"folds"`
}

func newBook(start map[string]int64) *book {
	return &book{naive: start, log: make(map[group][]uncounted), upset: make(map[int32][]time.Time)}
}

// take enters a transaction.
func (b *book) take(t transaction) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for q, n := range t.inserted {
		b.naive[q] += n
	}
	for q, n := range t.deleted {
		b.naive[q] -= n
	}
	for slot := range t.doneLeaf {
		b.upset[slot] = append(b.upset[slot], t.at)
		if t.ledgerLeaf[slot] {
			b.NewPrunes++
		} else {
			b.OldPrunes++
		}
	}
	for slot := range t.ledgerLeaf {
		if !t.doneLeaf[slot] {
			b.Folds++
		}
	}
	for g, c := range t.groups {
		n := c.rows - c.ledger
		if t.doneLeaf[g.Slot] {
			continue // rows that went with the leaf
		}
		if n != 0 {
			b.log[g] = append(b.log[g], uncounted{t.at, n})
		}
		if n > 0 {
			b.RowsUncounted += n
		} else {
			b.RemovedUncounted -= n
		}
		b.RowsCounted += max(0, min(c.rows, c.ledger))
	}
	b.position = max(b.position, t.cursorAfter)
}

// reached takes a position up to which there is nothing more to come.
func (b *book) reached(position uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.position = max(b.position, position)
}

func (b *book) at() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.position
}

func (b *book) sums() books {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.books
}

// wrote reports whether anything uncounted was written to a queue.
func (b *book) wrote(queue string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for g, log := range b.log {
		if g.Queue == queue && len(log) > 0 {
			return true
		}
	}
	return false
}

// explains reports whether a group may be wrong by d at a time with nothing missing that is older than
// young: d is a sum of its latest uncounted writes, all of them that young, or its leaf was truncated so
// lately. Commit times come a moment before the commit can be seen, so the very last ones may be missing.
func (b *book) explains(g group, d int64, at time.Time, young time.Duration) bool {
	const unseen = 100 * time.Millisecond
	b.mu.Lock()
	defer b.mu.Unlock()
	from := at.Add(-young)
	for _, t := range b.upset[g.Slot] {
		if t.After(from) && t.Before(at.Add(unseen)) {
			return true
		}
	}
	log := b.log[g]
	for last, latest := range slices.Backward(log) {
		if latest.at.After(at.Add(unseen)) {
			continue
		}
		var n int64
		for i := last; i >= 0 && log[i].at.After(from); i-- {
			if n += log[i].n; n == d {
				return true
			}
		}
		if latest.at.Before(at.Add(-unseen)) {
			break
		}
	}
	return false
}

// missed is how wrong the naive consumer is, over queues; doubled is how wrong it is when its sums since
// the start are put on top of what awa counted itself.
func (b *book) missed(start map[string]int64, now map[string]count, inBand map[string]int64) (naive, doubled int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	queues := make(map[string]bool)
	for q := range now {
		queues[q] = true
	}
	for q := range b.naive {
		queues[q] = true
	}
	for q := range queues {
		naive += distance(b.naive[q], now[q].Rows)
		doubled += distance(inBand[q]+b.naive[q]-start[q], now[q].Rows)
	}
	return naive, doubled
}

func distance(a, b int64) int64 { return max(a-b, b-a) }
