package applier

import (
	"maps"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/decoder"
)

// Totals counts since the Core was made.
type Totals struct {
	Start           time.Time
	Transactions    int64
	Rows            int64 // rows of done_entries inserted or deleted; a truncate counts none
	Corrections     int64 // groups corrected and committed
	Deferred        int64 // corrections put off because the counter row was locked
	Flushes         int64
	Scans           int64
	Rescans         int64
	Audits          int64 // full rounds in which every slot agreed
	AuditsAgreed    int64 // slots in which the books agreed with a scan
	AuditsDisagreed int64 // slots in which they did not, and the scan was taken over
	AuditMismatches int64 // groups in which the books disagreed with a scan
	Prunes          int64 // (queue, priority) folds compared with the books
	PruneMismatches int64
	Checkpoints     int64
	Trusted         int64 // times the marker was set
	Distrusted      int64 // times it was cleared
}

func (t *Totals) count(e *decoder.Effect) {
	for _, c := range e.Rows {
		t.Rows += abs(c.N)
	}
	for _, c := range e.Pruned {
		t.Rows += abs(c.N)
	}
}

// Add adds what one Core counted from one reading to another.
func (t *Totals) Add(now, before *Totals) {
	t.Transactions += now.Transactions - before.Transactions
	t.Rows += now.Rows - before.Rows
	t.Corrections += now.Corrections - before.Corrections
	t.Deferred += now.Deferred - before.Deferred
	t.Flushes += now.Flushes - before.Flushes
	t.Scans += now.Scans - before.Scans
	t.Rescans += now.Rescans - before.Rescans
	t.Audits += now.Audits - before.Audits
	t.AuditsAgreed += now.AuditsAgreed - before.AuditsAgreed
	t.AuditsDisagreed += now.AuditsDisagreed - before.AuditsDisagreed
	t.AuditMismatches += now.AuditMismatches - before.AuditMismatches
	t.Prunes += now.Prunes - before.Prunes
	t.PruneMismatches += now.PruneMismatches - before.PruneMismatches
	t.Checkpoints += now.Checkpoints - before.Checkpoints
	t.Trusted += now.Trusted - before.Trusted
	t.Distrusted += now.Distrusted - before.Distrusted
}

// Status is one reading of everything an operator may want to know of the Core.
type Status struct {
	Totals
	Position       pglogrepl.LSN
	Persisted      pglogrepl.LSN
	Lag            time.Duration // upper bound of how far the books are behind
	LagBytes       uint64        // WAL between the position and the server's end of it at the last token
	RoundTrip      time.Duration // of the last token: from writing to reading it back
	Groups         int
	DriftGroups    int
	Drift          int64 // sum of the absolute drifts
	OldestDrift    time.Duration
	Settled, Units int // slots whose books can be acted on, of all
	Journal        int
	MarkerSet      bool
	MarkerSince    time.Time
	Reason         string    // why the marker is not set
	Doubt          DoubtKind // the same for programs
	LastAudit      time.Time
	Auditing       bool
	UncountedRows  int64
	UncountedLast  time.Time
	UncountedQueue string // the queue written last
	Uncounted      map[Source]Uncounted
	OldPrune       time.Time     // when a leaf was emptied last by a binary that does not count
	Quiet          time.Duration // for so long, at least, old binaries have been quiet while a daemon watched
	Stopping       bool
	ServerNow      time.Time // an upper bound of the server's clock at that time
}

// OldestDrift is the age of the oldest write that readers may not see corrected; 0 when there is none.
func (c *Core) OldestDrift(now time.Time) time.Duration {
	return c.staleness.oldest(now, c.serverNow(now))
}

// MaxGroupsByQueue is how many groups Drifts walks at most: about a millisecond's worth.
const MaxGroupsByQueue = 10_000

// Drifts sums the absolute drifts by queue; a queue that is right is left out. It is false, and nil, when more than MostDivided
// groups are wrong: whoever looks on must not hold up what sets them right.
func (c *Core) Drifts() (map[string]int64, bool) {
	if c.books.drifting() > MaxGroupsByQueue {
		return nil, false
	}
	out := make(map[string]int64)
	for _, u := range c.books.units {
		for id := range u.drifting() {
			e := u.main.groups.At(id)
			out[u.main.groups.Group(e).Queue] += abs(e.Drift())
		}
	}
	return out, true
}

// MarkerSet reports whether the marker is set, or may be.
func (c *Core) MarkerSet() bool { return c.marker.set || (c.marker.busy && c.marker.want) }

// MarkerChanges is how often the marker was set or cleared by us.
func (c *Core) MarkerChanges() int64 { return c.totals.Trusted + c.totals.Distrusted }

// State is the trust of this moment in a few words, for the leader's row.
func (c *Core) State(now time.Time) string {
	if d := c.doubt(now); d != "" {
		return d
	}
	return "trusted"
}

// Status reads the Core at time now.
func (c *Core) Status(now time.Time) Status {
	doubt := c.why(now)
	s := Status{
		Totals: c.totals, Position: c.books.position, Persisted: c.checkpointing.position,
		Lag: c.Lag(now), RoundTrip: c.tokens.roundTrip,
		Groups: c.books.groups(), DriftGroups: c.books.drifting(), Drift: c.books.totalDrift(),
		OldestDrift: c.OldestDrift(now),
		Settled:     c.books.settled(), Units: len(c.books.order),
		Journal:   len(c.journal.entries),
		MarkerSet: c.marker.set, MarkerSince: c.marker.since, Reason: doubt.Text, Doubt: doubt.Kind,
		LastAudit: c.scans.lastAudit, Auditing: c.scans.auditing,
		UncountedRows: c.uncounted.total, UncountedLast: c.uncounted.last, UncountedQueue: c.uncounted.lastQ,
		Uncounted: maps.Clone(c.uncounted.sources), OldPrune: c.uncounted.pruned, Quiet: c.uncounted.watch.quiet, Stopping: c.stopping, ServerNow: c.serverNow(now),
	}
	if c.insert > c.books.position {
		s.LagBytes = uint64(c.insert - c.books.position)
	}
	return s
}
