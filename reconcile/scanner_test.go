package reconcile

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// group is a row of a scan.
func group(slot int32, queue string, rows, pending int64, counts ...int64) row {
	ids := make([]int16, len(counts))
	for i := range counts {
		ids[i] = int16(i)
	}
	return row{new(slot), new(queue), new(int16(1)), new(int16(0)), new(rows), new(pending), ids, counts, nil}
}

func snapshot(text string) row { return row{nil, nil, nil, nil, nil, nil, nil, nil, new(text)} }

func TestAScanReadsGroupsAndItsSnapshot(t *testing.T) {
	var s applier.Scan
	rows := &table{rows: []row{group(7, "email", 8, -1, 5, 3), group(7, "billing", 0, 0), group(7, "email", 0, 2), snapshot("10:20:10,12")}}
	require.NoError(t, collect(rows, &s))
	require.True(t, rows.closed)
	require.Len(t, s.Groups, 2, "a group of nothing is not kept")
	require.Equal(t, counter.Group{Slot: 7, Queue: "email", Priority: 1}, s.Groups[0].Group)
	require.EqualValues(t, 8, s.Groups[0].Rows)
	require.EqualValues(t, 7, s.Groups[0].Counter)
	require.EqualValues(t, 1, s.Groups[0].Drift())
	require.EqualValues(t, -2, s.Groups[1].Drift(), "what is pending alone is drift as well")
	require.True(t, s.Snapshot.Sees(11))
	require.False(t, s.Snapshot.Sees(12))
}

// Without its snapshot a scan has no fence, and with a part of its rows it has wrong books.
func TestAScanThatIsNotWholeIsAnError(t *testing.T) {
	var s applier.Scan
	require.ErrorContains(t, collect(&table{rows: []row{group(7, "email", 8, 0)}}, &s), "the snapshot is missing")
	require.ErrorIs(t, collect(&table{rows: []row{snapshot("10:20:")}, broken: errGone}, &s), errGone)
	require.Error(t, collect(&table{rows: []row{snapshot("10")}}, &s))
	bad := group(7, "email", 8, 0, 1, 2)
	bad[6] = []int16{1}
	require.Error(t, collect(&table{rows: []row{bad, snapshot("10:20:")}}, &s), "a bucket without a count")
}

// A unit is scanned by the name of its leaf; the counters of no leaf by all that have one.
func TestAScanNamesItsLeaf(t *testing.T) {
	s := &Scanner{layout: layoutOf("ledger")}
	for slot, leaf := range map[int32]string{0: "done_entries_0", 7: "done_entries_7"} {
		sql, err := s.statement(slot)
		require.NoError(t, err)
		require.Contains(t, sql, leaf)
	}
	sql, err := s.statement(applier.NoLeaf)
	require.NoError(t, err)
	require.NotContains(t, sql, "done_entries_7")
	_, err = s.statement(3)
	require.ErrorContains(t, err, "slot 3: no leaf has it")
}
