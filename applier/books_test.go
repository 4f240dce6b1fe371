package applier

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

func filled(t *testing.T, leaves ...int32) *Books {
	t.Helper()
	b := newBooks(leaves)
	b.load(&counter.Packed{})
	return b
}

// tableOf is what a scan finds of one group.
func tableOf(g counter.Group, c counter.Cell) *counter.Table {
	t := counter.NewTable(counter.NewNames(), 1)
	t.Set(g, &c)
	return t
}

func driftOf(b *Books, g counter.Group) int64 {
	c := b.cell(g)
	return c.Drift()
}

func TestTruncateEmptiesOneSlotOnly(t *testing.T) {
	b := filled(t, 0, 1)
	other := g0
	other.Slot = 1
	b.apply(1, &decoder.Effect{Rows: []decoder.Change{{Group: g0, N: 5}, {Group: other, N: 6}}}, 10)
	changes := b.apply(2, &decoder.Effect{Truncated: []int32{0}}, 20)
	require.Zero(t, b.cell(g0).Rows)
	require.EqualValues(t, 6, b.cell(other).Rows)
	require.Len(t, changes, 1)
	require.EqualValues(t, 5, changes[0].before)
	require.EqualValues(t, 0, changes[0].after)
}

// Nothing is clamped: what goes below 0 is told, and comes back exactly.
func TestBooksAreNotClamped(t *testing.T) {
	b := filled(t, 0)
	changes := b.apply(1, &decoder.Effect{Rows: []decoder.Change{{Group: g0, N: -3}}}, 10)
	require.EqualValues(t, -3, b.cell(g0).Rows)
	require.True(t, changes[0].broken)
	b.apply(2, &decoder.Effect{Rows: []decoder.Change{{Group: g0, N: 5}}}, 20)
	require.EqualValues(t, 2, b.cell(g0).Rows)
	b.apply(3, &decoder.Effect{Counters: []decoder.CounterChange{{Group: g0, Value: -9}}}, 30)
	require.EqualValues(t, 11, driftOf(b, g0))
}

// A transaction that counts what it writes changes no drift.
func TestCountedWritesChangeNoDrift(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := filled(t, 0)
		counter := int64(0)
		for xid := range rapid.IntRange(1, 20).Draw(rt, "transactions") {
			n := rapid.Int64Range(1, 9).Draw(rt, "rows")
			counter += n
			changes := b.apply(uint64(xid), &decoder.Effect{
				Rows: []decoder.Change{{Group: g0, N: n}}, Counters: []decoder.CounterChange{{Group: g0, Value: counter}},
			}, 10)
			require.Empty(t, changes)
			require.Zero(t, b.drifting())
		}
	})
}

func TestCounterOfAnotherSlotIsDrift(t *testing.T) {
	b := filled(t, 0)
	orphan := g0
	orphan.Slot = 7
	b.apply(1, &decoder.Effect{Counters: []decoder.CounterChange{{Group: orphan, Value: 4}}}, 10)
	require.EqualValues(t, -4, driftOf(b, orphan))
	require.Equal(t, 1, b.drifting())
	b.apply(2, &decoder.Effect{CountersReset: true}, 20)
	require.Zero(t, b.drifting())
}

// The fence: what the scan's snapshot sees is skipped, the rest is applied, and what was streamed
// before the scan but is not in it is folded in from the journal.
func TestFence(t *testing.T) {
	b := newBooks([]int32{0})
	j := newJournal(1<<16, nil)
	add := func(n int64) decoder.Effect { return decoder.Effect{Rows: []decoder.Change{{Group: g0, N: n}}} }
	early := add(1) // streamed before the scan's result, not yet visible to it
	b.apply(11, &early, 10)
	j.add(journalEntry{xid: 11, effect: early})
	require.True(t, b.completeScan(Scan{Unit: 0, Groups: tableOf(g0, counter.NewCell(100, 0)), Snapshot: snap(t, "11:20:11,15"), Bound: 50}, j))
	require.EqualValues(t, 101, b.cell(g0).Rows)
	seen, unseen := add(10), add(1000)
	b.apply(12, &seen, 20)
	require.EqualValues(t, 101, b.cell(g0).Rows, "counted by the scan already")
	b.apply(15, &unseen, 30)
	b.apply(25, &unseen, 40)
	require.EqualValues(t, 2101, b.cell(g0).Rows)
	require.False(t, b.units[0].settled())
	b.advance(50)
	require.True(t, b.units[0].settled())
}

func TestScanIsRefusedWhenTheJournalHasAGap(t *testing.T) {
	b := newBooks([]int32{0})
	j := newJournal(1, []uint64{7})
	scan := Scan{Unit: 0, Snapshot: snap(t, "7:20:7"), Bound: 50}
	require.False(t, b.completeScan(scan, j), "a transaction of the session before may be missing")
	j.forget(snap(t, "8:20:"))
	require.True(t, b.completeScan(scan, j))
	j.add(journalEntry{xid: 30})
	j.add(journalEntry{xid: 31}) // pushes 30 out
	require.Equal(t, 1, j.missing(snap(t, "30:40:30")))
	require.Zero(t, j.missing(snap(t, "31:40:")))
}

func TestPruneAudit(t *testing.T) {
	b := filled(t, 0, 1)
	fill := func(n int64) {
		b.apply(1, &decoder.Effect{Truncated: []int32{0}, Rows: []decoder.Change{{Group: g0, N: n}}}, 10)
	}
	fill(5)
	fold := func(total int64, fresh bool) *decoder.Effect {
		return &decoder.Effect{
			Truncated: []int32{0}, Pruned: []decoder.Change{{Group: g0, N: 2}},
			Rollups: []decoder.RollupChange{{Queue: "q", Priority: 1, Completed: total, Fresh: fresh}},
		}
	}
	checked, wrong := b.auditPrune(fold(7, true), false)
	require.Equal(t, 1, checked)
	require.Empty(t, wrong)
	_, wrong = b.auditPrune(fold(15, false), false)
	require.Equal(t, []PruneMismatch{{Queue: "q", Priority: 1, Books: 7, Folded: 8}}, wrong)

	// With receipts: what never was a row is folded as well, and failed rows are carried on. Only a
	// shortfall tells.
	carried := g0
	carried.Slot = 1
	carry := func(e *decoder.Effect, n int64) *decoder.Effect {
		e.Rows = append(e.Rows, decoder.Change{Group: carried, N: n})
		return e
	}
	_, wrong = b.auditPrune(fold(100, false), true)
	require.Empty(t, wrong, "compact batches")
	_, wrong = b.auditPrune(carry(fold(104, false), 3), true)
	require.Empty(t, wrong, "4 folded, 3 carried")
	_, wrong = b.auditPrune(carry(fold(107, false), 3), true)
	require.Equal(t, []PruneMismatch{{Queue: "q", Priority: 1, Books: 7, Folded: 6}}, wrong)
	whole := &decoder.Effect{Truncated: []int32{0}, LedgerEmptied: []int32{0}, CountingPrunes: []int32{0}}
	_, wrong = b.auditPrune(whole, true)
	require.Equal(t, []PruneMismatch{{Queue: "q", Priority: 1, Books: 5}}, wrong, "nothing folded at all")
	_, wrong = b.auditPrune(carry(whole, 5), true)
	require.Empty(t, wrong, "all of it carried")

	// awa 0.7 appends what it folds, instead of changing the total.
	fill(6)
	_, wrong = b.auditPrune(&decoder.Effect{
		Truncated: []int32{0}, CountingPrunes: []int32{0}, Folded: []decoder.RollupChange{{Queue: "q", Priority: 1, Completed: 2, Failed: 3}},
	}, true)
	require.Equal(t, []PruneMismatch{{Queue: "q", Priority: 1, Books: 6, Folded: 5}}, wrong)
	// A reset folds nothing, and is no prune.
	checked, wrong = b.auditPrune(&decoder.Effect{Truncated: []int32{0, 1}, CountingPrunes: []int32{0, 1}, RollupsReset: true}, true)
	require.Zero(t, checked)
	require.Empty(t, wrong)
}

// The ledger shape (docs/design.md §12): buckets are absolute, what is pending is a sum.
func TestLedgerShape(t *testing.T) {
	b := filled(t, 0)
	pending := func(n int64) []decoder.Change { return []decoder.Change{{Group: g0, N: n}} }
	bucket := func(id int16, v int64) decoder.CounterChange {
		return decoder.CounterChange{Group: g0, Bucket: id, Value: v}
	}
	b.apply(1, &decoder.Effect{Rows: pending(9), Pending: pending(9)}, 10)
	require.Zero(t, driftOf(b, g0), "counted")
	b.apply(2, &decoder.Effect{LedgerEmptied: []int32{0}, Counters: []decoder.CounterChange{bucket(7, 4), bucket(8, 5)}}, 20)
	require.Zero(t, driftOf(b, g0), "a fold moves what is pending into buckets")
	b.apply(3, &decoder.Effect{Rows: pending(3)}, 30)
	b.apply(4, &decoder.Effect{Counters: []decoder.CounterChange{bucket(300, 3)}}, 40)
	require.Zero(t, driftOf(b, g0), "a correction in a bucket of the daemon's own")
	b.apply(5, &decoder.Effect{Counters: []decoder.CounterChange{bucket(7, 6)}, Pending: pending(-2)}, 50)
	require.Zero(t, driftOf(b, g0))
	b.apply(6, &decoder.Effect{CountersReset: true, Counters: []decoder.CounterChange{bucket(1, 12)}}, 60)
	require.EqualValues(t, 2, driftOf(b, g0), "a migration run again keeps what is pending")
	b.apply(7, &decoder.Effect{Truncated: []int32{0}}, 70)
	require.EqualValues(t, -10, driftOf(b, g0), "an old leader's prune leaves counters and ledger behind")
	b.apply(8, &decoder.Effect{LedgerEmptied: []int32{0}}, 80)
	require.EqualValues(t, -12, driftOf(b, g0))
	b.apply(9, &decoder.Effect{Counters: []decoder.CounterChange{{Group: g0, Bucket: 1, Gone: true}}}, 90)
	require.Zero(t, driftOf(b, g0))
	held := washed(b)
	require.Len(t, held, 1)
	require.True(t, held[0].Empty())
	require.Zero(t, b.groups(), "what left no trace goes with the checkpoint")
}

// washed is what a checkpoint gets.
func washed(b *Books) []counter.GroupCell {
	p := b.takeDirty()
	return slices.Collect(p.All())
}

// What a checkpoint was given is given again when it could not be stored, also of a unit that is unknown
// by then; and copies share nothing with the books.
func TestWashAndSoil(t *testing.T) {
	b := filled(t, 0)
	b.apply(1, &decoder.Effect{Counters: []decoder.CounterChange{{Group: g0, Bucket: 7, Value: 4}}}, 10)
	held := washed(b)
	require.False(t, b.isDirty())
	b.apply(2, &decoder.Effect{Counters: []decoder.CounterChange{{Group: g0, Bucket: 7, Value: 5}}}, 10)
	require.EqualValues(t, 4, held[0].Counter)
	v, _ := held[0].Bucket(7)
	require.EqualValues(t, 4, v)
	b.empty(0)
	b.markDirty(g0)
	b.replace(0, &unitView{groups: b.table(0)})
	held = washed(b)
	require.Len(t, held, 1)
	require.True(t, held[0].Empty(), "the checkpoint has it; the scan did not")
}

// Corrections come in key order, in chunks, and cover every drift of settled units only.
func TestPlan(t *testing.T) {
	b := newBench(t)
	b.core.books = filled(t, 0, 1)
	var e decoder.Effect
	for i := range 150 {
		g := counter.Group{Slot: int32(i % 2), Queue: string(rune('a' + (i*7)%26)), Priority: int16(i)}
		n := decoder.Change{Group: g, N: int64(i + 1)}
		if i%3 == 0 && i != 3 {
			e.Counters = append(e.Counters, decoder.CounterChange{Group: g, Value: n.N})
			n.N = 0
		}
		e.Rows = append(e.Rows, n)
	}
	b.core.books.apply(1, &e, 10)
	b.core.tokens.locked.groups = map[counter.Group]struct{}{e.Rows[3].Group: {}}
	chunks, _, all := b.core.plan()
	require.True(t, all)
	total, last := 0, counter.Group{}
	for _, c := range chunks {
		require.LessOrEqual(t, len(c.Corrections), ChunkSize)
		require.Equal(t, c.Patient, c.Corrections[0].Group == e.Rows[3].Group)
		for i, k := range c.Corrections {
			if i > 0 {
				require.Negative(t, last.Compare(k.Group))
				require.Equal(t, c.Corrections[0].Slot, k.Slot, "two slots in one transaction")
				require.Equal(t, c.Corrections[0].Delta > 0, k.Delta > 0, "two signs in one statement")
			}
			last = k.Group
			total++
		}
	}
	require.Equal(t, 150, total)
}

// The sum of the drifts is kept along, whatever happens to the books.
func TestSumOfDriftsIsKept(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := filled(t, 0, 1)
		for xid := range rapid.IntRange(1, 40).Draw(rt, "steps") {
			g := counter.Group{
				Slot: rapid.Int32Range(0, 2).Draw(rt, "slot"), Queue: "q", Priority: rapid.Int16Range(1, 3).Draw(rt, "priority"),
			}
			n := rapid.Int64Range(-9, 9).Draw(rt, "n")
			unit := g.Slot % 2
			switch rapid.IntRange(0, 6).Draw(rt, "what") {
			case 0, 1:
				b.apply(uint64(xid), &decoder.Effect{Rows: []decoder.Change{{Group: g, N: n}}}, 10)
			case 2, 3:
				b.apply(uint64(xid), &decoder.Effect{Counters: []decoder.CounterChange{{Group: g, Value: n}}}, 10)
			case 4:
				b.apply(uint64(xid), &decoder.Effect{Truncated: []int32{g.Slot}, CountersReset: n > 5}, 10)
			case 5:
				b.replace(unit, &unitView{groups: b.scanned(tableOf(counter.Group{Slot: unit, Queue: "r"}, counter.NewCell(n, 0)))})
			case 6:
				b.empty(unit)
				b.replace(unit, &unitView{groups: b.table(0)})
			}
			want, wrong := int64(0), 0
			for _, u := range b.units {
				listed := 0
				for id := range u.main.groups.All() {
					if by := abs(u.main.groups.At(id).Drift()); by != 0 {
						want += by
						wrong++
					}
				}
				for id := range u.drifting() {
					require.NotZero(t, u.main.groups.At(id).Drift())
					listed++
				}
				require.Equal(t, u.wrong, listed)
			}
			require.Equal(t, want, b.totalDrift())
			require.Equal(t, wrong, b.drifting())
		}
	})
}
