package counter

import (
	"iter"
	"math/bits"
	"slices"
)

// Table is what is known of many groups, by group. It takes some 65 bytes a group with up to two counter rows, and holds next to no
// pointer: a map of a million groups keeps the garbage collector busy for longer than all else that the daemon does.
type Table struct {
	names  *Names
	blocks []*[blockSize]Entry // an entry stays where it is
	index  []uint32            // by hash, open addressing: the entry's ID + 1, or 0
	used   ID                  // entries in use or free
	free   []ID
	many   [][]Bucket // of groups with more than two counter rows
	spare  []int64    // places in many that are free
}

// ID is where a table has a group, for as long as it has it.
type ID = uint32

const (
	blockShift = 5 // 32 entries fill a size class of the allocator's
	blockSize  = 1 << blockShift
)

// key is a group in numbers.
type key struct {
	queue    uint32
	slot     int32
	priority int16
	shard    int16
}

// Entry is a group in a table. What is exported may be changed at will; counter rows are the table's to change.
type Entry struct {
	Rows    int64 // see Cell
	Pending int64
	values  [2]int64 // of up to two counter rows, by bucket; of more: their sum, and their place in the table
	key
	buckets [2]int16
	counted uint8 // how many counter rows: 0 to 2, several, or unused

	Touched bool // marks of whoever has the table; a copy of the table has none
	Dirty   bool
	Listed  bool // stays with the place when the group is removed
}

const (
	several uint8 = 3
	unused  uint8 = 255
)

// NewTable makes a table with room for n groups.
func NewTable(names *Names, n int) *Table {
	t := &Table{names: names}
	if n > 0 {
		t.index = make([]uint32, indexSize(n))
		t.blocks = make([]*[blockSize]Entry, 0, n>>blockShift+1)
	}
	return t
}

// indexSize is the least power of two of which n are at most three quarters.
func indexSize(n int) int { return max(8, 1<<bits.Len(uint(n+n/3))) }

// Len is how many groups there are.
func (t *Table) Len() int { return int(t.used) - len(t.free) }

// At is the entry of a group.
func (t *Table) At(id ID) *Entry { return &t.blocks[id>>blockShift][id%blockSize] }

// Group is the group of an entry.
func (t *Table) Group(e *Entry) Group {
	return Group{Queue: t.names.names[e.queue], Slot: e.slot, Priority: e.priority, Shard: e.shard}
}

// Slot is the ring slot of an entry's group.
func (e *Entry) Slot() int32 { return e.slot }

// Counter is what a reader of awa gets.
func (e *Entry) Counter() int64 {
	if e.counted == several {
		return e.Pending + e.values[0]
	}
	return e.Pending + e.values[0] + e.values[1]
}

// Drift is what has to be added to the counter to make it right.
func (e *Entry) Drift() int64 { return e.Rows - e.Counter() }

// Empty reports whether the group has left no trace.
func (e *Entry) Empty() bool { return e.Rows == 0 && e.Pending == 0 && e.counted == 0 }

// HasBuckets reports whether there is a counter row.
func (e *Entry) HasBuckets() bool { return e.counted > 0 }

// All yields the groups in no particular order. One that is yielded may be removed meanwhile.
func (t *Table) All() iter.Seq[ID] {
	return func(yield func(ID) bool) {
		for id := range t.used {
			if t.At(id).counted != unused && !yield(id) {
				return
			}
		}
	}
}

func (k key) hash() uint32 {
	hi, lo := bits.Mul64(uint64(k.queue)<<32|uint64(uint32(k.slot))^0x9e3779b97f4a7c15, //nolint:gosec // bits
		uint64(uint16(k.priority))<<16|uint64(uint16(k.shard))^0xd6e8feb86659fd93) //nolint:gosec // bits
	return uint32(hi ^ lo ^ (hi^lo)>>32) //nolint:gosec // bits
}

// find is the ID of a group, and where the index has it, or would.
func (t *Table) find(k key) (id ID, at uint32, ok bool) {
	if len(t.index) == 0 {
		return 0, 0, false
	}
	mask := uint32(len(t.index) - 1) //nolint:gosec // fewer
	for at = k.hash() & mask; ; at = (at + 1) & mask {
		switch n := t.index[at]; {
		case n == 0:
			return 0, at, false
		case t.At(n-1).key == k:
			return n - 1, at, true
		}
	}
}

// Find is the ID of a group, if there is one.
func (t *Table) Find(g Group) (ID, bool) {
	queue, ok := t.names.find(g.Queue)
	if !ok {
		return 0, false
	}
	id, _, ok := t.find(key{queue, g.Slot, g.Priority, g.Shard})
	return id, ok
}

// Put finds a group, or makes it.
func (t *Table) Put(g Group) ID {
	return t.put(key{t.names.number(g.Queue), g.Slot, g.Priority, g.Shard})
}

// PutRead is Put of a group whose queue's name is somebody else's memory.
func (t *Table) PutRead(queue []byte, slot int32, priority, shard int16) ID {
	return t.put(key{t.names.numberOf(queue), slot, priority, shard})
}

func (t *Table) put(k key) ID {
	id, at, ok := t.find(k)
	if ok {
		return id
	}
	if (t.Len()+1)*4 > len(t.index)*3 {
		t.grow()
		_, at, _ = t.find(k)
	}
	if last := len(t.free) - 1; last >= 0 {
		id, t.free = t.free[last], t.free[:last]
	} else {
		if id = t.used; id%blockSize == 0 {
			t.blocks = append(t.blocks, new([blockSize]Entry))
		}
		t.used++
	}
	t.index[at] = id + 1
	e := t.At(id)
	*e = Entry{key: k, Listed: e.Listed}
	return id
}

func (t *Table) grow() {
	t.index = make([]uint32, max(8, 2*len(t.index)))
	mask := uint32(len(t.index) - 1) //nolint:gosec // fewer
	for id := range t.All() {
		at := t.At(id).hash() & mask
		for t.index[at] != 0 {
			at = (at + 1) & mask
		}
		t.index[at] = id + 1
	}
}

// Remove takes a group away.
func (t *Table) Remove(id ID) {
	e := t.At(id)
	_, gap, ok := t.find(e.key)
	if !ok {
		return
	}
	t.RemoveBuckets(id)
	mask := uint32(len(t.index) - 1) //nolint:gosec // fewer
	for at := (gap + 1) & mask; t.index[at] != 0; at = (at + 1) & mask {
		if home := t.At(t.index[at]-1).hash() & mask; (at-home)&mask >= (at-gap)&mask {
			t.index[gap] = t.index[at]
			gap = at
		}
	}
	t.index[gap] = 0
	*e = Entry{counted: unused, Listed: e.Listed}
	t.free = append(t.free, id)
}

// Match is where t has a group that o has under id. The tables must share their names.
func (t *Table) Match(o *Table, id ID) (ID, bool) {
	mine, _, ok := t.find(o.At(id).key)
	return mine, ok
}

// PutLike finds the group that o has under id, or makes it. The tables must share their names.
func (t *Table) PutLike(o *Table, id ID) ID { return t.put(o.At(id).key) }

// Set makes a group's cell c, and copies that.
func (t *Table) Set(g Group, c *Cell) {
	id := t.Put(g)
	t.RemoveBuckets(id)
	e := t.At(id)
	e.Rows, e.Pending = c.Rows, c.Pending
	for _, b := range c.buckets {
		t.SetBucket(id, b.ID, b.Value)
	}
}

// Copy puts in what another table has, which may have other names. It must not have been there.
func (t *Table) Copy(o *Table) {
	numbers := make([]uint32, len(o.names.names))
	for name, number := range o.names.at {
		numbers[number] = t.names.number(name)
	}
	for from := range o.All() {
		old := o.At(from)
		k := old.key
		k.queue = numbers[k.queue]
		e := t.At(t.put(k))
		listed := e.Listed
		*e = *old
		e.key, e.Touched, e.Dirty, e.Listed = k, false, false, listed
		if e.counted == several {
			e.values[1] = t.keep(slices.Clone(o.many[old.values[1]]))
		}
	}
}

// keep finds a place for many counter rows.
func (t *Table) keep(rows []Bucket) int64 {
	if last := len(t.spare) - 1; last >= 0 {
		at := t.spare[last]
		t.spare = t.spare[:last]
		t.many[at] = rows
		return at
	}
	t.many = append(t.many, rows)
	return int64(len(t.many) - 1)
}
