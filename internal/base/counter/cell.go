package counter

import (
	"cmp"
	"slices"
)

// Cell is what is known of one group at one position: its rows, and the contributions that its
// counter is the sum of (docs/design.md §12). A Cell owns its buckets; Clone makes another owner.
type Cell struct {
	Rows    int64 // rows of done_entries; below 0 only while a fence is open
	Counter int64 // what a reader of awa gets: the buckets' and the pending sum
	Pending int64 // sum of the ledger's rows; 0 in shapes without a ledger
	buckets []Bucket
}

// Bucket is one counter row of a group.
type Bucket struct {
	Value int64
	ID    int16 // counter_bucket; 0 in shapes where a group has one row
}

// NewCell makes a cell. It takes over the buckets, which need not be sorted.
func NewCell(rows, pending int64, buckets ...Bucket) Cell {
	c := Cell{Rows: rows, Pending: pending, Counter: pending, buckets: buckets}
	byID := func(a, b Bucket) int { return cmp.Compare(a.ID, b.ID) }
	if !slices.IsSortedFunc(buckets, byID) {
		slices.SortFunc(buckets, byID)
	}
	for _, b := range buckets {
		c.Counter += b.Value
	}
	return c
}

// Drift is what has to be added to the counter to make it right.
func (c *Cell) Drift() int64 { return c.Rows - c.Counter }

// Empty reports whether the group has left no trace: no rows, no counter row, nothing pending.
func (c *Cell) Empty() bool { return c.Rows == 0 && c.Pending == 0 && len(c.buckets) == 0 }

// Buckets are the counter rows, by ID. They are the cell's own: look, and leave them alone.
func (c *Cell) Buckets() []Bucket { return c.buckets }

// Bucket is the value of one counter row; false when there is no such row.
func (c *Cell) Bucket(id int16) (int64, bool) {
	if i, ok := c.find(id); ok {
		return c.buckets[i].Value, true
	}
	return 0, false
}

func (c *Cell) find(id int16) (int, bool) {
	return slices.BinarySearchFunc(c.buckets, id, func(b Bucket, id int16) int { return cmp.Compare(b.ID, id) })
}

// SetBucket gives a counter row its new value, and reports whether that is a change.
func (c *Cell) SetBucket(id int16, value int64) bool {
	i, ok := c.find(id)
	if !ok {
		c.buckets = slices.Insert(c.buckets, i, Bucket{ID: id})
	} else if c.buckets[i].Value == value {
		return false
	}
	c.Counter += value - c.buckets[i].Value
	c.buckets[i].Value = value
	return true
}

// RemoveBucket takes a counter row away, and reports whether there was one.
func (c *Cell) RemoveBucket(id int16) bool {
	i, ok := c.find(id)
	if ok {
		c.Counter -= c.buckets[i].Value
		c.buckets = slices.Delete(c.buckets, i, i+1)
	}
	return ok
}

// RemoveBuckets takes every counter row away; what is pending stays.
func (c *Cell) RemoveBuckets() bool {
	had := len(c.buckets) > 0
	c.buckets, c.Counter = nil, c.Pending
	return had
}

// AddPending adds to what is pending.
func (c *Cell) AddPending(n int64) {
	c.Pending += n
	c.Counter += n
}

// Clone is a cell of its own with the same content.
func (c *Cell) Clone() Cell {
	out := *c
	out.buckets = cloned(c.buckets)
	return out
}

// Equal compares everything.
func (c *Cell) Equal(o *Cell) bool {
	return c.Rows == o.Rows && c.Pending == o.Pending && slices.Equal(c.buckets, o.buckets)
}

// GroupCell is a group with what is known of it.
type GroupCell struct {
	Group
	Cell
}
