package awa

import (
	"errors"
	"fmt"
	"slices"

	"github.com/awa-counterd/awa-counterd/decoder"
)

// ErrLayoutChanged says that the stream describes a relation that the layout does not have: awa's
// tables were made anew, or a leaf was added.
var ErrLayoutChanged = errors.New("awa's tables have changed")

// Catalog answers the decoder from a layout. It implements decoder.Catalog.
type Catalog struct {
	layout *Layout
	leaves map[uint32]Leaf
}

// NewCatalog makes a Catalog for one connection.
func NewCatalog(l *Layout) *Catalog {
	c := &Catalog{layout: l, leaves: make(map[uint32]Leaf, len(l.Leaves))}
	for _, leaf := range l.Leaves {
		c.leaves[leaf.OID] = leaf
	}
	return c
}

// Table tells what a relation means to the books.
func (c *Catalog) Table(oid uint32, namespace, name string, columns []string) (decoder.Table, error) {
	t := decoder.Table{Slot: -1, Queue: -1, Priority: -1, Shard: -1, Value: -1}
	if namespace != string(c.layout.Schema) {
		return t, nil
	}
	leaf, isLeaf := c.leaves[oid]
	find := func(ordinals map[string]*int) error {
		for column, at := range ordinals {
			if *at = slices.Index(columns, column); *at < 0 {
				return fmt.Errorf("%s.%s comes without its column %s; does a column list leave it out? %w",
					namespace, name, column, ErrLayoutChanged)
			}
		}
		return nil
	}
	switch {
	case isLeaf:
		t.Kind, t.LeafSlot = decoder.Rows, leaf.Slot
		return t, find(map[string]*int{queueColumn: &t.Queue, priorityColumn: &t.Priority, shardColumn: &t.Shard})
	case oid == c.layout.Counters:
		t.Kind = decoder.Counters
		return t, find(map[string]*int{
			slotColumn: &t.Slot, queueColumn: &t.Queue, priorityColumn: &t.Priority,
			shardColumn: &t.Shard, countColumn: &t.Value,
		})
	case oid == c.layout.Ring && c.layout.HasMarker:
		t.Kind = decoder.Ring
		return t, find(map[string]*int{markerColumn: &t.Value})
	case oid == c.layout.Rollups && oid != 0:
		t.Kind = decoder.Rollups
		return t, find(map[string]*int{queueColumn: &t.Queue, priorityColumn: &t.Priority, prunedColumn: &t.Value})
	case name == countersTable, name == ringTable, name == rowsTable, slices.Contains(columns, slotColumn) && slices.Contains(columns, "finalized_at"):
		return t, fmt.Errorf("%s.%s has another identity than at start: %w", namespace, name, ErrLayoutChanged)
	}
	return t, nil
}
