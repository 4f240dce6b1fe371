package counter

import (
	"encoding/binary"
	"iter"
	"math"
)

// Packed is a list of groups for somebody who will store them. A checkpoint may be of a million groups, all held beside the
// books until it is durable; packed they take a fifth of what they take apart.
type Packed struct {
	bytes []byte
	names []string
	at    map[string]uint64 // where a name is in names
	slots map[int32]int     // how many groups are of each
	n     int
}

// typicalSize is about what a group takes; it is only where a list begins.
const typicalSize = 16

// Pack makes a list with room for about n groups.
func Pack(n int) Packed {
	return Packed{bytes: make([]byte, 0, n*typicalSize), at: make(map[string]uint64), slots: make(map[int32]int)}
}

// Add appends a group, all of it.
func (p *Packed) Add(h *GroupCell) {
	p.add(h.Queue, key{slot: h.Slot, priority: h.Priority, shard: h.Shard}, h.Rows, h.Pending, h.buckets)
}

func (p *Packed) add(queue string, k key, rows, pending int64, buckets []Bucket) {
	if p.at == nil {
		*p = Pack(0)
	}
	name, ok := p.at[queue]
	if !ok {
		name = uint64(len(p.names))
		p.names = append(p.names, queue)
		p.at[queue] = name
	}
	b := binary.AppendUvarint(p.bytes, name)
	for _, n := range [...]int64{int64(k.slot), int64(k.priority), int64(k.shard), rows, pending} {
		b = binary.AppendVarint(b, n)
	}
	b = binary.AppendUvarint(b, uint64(len(buckets)))
	for _, bucket := range buckets {
		b = binary.AppendVarint(b, int64(bucket.ID))
		b = binary.AppendVarint(b, bucket.Value)
	}
	p.bytes = b
	p.slots[k.slot]++
	p.n++
}

// Size is how many bytes the groups take here, without their queues' names.
func (p *Packed) Size() int { return len(p.bytes) }

// Slots are how many groups there are of each slot. It is the list's own.
func (p *Packed) Slots() map[int32]int { return p.slots }

// Len is how many groups there are.
func (p *Packed) Len() int { return p.n }

// All yields the groups in the order in which they were added. Each is the caller's own.
func (p *Packed) All() iter.Seq[GroupCell] {
	return func(yield func(GroupCell) bool) {
		for h := range p.Lent() {
			if !yield(GroupCell{Group: h.Group, Cell: h.Clone()}) {
				return
			}
		}
	}
}

// Lent is All without a copy of each: what is yielded is good until the next one.
func (p *Packed) Lent() iter.Seq[*GroupCell] {
	return func(yield func(*GroupCell) bool) {
		r := reader(p.bytes)
		var h GroupCell
		var buckets []Bucket
		for range p.n {
			var k key
			var rows, pending int64
			k, rows, pending, buckets = r.group(buckets)
			h.Group = Group{Queue: p.names[k.queue], Slot: k.slot, Priority: k.priority, Shard: k.shard}
			h.Cell = NewCell(rows, pending, buckets...)
			if !yield(&h) {
				return
			}
		}
	}
}

// group reads one; its queue is the number of its name. into is for its counter rows.
func (r *reader) group(into []Bucket) (k key, rows, pending int64, buckets []Bucket) {
	k.queue = uint32(r.unsigned())                                                        //nolint:gosec // as it went in
	k.slot, k.priority, k.shard = int32(r.signed()), int16(r.signed()), int16(r.signed()) //nolint:gosec // the same
	rows, pending = r.signed(), r.signed()
	buckets = into[:0]
	for range r.unsigned() {
		buckets = append(buckets, Bucket{ID: int16(r.signed()), Value: r.signed()}) //nolint:gosec // the same
	}
	return k, rows, pending, buckets
}

// reader reads what Add wrote; nothing else ever gets there.
type reader []byte

func (r *reader) unsigned() uint64 {
	v, n := binary.Uvarint(*r)
	*r = (*r)[max(n, 0):]
	return min(v, math.MaxInt)
}

func (r *reader) signed() int64 {
	v, n := binary.Varint(*r)
	*r = (*r)[max(n, 0):]
	return v
}
