package decoder

import (
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// Tx is one committed transaction.
type Tx struct {
	XID        uint32
	Commit     pglogrepl.LSN // start of the commit record
	End        pglogrepl.LSN // end of the commit record: the position after this transaction
	CommitTime time.Time     // the server's clock
	Effect     Effect
	Tokens     []Token // messages under our prefix: the transaction was written by an awa-counterd
}

// Token is a message that an awa-counterd put into its own transaction (docs/design.md §5).
type Token struct {
	Content string
}

// Effect is what a transaction leaves behind, in normal form: first the truncates, then the
// changes on top of them. Effects on rows, on counter rows and on the ledger commute, since no
// group's number of one kind depends on another kind.
type Effect struct {
	Truncated     []int32         // slots whose leaf was emptied; their rows start from 0
	Rows          []Change        // net of what came after the truncate; one entry a group
	Pruned        []Change        // what the transaction itself had put into a leaf before emptying it
	CountersReset bool            // the counter table was truncated; counters start from nothing
	Counters      []CounterChange // newest value; one entry a counter row
	LedgerEmptied []int32         // slots whose leaf of the ledger was emptied; what is pending starts from 0
	Pending       []Change        // net of what came after that; one entry a group
	// CountingPrunes are slots of which one TRUNCATE listed both leaves, as the pruners of binaries that know
	// the ledger do.
	CountingPrunes []int32
	Rollups        []RollupChange // newest value; one entry a (queue, priority)
	Folded         []RollupChange // changes that are not in a rollup yet; one entry a (queue, priority)
	RollupsReset   bool           // the rollup table was truncated
	Marker         MarkerChange
}

// Change adds N rows, or N that are pending (or takes −N away), to a group.
type Change struct {
	counter.Group
	N int64
}

// CounterChange gives a counter row its new value, or removes it.
type CounterChange struct {
	counter.Group
	Bucket int16 // 0 where a group has one row
	Gone   bool
	Value  int64
}

// RollupChange gives the new number of pruned jobs of a (queue, priority).
type RollupChange struct {
	Queue     string
	Priority  int16
	Fresh     bool // the row was inserted, so the value before was 0
	Completed int64
	Failed    int64 // 0 where failed jobs are folded with the others
}

// Jobs is how many jobs that is, whatever became of them.
func (r RollupChange) Jobs() int64 { return r.Completed + r.Failed }

// MarkerChange says what a transaction that wrote the ring state left in the trust marker.
type MarkerChange struct {
	Seen bool // the ring state was written at all
	Set  bool
}

// Empty reports whether the effect changes nothing that the books hold.
func (e *Effect) Empty() bool {
	return len(e.Truncated) == 0 && len(e.Rows) == 0 && !e.CountersReset && len(e.Counters) == 0 &&
		len(e.LedgerEmptied) == 0 && len(e.Pending) == 0 &&
		len(e.Rollups) == 0 && len(e.Folded) == 0 && !e.RollupsReset && !e.Marker.Seen
}

// OnlyCorrects reports that nothing was changed but counter rows and the marker: an awa-counterd writes nothing else that is streamed.
func (e *Effect) OnlyCorrects() bool {
	rest := *e
	rest.Counters, rest.Marker = nil, MarkerChange{}
	return rest.Empty() && len(e.Pruned) == 0
}
