package applier

import (
	"maps"
	"slices"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// Kind is how a transaction came to leave a counter wrong (docs/design.md §12).
type Kind string

// The kinds. The first two are the work of binaries that do not count; the last is not, and a fleet that
// counts may show it for ever.
const (
	KindRows    Kind = "rows"    // it changed rows, and did not count that
	KindPrune   Kind = "prune"   // it emptied a leaf, and left what counted its rows behind
	KindCounter Kind = "counter" // it changed counters alone: a clamp, a rebuild, a migration, a person
)

// Source names what uncounted writes are kept by.
type Source struct {
	Queue string
	Kind  Kind
}

// Uncounted is what is known of the writes of one kind that left the counters of one queue wrong.
type Uncounted struct {
	Rows         int64 // by how much, all in all, rows and counters were driven apart
	Transactions int64
	PerSecond    float64   // rows, over the time between the last two checkpoints
	LastAt       time.Time // commit time, the server's clock
	LastLSN      pglogrepl.LSN
}

type uncounted struct {
	sources map[Source]Uncounted
	dirty   map[Source]struct{}
	total   int64     // rows, of the kinds that old binaries are known by
	last    time.Time // of these kinds
	lastQ   string
	pruned  time.Time // when a leaf was emptied last by a binary that does not count, drift or not

	watch    watch
	before   map[Source]int64 // rows at the last checkpoint
	beforeAt time.Time
	by       map[Source]int64 // of one transaction; here for its memory
}

// takeChanged hands out what a checkpoint has to store: what was written since the last one, and once
// more what has gone quiet, so that no rate stands that is over.
func (u *uncounted) takeChanged(now time.Time) map[Source]Uncounted {
	out := make(map[Source]Uncounted, len(u.dirty))
	next := make(map[Source]struct{})
	for s := range u.dirty {
		n := u.sources[s]
		n.PerSecond = 0
		if since := now.Sub(u.beforeAt).Seconds(); since > 0 && !u.beforeAt.IsZero() {
			n.PerSecond = float64(n.Rows-u.before[s]) / since
		}
		if n.PerSecond > 0 {
			next[s] = struct{}{}
		}
		u.sources[s], u.before[s] = n, n.Rows
		out[s] = n
	}
	u.dirty, u.beforeAt = next, now
	return out
}

// restore gives back what could not be stored.
func (u *uncounted) restore(sources map[Source]Uncounted) {
	for s := range sources {
		u.dirty[s] = struct{}{}
	}
}

func newUncounted(known map[Source]Uncounted, pruned time.Time) *uncounted {
	u := &uncounted{
		sources: make(map[Source]Uncounted, len(known)), dirty: make(map[Source]struct{}), before: make(map[Source]int64, len(known)),
		pruned: pruned,
	}
	for s, n := range known {
		if n.PerSecond > 0 {
			u.dirty[s] = struct{}{} // an old rate
		}
		u.sources[s], u.before[s] = n, n.Rows
		u.noteOldBinary(s, n.Rows, n.LastAt)
	}
	return u
}

// forgetOldest forgets the older half of the sources when they are too many: queues come and go. No LRU cache: what is dirty has to
// stay until it is stored, however old it is.
func (u *uncounted) forgetOldest() {
	if len(u.sources) <= mostSources {
		return
	}
	order := slices.SortedFunc(maps.Keys(u.sources), func(a, b Source) int { return u.sources[a].LastAt.Compare(u.sources[b].LastAt) })
	keep := make(map[Source]Uncounted, mostSources)
	before := make(map[Source]int64, mostSources)
	for i, s := range order {
		if _, dirty := u.dirty[s]; dirty || i >= len(order)/2 {
			keep[s] = u.sources[s]
			before[s] = u.before[s]
		}
	}
	u.sources, u.before = keep, before
}

// noteOldBinary keeps what tells of old binaries.
func (u *uncounted) noteOldBinary(s Source, rows int64, at time.Time) {
	if s.Kind == KindCounter {
		return
	}
	u.total += rows
	if at.After(u.last) {
		u.last, u.lastQ = at, s.Queue
	}
}

// lastOldBinary is when old binaries were at work last: wrote rows uncounted, or emptied a leaf.
func (u *uncounted) lastOldBinary() time.Time {
	if u.pruned.After(u.last) {
		return u.pruned
	}
	return u.last
}

// describe says what they did.
func (u *uncounted) describe() string {
	if u.pruned.After(u.last) {
		return "a pre-#290 leader emptied a ring slot"
	}
	return "uncounted writes on queue " + u.lastQ
}

// note counts a transaction that is not ours. A group that it left right is not counted: a prune or a
// rebuild that repairs a drift on its way is no sign of an old binary.
func (u *uncounted) note(now time.Time, tx *decoder.Tx, changes []change, shape Shape) {
	if shape.Ledger {
		for _, slot := range tx.Effect.Truncated {
			if slices.Contains(tx.Effect.CountingPrunes, slot) {
				continue
			}
			u.watch.heard(now)
			if tx.CommitTime.After(u.pruned) {
				u.pruned = tx.CommitTime
			}
		}
	}
	kinds := kinds{e: &tx.Effect, shape: shape}
	for _, c := range changes {
		if c.after == 0 || c.after == c.before || kinds.countingPrune(c.Slot) {
			continue
		}
		if u.by == nil {
			u.by = make(map[Source]int64, 1)
		}
		u.by[Source{c.Queue, kinds.of(c)}] += abs(c.after - c.before)
	}
	for s, rows := range u.by {
		n := u.sources[s]
		n.Rows += rows
		n.Transactions++
		n.LastAt, n.LastLSN = tx.CommitTime, tx.End
		u.sources[s] = n
		u.dirty[s] = struct{}{}
		u.forgetOldest()
		u.noteOldBinary(s, rows, tx.CommitTime)
		if s.Kind != KindCounter {
			u.watch.heard(now)
		}
	}
	if len(u.by) > mostKept { // clearing costs what the largest of them had
		u.by = nil
	}
	clear(u.by)
}

// mostKept is for how many sources of one transaction memory is kept until the next.
const mostKept = 64

// kinds tells what the changes of one transaction are. What it needs is gathered once: a bulk transaction
// may change a hundred thousand groups.
type kinds struct {
	e        *decoder.Effect
	shape    Shape
	rows     map[counter.Group]struct{}
	counting map[int32]bool
}

func (k *kinds) of(c change) Kind {
	if slices.Contains(k.e.Truncated, c.Slot) {
		return KindPrune
	}
	if len(k.e.Rows) <= fewRows {
		for i := range k.e.Rows {
			if k.e.Rows[i].Group == c.Group {
				return KindRows
			}
		}
		return KindCounter
	}
	if k.rows == nil {
		k.rows = make(map[counter.Group]struct{}, len(k.e.Rows))
		for _, r := range k.e.Rows {
			k.rows[r.Group] = struct{}{}
		}
	}
	if _, ok := k.rows[c.Group]; ok {
		return KindRows
	}
	return KindCounter
}

// fewRows is up to how many groups are looked through one by one.
const fewRows = 8

// countingPrune reports that the transaction emptied the slot as binaries that count do. A counter that it
// left behind is one that we made while it was under way. Such binaries empty the ledger's leaf by the same
// statement; where there is none, they take counter rows of the slot away.
func (k *kinds) countingPrune(slot int32) bool {
	if k.shape.Ledger {
		return slices.Contains(k.e.CountingPrunes, slot)
	}
	if !slices.Contains(k.e.Truncated, slot) {
		return false
	}
	counting, known := k.counting[slot]
	if !known {
		counting = slices.ContainsFunc(k.e.Counters, func(c decoder.CounterChange) bool { return c.Gone && c.Slot == slot })
		if k.counting == nil {
			k.counting = make(map[int32]bool, 1)
		}
		k.counting[slot] = counting
	}
	return counting
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}
