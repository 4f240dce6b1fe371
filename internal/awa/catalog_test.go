package awa

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/decoder"
)

// description is a Relation message, and what it means.
type description struct {
	name    string
	columns []string
	want    decoder.Table
}

// described are the tables of a layout with all features, with columns in no order that a table of awa's would have.
func described() map[uint32]description {
	leaf := []string{"payload", "enqueue_shard", "priority", "queue", "finalized_at", "ready_slot"}
	pending := []string{"terminal_delta", "queue", "enqueue_shard", "priority", "ready_slot"}
	return map[uint32]description{
		11: {"done_entries_0", leaf, decoder.Table{Kind: decoder.Rows, LeafSlot: 0, Slot: -1, Queue: 3, Priority: 2, Shard: 1, Bucket: -1, Value: -1, Failed: -1}},
		12: {"whatever", leaf, decoder.Table{Kind: decoder.Rows, LeafSlot: 7, Slot: -1, Queue: 3, Priority: 2, Shard: 1, Bucket: -1, Value: -1, Failed: -1}},
		52: {"Odd ledger", pending, decoder.Table{Kind: decoder.Ledger, LeafSlot: 7, Slot: -1, Queue: 1, Priority: 3, Shard: 2, Bucket: -1, Value: 0, Failed: -1}},
		20: {
			"queue_terminal_live_counts",
			[]string{"counter_bucket", "live_terminal_count", "ready_slot", "queue", "priority", "enqueue_shard"},
			decoder.Table{Kind: decoder.Counters, Slot: 2, Queue: 3, Priority: 4, Shard: 5, Bucket: 0, Value: 1, Failed: -1},
		},
		30: {"queue_ring_state", []string{"singleton", "terminal_counter_trusted_at"}, decoder.Table{Kind: decoder.Ring, Slot: -1, Queue: -1, Priority: -1, Shard: -1, Bucket: -1, Value: 1, Failed: -1}},
		40: {
			"queue_terminal_rollups",
			[]string{"pruned_failed_count", "queue", "priority", "pruned_completed_count"},
			decoder.Table{Kind: decoder.Rollups, Slot: -1, Queue: 1, Priority: 2, Shard: -1, Bucket: -1, Value: 3, Failed: 0},
		},
		60: {
			"queue_terminal_rollup_deltas",
			[]string{"id", "queue", "priority", "pruned_completed_delta", "pruned_failed_delta"},
			decoder.Table{Kind: decoder.RollupDeltas, Slot: -1, Queue: 1, Priority: 2, Shard: -1, Bucket: -1, Value: 3, Failed: 4},
		},
	}
}

func catalogOf() *Catalog {
	l := layoutOf(ledger)
	l.RollupDeltas, l.FoldsFailed = 60, true
	return NewCatalog(l)
}

// Tables are known by their OID, columns by their name.
func TestCatalogFindsColumnsByName(t *testing.T) {
	for oid, d := range described() {
		got, err := catalogOf().Table(oid, "awa", d.name, d.columns)
		require.NoError(t, err, d.name)
		require.Equal(t, d.want, got, d.name)
	}
}

// A column that does not come (renamed meanwhile, or left out by a column list) ends the stream; so does a table that
// was in another schema. Read on, each would count wrong.
func TestCatalogMissesNothing(t *testing.T) {
	wanted := map[uint32]int{11: 3, 12: 3, 52: 4, 20: 6, 30: 1, 40: 4, 60: 4}
	for oid, d := range described() {
		missed := 0
		for i := range d.columns {
			columns := slices.Delete(slices.Clone(d.columns), i, i+1)
			if _, err := catalogOf().Table(oid, "awa", d.name, columns); err != nil {
				require.ErrorIs(t, err, ErrLayoutChanged)
				missed++
			}
		}
		require.Equal(t, wanted[oid], missed, d.name)
		_, err := catalogOf().Table(oid, "public", d.name, d.columns)
		require.ErrorIs(t, err, ErrLayoutChanged, "%s in another schema", d.name)
	}
	one := NewCatalog(layoutOf(direct))
	_, err := one.Table(20, "awa", "queue_terminal_live_counts", described()[20].columns)
	require.ErrorIs(t, err, ErrLayoutChanged, "a bucket that was not there")
}

// Columns are known by their names as long as these stand where they stood: with others' names they would be taken for those. Columns
// that came later stand behind, and WAL from before them has fewer.
func TestCatalogKnowsWhereNamesStood(t *testing.T) {
	l := layoutOf(ledger)
	l.RollupDeltas, l.FoldsFailed, l.columns = 60, true, make(map[uint32][]string)
	for oid, d := range described() {
		l.columns[oid] = d.columns
		for i := range l.Leaves {
			if leaf := &l.Leaves[i]; leaf.OID == oid {
				leaf.Columns = d.columns
			} else if leaf.Ledger.OID == oid {
				leaf.Ledger.Columns = d.columns
			}
		}
	}
	c := NewCatalog(l)
	for oid, d := range described() {
		later := slices.Concat(d.columns, []string{"tags"})
		for _, columns := range [][]string{d.columns, later} {
			got, err := c.Table(oid, "awa", d.name, columns)
			require.NoError(t, err, d.name)
			require.Equal(t, d.want, got, d.name)
		}
		for i := range d.columns[1:] {
			swapped := slices.Clone(d.columns)
			swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
			_, err := c.Table(oid, "awa", d.name, swapped)
			require.ErrorIs(t, err, ErrLayoutChanged, "%s: %v", d.name, swapped)
			passed := slices.Clone(d.columns)
			passed[i], passed[i+1] = "old", passed[i]
			_, err = c.Table(oid, "awa", d.name, passed)
			require.ErrorIs(t, err, ErrLayoutChanged, "%s: %v", d.name, passed)
		}
	}
	l.columns[30] = slices.Concat(described()[30].columns, []string{"tags"})
	_, err := NewCatalog(l).Table(30, "awa", "queue_ring_state", described()[30].columns)
	require.NoError(t, err, "WAL from before a column was added")
}

// Tables that are created again under their old name, and leaves that come, are awa's changed; all others are nobody's
// business.
func TestCatalogTellsStrangersFromNewTables(t *testing.T) {
	c := catalogOf()
	for _, name := range []string{"queue_terminal_live_counts", "queue_ring_state", "done_entries", "queue_terminal_count_deltas"} {
		_, err := c.Table(99, "awa", name, []string{"x"})
		require.ErrorIs(t, err, ErrLayoutChanged, name)
	}
	for _, oid := range []uint32{11, 52} {
		_, err := c.Table(99, "awa", "new_leaf", described()[oid].columns)
		require.ErrorIs(t, err, ErrLayoutChanged, "a leaf like %d", oid)
	}
	for name, namespace := range map[string]string{"lease_claims": "awa", "done_entries": "public", "x": "public"} {
		got, err := c.Table(99, namespace, name, []string{"queue", "ready_slot"})
		require.NoError(t, err)
		require.Equal(t, decoder.Ignored, got.Kind)
	}
	unmarked := layoutOf(direct)
	unmarked.HasMarker, unmarked.Rollups = false, 0
	got, err := NewCatalog(unmarked).Table(0, "awa", "lease_claims", []string{"queue"})
	require.NoError(t, err, "a table that is not there has no OID")
	require.Equal(t, decoder.Ignored, got.Kind)
}
