package applier

import (
	"slices"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/decoder"
)

// Uncounted is what is known of the writes to one queue that left its counters wrong.
type Uncounted struct {
	Rows         int64 // by how much, all in all, rows and counters were driven apart
	Transactions int64
	PerSecond    float64   // rows, over the time between the last two checkpoints
	LastAt       time.Time // commit time, the server's clock
	LastLSN      pglogrepl.LSN
}

type uncounted struct {
	queues map[string]Uncounted
	dirty  map[string]struct{}
	total  int64
	last   time.Time
	lastQ  string

	before   map[string]int64 // rows of each queue at the last checkpoint
	beforeAt time.Time
}

// changed hands out what a checkpoint has to store: the queues written since the last one, and once
// more those that have gone quiet, so that no rate stands that is over.
func (u *uncounted) changed(now time.Time) map[string]Uncounted {
	out := make(map[string]Uncounted, len(u.dirty))
	next := make(map[string]struct{})
	for q := range u.dirty {
		n := u.queues[q]
		n.PerSecond = 0
		if since := now.Sub(u.beforeAt).Seconds(); since > 0 && !u.beforeAt.IsZero() {
			n.PerSecond = float64(n.Rows-u.before[q]) / since
		}
		if n.PerSecond > 0 {
			next[q] = struct{}{}
		}
		u.queues[q], u.before[q] = n, n.Rows
		out[q] = n
	}
	u.dirty, u.beforeAt = next, now
	return out
}

// restore gives back what could not be stored.
func (u *uncounted) restore(queues map[string]Uncounted) {
	for q := range queues {
		u.dirty[q] = struct{}{}
	}
}

func newUncounted(known map[string]Uncounted) *uncounted {
	u := &uncounted{
		queues: make(map[string]Uncounted, len(known)), dirty: make(map[string]struct{}), before: make(map[string]int64, len(known)),
	}
	for q, n := range known {
		if n.PerSecond > 0 {
			u.dirty[q] = struct{}{} // an old rate
		}
		u.queues[q], u.before[q] = n, n.Rows
		u.total += n.Rows
		if n.LastAt.After(u.last) {
			u.last, u.lastQ = n.LastAt, q
		}
	}
	return u
}

// note counts a transaction that changed drifts and is not ours. A group that it left right is not
// counted: a prune or a rebuild that repairs a drift on its way is no sign of an old binary.
func (u *uncounted) note(tx *decoder.Tx, changes []change) {
	var queues map[string]int64
	for _, c := range changes {
		if c.after == 0 || c.after == c.before || countingPrune(&tx.Effect, c.Slot) {
			continue
		}
		if queues == nil {
			queues = make(map[string]int64, 1)
		}
		queues[c.Queue] += abs(c.after - c.before)
	}
	for q, rows := range queues {
		n := u.queues[q]
		n.Rows += rows
		n.Transactions++
		n.LastAt, n.LastLSN = tx.CommitTime, tx.End
		u.queues[q] = n
		u.dirty[q] = struct{}{}
		u.total += rows
		u.last, u.lastQ = tx.CommitTime, q
	}
}

// countingPrune reports that a transaction emptied the slot and took counter rows of it away, as
// post-#290 pruners do. A counter that it left behind is one that we made while it was under way.
func countingPrune(e *decoder.Effect, slot int32) bool {
	return slices.Contains(e.Truncated, slot) &&
		slices.ContainsFunc(e.Counters, func(c decoder.CounterChange) bool { return c.Gone && c.Slot == slot })
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}
