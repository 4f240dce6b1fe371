package counter

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A table is a map of cells, whatever is done to it: entries removed and made in their places, counter rows from none to many and
// back, names that go while others stay.
func TestATableIsAMapOfCells(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		names := NewNames()
		table, other := NewTable(names, rapid.IntRange(0, 9).Draw(rt, "room")), NewTable(names, 0)
		other.Put(Group{Queue: "kept"})
		model := make(map[Group]*Cell)
		for range rapid.IntRange(1, 120).Draw(rt, "steps") {
			g := Group{
				Queue: rapid.SampledFrom([]string{"", "a", "b", "email"}).Draw(rt, "queue"), Slot: rapid.Int32Range(-1, 1).Draw(rt, "slot"),
				Priority: rapid.Int16Range(-1, 4).Draw(rt, "priority"), Shard: rapid.Int16Range(0, 1).Draw(rt, "shard"),
			}
			n, bucket := rapid.Int64Range(-9, 9).Draw(rt, "n"), rapid.Int16Range(-1, 3).Draw(rt, "bucket")
			op := rapid.IntRange(0, 9).Draw(rt, "op")
			id, there := table.Find(g)
			c := model[g]
			require.Equal(rt, c != nil, there)
			if c == nil && op < 8 {
				c = &Cell{}
				model[g] = c
				if id = table.PutRead([]byte(g.Queue), g.Slot, g.Priority, g.Shard); n < 0 {
					require.Equal(rt, id, table.Put(g))
				}
			}
			switch op {
			case 0:
				c.Rows += n
				table.At(id).Rows += n
			case 1:
				c.AddPending(n)
				table.At(id).Pending += n
			case 2, 3, 4:
				require.Equal(rt, c.SetBucket(bucket, n), table.SetBucket(id, bucket, n))
			case 5:
				require.Equal(rt, c.RemoveBucket(bucket), table.RemoveBucket(id, bucket))
			case 6:
				require.Equal(rt, c.RemoveBuckets(), table.RemoveBuckets(id))
			case 7:
				cell := NewCell(n, 1, Bucket{ID: 2, Value: n}, Bucket{ID: 1, Value: 3}, Bucket{ID: bucket + 10, Value: 4})
				*c = cell.Clone()
				table.Set(g, &cell)
			case 8:
				if there {
					table.Remove(id)
					delete(model, g)
				}
			case 9:
				names.Sweep(table, other)
			}
			check(rt, table, model)
		}
		_, ok := other.Find(Group{Queue: "kept"})
		require.True(rt, ok)
		copied := NewTable(NewNames(), 0)
		copied.Put(Group{Queue: "email", Slot: 7}) // other numbers
		copied.Copy(table)
		copied.Remove(copied.Put(Group{Queue: "email", Slot: 7}))
		check(rt, copied, model)
		var list Packed
		for id := range table.All() {
			table.PackInto(&list, id)
		}
		unpacked := NewTable(names, list.Len())
		list.Unpack(names, func(int32) *Table { return unpacked })
		check(rt, unpacked, model)
		for id := range table.All() {
			same, ok := unpacked.Match(table, id)
			require.True(rt, ok)
			require.True(rt, table.SameCell(id, unpacked, same))
			unpacked.SetBucket(same, 99, 1) // and it shares nothing with the one that it is of
			require.False(rt, table.SameCell(id, unpacked, same))
			require.Equal(rt, same, unpacked.PutLike(table, id))
		}
		check(rt, table, model)
	})
}

func check(rt *rapid.T, table *Table, model map[Group]*Cell) {
	require.Equal(rt, len(model), table.Len())
	seen := make(map[Group]bool)
	for id := range table.All() {
		e := table.At(id)
		g := table.Group(e)
		seen[g] = true
		c := model[g]
		require.NotNil(rt, c)
		held := table.Cell(id)
		require.True(rt, c.Equal(&held), "%v: %v in place of %v", g, held, *c)
		require.Equal(rt, c.Counter, held.Counter)
		require.Equal(rt, c.Drift(), e.Drift())
		require.Equal(rt, c.Empty(), e.Empty())
		require.Equal(rt, len(c.buckets) > 0, e.HasBuckets())
		for _, b := range c.buckets {
			v, ok := table.Bucket(id, b.ID)
			require.True(rt, ok)
			require.Equal(rt, b.Value, v)
		}
	}
	require.Len(rt, seen, len(model))
	for _, g := range slices.Collect(maps.Keys(model)) {
		id, ok := table.Find(g)
		require.True(rt, ok)
		require.Equal(rt, g, table.Group(table.At(id)))
	}
}

// Two counter rows that are off by the same, one up and one down, leave the sum right and a fold wrong.
func TestAnAuditComparesEachCounterRow(t *testing.T) {
	names := NewNames()
	books, scan := NewTable(names, 0), NewTable(names, 0)
	for rows := range 5 {
		mine, theirs := books.Put(Group{Queue: "q"}), scan.Put(Group{Queue: "q"})
		require.True(t, books.SameCell(mine, scan, theirs))
		books.SetBucket(mine, int16(rows), 5)
		require.False(t, books.SameCell(mine, scan, theirs))
		scan.SetBucket(theirs, int16(rows), 5)
		if rows > 0 {
			books.SetBucket(mine, 0, 4)
			books.SetBucket(mine, int16(rows), 6)
			require.Equal(t, scan.At(theirs).Drift(), books.At(mine).Drift())
			require.False(t, books.SameCell(mine, scan, theirs), "%d counter rows", rows+1)
			books.SetBucket(mine, 0, 5)
			books.SetBucket(mine, int16(rows), 5)
		}
		scan.SetBucket(theirs, 9, 0)
		require.False(t, books.SameCell(mine, scan, theirs), "a counter row of 0 is one")
		scan.RemoveBucket(theirs, 9)
	}
}

// Queues come and go, and their names with them.
func TestNamesOfQueuesThatAreGoneAreForgotten(t *testing.T) {
	names := NewNames()
	table := NewTable(names, 0)
	stays := table.Put(Group{Queue: "stays"})
	most := 0
	for i := range 20_000 {
		id := table.Put(Group{Queue: fmt.Sprint("queue ", i)})
		table.Remove(id)
		if names.Crowded() {
			names.Sweep(table)
		}
		most = max(most, names.Len())
	}
	require.Less(t, most, 2000)
	require.Less(t, len(names.names), 2000)
	require.Less(t, len(table.blocks), 3, "places are used again")
	require.Equal(t, "stays", table.Group(table.At(stays)).Queue)
}

func BenchmarkTableFind(b *testing.B) {
	table := NewTable(NewNames(), 0)
	groups := make([]Group, 0, 60_000)
	for i := range 60_000 {
		groups = append(groups, Group{Queue: fmt.Sprint("queue-", i/4), Slot: 3, Priority: int16(i % 4)})
		table.Put(groups[i])
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, ok := table.Find(groups[i*7919%len(groups)]); !ok {
			b.Fatal("gone")
		}
	}
}
