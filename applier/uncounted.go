package applier

import (
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/decoder"
)

// Uncounted is what is known of the writes to one queue that left its counters wrong.
type Uncounted struct {
	Rows         int64 // by how much, all in all, rows and counters were driven apart
	Transactions int64
	LastAt       time.Time // commit time, the server's clock
	LastLSN      pglogrepl.LSN
}

type uncounted struct {
	queues map[string]Uncounted
	dirty  map[string]struct{}
	total  int64
	last   time.Time
	lastQ  string
}

func newUncounted(known map[string]Uncounted) *uncounted {
	u := &uncounted{queues: make(map[string]Uncounted, len(known)), dirty: make(map[string]struct{})}
	for q, n := range known {
		u.queues[q] = n
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
		if c.after == 0 || c.after == c.before {
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

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}
