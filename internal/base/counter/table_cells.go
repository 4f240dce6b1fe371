package counter

import (
	"cmp"
	"slices"
)

// rows yields the counter rows of an entry: those of a table's, or into, filled.
func (t *Table) rows(e *Entry, into *[2]Bucket) []Bucket {
	if e.counted == several {
		return t.many[e.values[1]]
	}
	for i := range into {
		into[i] = Bucket{ID: e.buckets[i], Value: e.values[i]}
	}
	return into[:e.counted]
}

// Bucket is the value of one counter row; false when there is no such row.
func (t *Table) Bucket(id ID, bucket int16) (int64, bool) {
	var few [2]Bucket
	rows := t.rows(t.At(id), &few)
	if i, ok := findBucket(rows, bucket); ok {
		return rows[i].Value, true
	}
	return 0, false
}

func findBucket(rows []Bucket, bucket int16) (int, bool) {
	return slices.BinarySearchFunc(rows, bucket, func(b Bucket, id int16) int { return cmp.Compare(b.ID, id) })
}

// SetBucket gives a counter row its new value, and reports whether that is a change.
func (t *Table) SetBucket(id ID, bucket int16, value int64) bool {
	e := t.At(id)
	var few [2]Bucket
	rows := t.rows(e, &few)
	i, ok := findBucket(rows, bucket)
	switch {
	case ok && rows[i].Value == value:
		return false
	case ok && e.counted == several:
		e.values[0] += value - rows[i].Value
		rows[i].Value = value
	case ok:
		e.values[i] = value
	case e.counted == several:
		e.values[0] += value
		many := &t.many[e.values[1]] // not rows: what is kept would have few on the heap
		*many = slices.Insert(*many, i, Bucket{ID: bucket, Value: value})
	case e.counted == 2:
		three := slices.Insert(slices.Clone(rows), i, Bucket{ID: bucket, Value: value})
		e.values = [2]int64{three[0].Value + three[1].Value + three[2].Value, t.keep(three)}
		e.counted = several
	default:
		if i == 0 {
			e.buckets[1], e.values[1] = e.buckets[0], e.values[0]
		}
		e.buckets[i], e.values[i] = bucket, value
		e.counted++
	}
	return true
}

// RemoveBucket takes a counter row away, and reports whether there was one.
func (t *Table) RemoveBucket(id ID, bucket int16) bool {
	e := t.At(id)
	var few [2]Bucket
	rows := t.rows(e, &few)
	i, ok := findBucket(rows, bucket)
	switch {
	case !ok:
	case e.counted == several && len(rows) > 3:
		e.values[0] -= rows[i].Value
		many := &t.many[e.values[1]]
		*many = slices.Delete(*many, i, i+1)
	default:
		rest := slices.Delete(slices.Clone(rows), i, i+1)
		t.RemoveBuckets(id)
		for j, b := range rest {
			e.buckets[j], e.values[j] = b.ID, b.Value
		}
		e.counted = uint8(len(rest)) //nolint:gosec // at most 2
	}
	return ok
}

// RemoveBuckets takes every counter row away, and reports whether there was one; what is pending stays.
func (t *Table) RemoveBuckets(id ID) bool {
	e := t.At(id)
	if e.counted == several {
		t.many[e.values[1]] = nil
		t.spare = append(t.spare, e.values[1])
	}
	had := e.counted > 0
	e.values, e.buckets, e.counted = [2]int64{}, [2]int16{}, 0
	return had
}

// Cell is what is known of a group: a cell of its own.
func (t *Table) Cell(id ID) Cell {
	e := t.At(id)
	var few [2]Bucket
	return Cell{Rows: e.Rows, Counter: e.Counter(), Pending: e.Pending, buckets: cloned(t.rows(e, &few))}
}

func cloned(rows []Bucket) []Bucket {
	if len(rows) == 0 {
		return nil
	}
	return slices.Clone(rows)
}

// SameCell compares everything that two tables know of a group each.
func (t *Table) SameCell(id ID, o *Table, theirs ID) bool {
	a, b := t.At(id), o.At(theirs)
	if a.Rows != b.Rows || a.Pending != b.Pending || a.counted != b.counted || a.values[0] != b.values[0] {
		return false
	}
	var few, others [2]Bucket
	return slices.Equal(t.rows(a, &few), o.rows(b, &others))
}

// PackInto appends a group to a list.
func (t *Table) PackInto(p *Packed, id ID) {
	e := t.At(id)
	var few [2]Bucket
	p.add(t.names.names[e.queue], e.key, e.Rows, e.Pending, t.rows(e, &few))
}

// Unpack puts a list of groups into tables, each into that of its ring slot. All of these share names, and have none of the groups
// yet.
func (p *Packed) Unpack(names *Names, table func(slot int32) *Table) {
	numbers := make([]uint32, len(p.names))
	for i, name := range p.names {
		numbers[i] = names.number(name)
	}
	r := reader(p.bytes)
	var buckets []Bucket
	for range p.n {
		var k key
		var rows, pending int64
		k, rows, pending, buckets = r.group(buckets)
		k.queue = numbers[k.queue]
		t := table(k.slot)
		id := t.put(k)
		e := t.At(id)
		e.Rows, e.Pending = rows, pending
		if len(buckets) > 2 {
			e.values, e.counted = [2]int64{0, t.keep(slices.Clone(buckets))}, several
			for _, b := range buckets {
				e.values[0] += b.Value
			}
			continue
		}
		for _, b := range buckets {
			t.SetBucket(id, b.ID, b.Value)
		}
	}
}
