package applier

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/terminal"
)

func filled(t *testing.T, leaves ...int32) *Books {
	t.Helper()
	b := newBooks(leaves)
	b.load(Cells{})
	return b
}

func TestTruncateEmptiesOneSlotOnly(t *testing.T) {
	b := filled(t, 0, 1)
	other := g0
	other.Slot = 1
	b.apply(1, &decoder.Effect{Rows: []decoder.RowsChange{{Group: g0, N: 5}, {Group: other, N: 6}}}, 10)
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
	changes := b.apply(1, &decoder.Effect{Rows: []decoder.RowsChange{{Group: g0, N: -3}}}, 10)
	require.EqualValues(t, -3, b.cell(g0).Rows)
	require.True(t, changes[0].broken)
	b.apply(2, &decoder.Effect{Rows: []decoder.RowsChange{{Group: g0, N: 5}}}, 20)
	require.EqualValues(t, 2, b.cell(g0).Rows)
	b.apply(3, &decoder.Effect{Counters: []decoder.CounterChange{{Group: g0, Value: -9}}}, 30)
	require.EqualValues(t, 11, b.cell(g0).Drift())
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
				Rows: []decoder.RowsChange{{Group: g0, N: n}}, Counters: []decoder.CounterChange{{Group: g0, Value: counter}},
			}, 10)
			require.Empty(t, changes)
			require.Empty(t, b.drifting)
		}
	})
}

func TestCounterOfAnotherSlotIsDrift(t *testing.T) {
	b := filled(t, 0)
	orphan := g0
	orphan.Slot = 7
	b.apply(1, &decoder.Effect{Counters: []decoder.CounterChange{{Group: orphan, Value: 4}}}, 10)
	require.EqualValues(t, -4, b.cell(orphan).Drift())
	require.Contains(t, b.drifting, orphan)
	b.apply(2, &decoder.Effect{CountersReset: true}, 20)
	require.Empty(t, b.drifting)
}

// The fence: what the scan's snapshot sees is skipped, the rest is applied, and what was streamed
// before the scan but is not in it is folded in from the journal.
func TestFence(t *testing.T) {
	b := newBooks([]int32{0})
	j, err := newJournal(16, nil)
	require.NoError(t, err)
	add := func(n int64) decoder.Effect { return decoder.Effect{Rows: []decoder.RowsChange{{Group: g0, N: n}}} }
	early := add(1) // streamed before the scan's result, not yet visible to it
	b.apply(11, &early, 10)
	j.add(11, journaled{effect: early})
	require.True(t, b.take(Scan{Unit: 0, Cells: Cells{g0: {Rows: 100}}, Snapshot: snap(t, "11:20:11,15"), Bound: 50}, j))
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
	j, err := newJournal(1, []uint64{7})
	require.NoError(t, err)
	scan := Scan{Unit: 0, Cells: Cells{}, Snapshot: snap(t, "7:20:7"), Bound: 50}
	require.False(t, b.take(scan, j), "a transaction of the session before may be missing")
	j.forget(snap(t, "8:20:"))
	require.True(t, b.take(scan, j))
	j.add(30, journaled{})
	j.add(31, journaled{}) // pushes 30 out
	require.Equal(t, 1, j.missing(snap(t, "30:40:30")))
	require.Zero(t, j.missing(snap(t, "31:40:")))
}

func TestPruneAudit(t *testing.T) {
	b := filled(t, 0)
	e := decoder.Effect{Rows: []decoder.RowsChange{{Group: g0, N: 5}}}
	b.apply(1, &e, 10)
	fold := func(total int64, fresh bool) *decoder.Effect {
		return &decoder.Effect{
			Truncated: []int32{0}, Pruned: []decoder.RowsChange{{Group: g0, N: 2}},
			Rollups: []decoder.RollupChange{{Queue: "q", Priority: 1, Value: total, Fresh: fresh}},
		}
	}
	checked, wrong := b.auditPrune(fold(7, true))
	require.Equal(t, 1, checked)
	require.Empty(t, wrong)
	_, wrong = b.auditPrune(fold(15, false))
	require.Equal(t, []PruneMismatch{{Queue: "q", Priority: 1, Books: 7, Folded: 8}}, wrong)
}

// Corrections come in key order, in chunks, and cover every drift of settled units only.
func TestPlan(t *testing.T) {
	b := newBench(t)
	b.core.books = filled(t, 0)
	var e decoder.Effect
	for i := range 150 {
		g := terminal.Group{Slot: 0, Queue: string(rune('a' + (i*7)%26)), Priority: int16(i)}
		e.Rows = append(e.Rows, decoder.RowsChange{Group: g, N: int64(i + 1)})
	}
	b.core.books.apply(1, &e, 10)
	b.core.tokens.patient = map[terminal.Group]struct{}{e.Rows[3].Group: {}}
	chunks, _, all := b.core.plan()
	require.True(t, all)
	total, last := 0, terminal.Group{}
	for _, c := range chunks {
		require.LessOrEqual(t, len(c.Corrections), ChunkSize)
		require.Equal(t, c.Patient, c.Corrections[0].Group == e.Rows[3].Group)
		for i, k := range c.Corrections {
			if i > 0 {
				require.Negative(t, last.Compare(k.Group))
			}
			last = k.Group
			total++
		}
	}
	require.Equal(t, 150, total)
}
