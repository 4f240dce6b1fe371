package awa

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/awa-counterd/awa-counterd/decoder"
)

// ErrLayoutChanged says that the stream describes a relation that the layout does not have: awa's
// tables were created again, or a leaf was added.
var ErrLayoutChanged = errors.New("awa's tables have changed")

// Catalog answers the decoder from a layout. It implements decoder.Catalog.
type Catalog struct {
	layout  *Layout
	leaves  map[uint32]int32 // slots by OID
	ledgers map[uint32]int32
	columns map[uint32][]string // by OID, as they were when the layout was read
}

// NewCatalog makes a Catalog for one connection.
func NewCatalog(l *Layout) *Catalog {
	c := &Catalog{layout: l, leaves: make(map[uint32]int32), ledgers: make(map[uint32]int32), columns: maps.Clone(l.columns)}
	if c.columns == nil {
		c.columns = make(map[uint32][]string)
	}
	for _, leaf := range l.Leaves {
		c.leaves[leaf.OID], c.columns[leaf.OID] = leaf.Slot, leaf.Columns
		if l.Shape.ledger {
			c.ledgers[leaf.Ledger.OID], c.columns[leaf.Ledger.OID] = leaf.Slot, leaf.Ledger.Columns
		}
	}
	return c
}

// hasRelation reports a relation of the layout, whatever it is called now.
func (c *Catalog) hasRelation(oid uint32) bool {
	l := c.layout
	return slices.Contains(l.OIDs(), oid) || (oid != 0 && (oid == l.Rollups || oid == l.RollupDeltas))
}

// checkColumn demands that a table has a column if and only if it had it when the layout was read: its rows would
// be understood wrongly otherwise.
func (l *Layout) checkColumn(column string, columns []string, had bool) error {
	if slices.Contains(columns, column) != had {
		return fmt.Errorf("column %s of schema %s was added or dropped: %w", column, l.Schema, ErrLayoutChanged)
	}
	return nil
}

// samePlaces demands that columns stand where they stood when the layout was read: one that has the name of another now would be
// taken for it. New columns come behind all others, and WAL from before them has fewer.
func (c *Catalog) samePlaces(oid uint32, columns []string) error {
	had := c.columns[oid]
	n := min(len(had), len(columns))
	if !slices.Equal(had[:n], columns[:n]) {
		return fmt.Errorf("its columns were renamed or dropped: %w", ErrLayoutChanged)
	}
	return nil
}

// column is a column and where to note its ordinal.
type column struct {
	column string
	at     *int
}

// Table tells what a relation means to the books.
func (c *Catalog) Table(oid uint32, namespace, name string, columns []string) (decoder.Table, error) {
	t, err := c.find(oid, namespace, name, columns)
	if err != nil {
		return t, err
	}
	if err := c.samePlaces(oid, columns); err != nil {
		return t, fmt.Errorf("%s.%s: %w", namespace, name, err)
	}
	return t, nil
}

// find is Table by the names of columns alone.
func (c *Catalog) find(oid uint32, namespace, name string, columns []string) (decoder.Table, error) {
	t := decoder.Table{Slot: -1, Queue: -1, Priority: -1, Shard: -1, Bucket: -1, Value: -1, Failed: -1}
	if namespace != string(c.layout.Schema) {
		if c.hasRelation(oid) {
			return t, fmt.Errorf("%s.%s was in schema %s at the start: %w", namespace, name, c.layout.Schema, ErrLayoutChanged)
		}
		return t, nil
	}
	find := func(in ...column) error {
		for _, w := range in {
			if *w.at = slices.Index(columns, w.column); *w.at < 0 {
				return fmt.Errorf("the stream does not send column %[3]s of %[1]s.%[2]s; does a column list leave it out? %[4]w",
					namespace, name, w.column, ErrLayoutChanged)
			}
		}
		return nil
	}
	queue, priority, shard := column{queueColumn, &t.Queue}, column{priorityColumn, &t.Priority}, column{shardColumn, &t.Shard}
	leaf, isLeaf := c.leaves[oid]
	ledgerLeaf, isLedger := c.ledgers[oid]
	l := c.layout
	switch {
	case isLeaf:
		t.Kind, t.LeafSlot = decoder.Rows, leaf
		return t, find(queue, priority, shard)
	case isLedger:
		t.Kind, t.LeafSlot = decoder.Ledger, ledgerLeaf
		return t, find(queue, priority, shard, column{deltaColumn, &t.Value})
	case oid == l.Counters:
		t.Kind = decoder.Counters
		if err := l.checkColumn(bucketColumn, columns, l.Shape.bucketed); err != nil {
			return t, err
		}
		err := find(column{slotColumn, &t.Slot}, queue, priority, shard, column{countColumn, &t.Value})
		if err == nil && l.Shape.bucketed {
			err = find(column{bucketColumn, &t.Bucket})
		}
		return t, err
	case oid == l.Ring && l.HasMarker:
		t.Kind = decoder.Ring
		return t, find(column{markerColumn, &t.Value})
	case oid == l.Rollups && oid != 0:
		t.Kind = decoder.Rollups
		if err := l.checkColumn(prunedFailedColumn, columns, l.FoldsFailed); err != nil {
			return t, err
		}
		err := find(queue, priority, column{prunedColumn, &t.Value})
		if err == nil && l.FoldsFailed {
			err = find(column{prunedFailedColumn, &t.Failed})
		}
		return t, err
	case oid == l.RollupDeltas && oid != 0:
		t.Kind = decoder.RollupDeltas
		return t, find(queue, priority, column{foldedColumn, &t.Value}, column{foldedFailedColumn, &t.Failed})
	case name == countersTable, name == ringTable, name == rowsTable, name == ledgerTable,
		slices.Contains(columns, slotColumn) && (slices.Contains(columns, "finalized_at") || slices.Contains(columns, deltaColumn)):
		return t, fmt.Errorf("the replica identity of %s.%s has changed: %w", namespace, name, ErrLayoutChanged)
	}
	return t, nil
}
