package sim

import (
	"flag"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/awa"
)

var simShape = flag.String("sim.shape", "all", "run with counters of this shape only: #306, striped, ledger")

const ownBucket = awa.OwnBucket

// shape is a form that awa's counters come in, and what else differs between the releases that have it.
type shape struct {
	awa.Shape

	receipts bool // 0.6.0 and later: prunes fold more than rows, and carry failed rows on
	appends  bool // 0.7: prunes append what they fold, instead of changing a total
}

// shapeFor is one release or another that has the shape, by seed.
func shapeFor(s awa.Shape, seed uint64) shape {
	out := shape{Shape: s}
	if s.HasLedger() {
		out.receipts, out.appends = seed%3 > 0, seed%3 == 2
	}
	return out
}

// own is the bucket that corrections go to.
func (s shape) own() int16 {
	if s.HasBuckets() {
		return ownBucket
	}
	return 0
}

// row is the counter row that a job is counted in.
func (s shape) row(k key) key {
	if !s.HasBuckets() {
		k.bucket = 0
	}
	return k
}

// core is what applier has to know of it.
func (s shape) core() applier.Shape {
	out := applier.Shape{Ledger: s.HasLedger(), Receipts: s.receipts}
	if s.HasBuckets() {
		out.OwnBucket = s.own()
	}
	return out
}

const (
	leafOIDs        = 1000 // and the slot
	ledgerOIDs      = 1500 // and the slot
	counterOID      = 2000
	ringOID         = 3000
	rollupOID       = 4000
	rollupDeltasOID = 5000
)

// layout is what internal/awa would find in the catalog.
func (s shape) layout() *awa.Layout {
	l := &awa.Layout{
		Schema: "awa", Shape: s.Shape, Counters: counterOID, Ring: ringOID, HasMarker: true, Rollups: rollupOID,
		Receipts: s.receipts, FoldsFailed: s.receipts,
	}
	if s.appends {
		l.RollupDeltas = rollupDeltasOID
	}
	for _, slot := range worldLeaves {
		leaf := awa.Leaf{Slot: slot, Partition: awa.Partition{OID: leafOIDs + uint32(slot), Name: fmt.Sprint("done_entries_", slot)}}
		if s.HasLedger() {
			leaf.Ledger = awa.Partition{OID: ledgerOIDs + uint32(slot), Name: fmt.Sprint("queue_terminal_count_deltas_", slot)}
		}
		l.Leaves = append(l.Leaves, leaf)
	}
	return l
}

// shapes are those that were asked for.
func shapes(t *testing.T) (out []awa.Shape) {
	t.Helper()
	for _, s := range awa.Shapes() {
		if *simShape == "all" || *simShape == s.Name() {
			out = append(out, s)
		}
	}
	require.NotEmpty(t, out, "no shape %q", *simShape)
	return out
}
