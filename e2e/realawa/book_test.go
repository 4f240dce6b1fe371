package main

import (
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func written(at time.Time, g group, c change) transaction {
	return transaction{at: at, groups: map[group]change{g: c}, inserted: map[string]int64{g.Queue: max(0, c.rows)}, deleted: map[string]int64{g.Queue: max(0, -c.rows)}}
}

func TestUncountedIsWhatTheLedgerLacks(t *testing.T) {
	b := newBook(map[string]int64{"q": 100})
	g := group{3, "q", 1, 0}
	b.take(written(noon, g, change{rows: 5}))              // an old binary
	b.take(written(noon, g, change{rows: 7, ledger: 7}))   // a new one
	b.take(written(noon, g, change{rows: -2, ledger: -2})) // and its retry
	b.take(written(noon, g, change{rows: -1}))             // an old one's
	require.Equal(t, books{RowsUncounted: 5, RemovedUncounted: 1, RowsCounted: 7}, b.sums())
	require.EqualValues(t, 109, b.naive["q"])

	// A truncated ledger leaf alone is a fold; with the leaf of rows, a new leader's prune; that leaf alone, an old one's.
	both, ledger, rows := map[int32]bool{3: true}, map[int32]bool{3: true}, map[int32]bool{3: true}
	b.take(transaction{at: noon, ledgerLeaf: ledger})
	b.take(transaction{at: noon, ledgerLeaf: both, doneLeaf: both})
	b.take(transaction{at: noon, doneLeaf: rows})
	s := b.sums()
	require.Equal(t, []int64{1, 1, 1}, []int64{s.Folds, s.NewPrunes, s.OldPrunes})
	require.EqualValues(t, 109, b.naive["q"], "a TRUNCATE does not say how many")
}

func TestCarriedRowsAreCounted(t *testing.T) {
	b := newBook(map[string]int64{})
	tx := written(noon, group{4, "q", 1, 0}, change{rows: 3, ledger: 3})
	tx.doneLeaf, tx.ledgerLeaf = map[int32]bool{3: true}, map[int32]bool{3: true}
	b.take(tx)
	require.Equal(t, books{RowsCounted: 3, NewPrunes: 1}, b.sums())
}

func TestExplains(t *testing.T) {
	b := newBook(map[string]int64{})
	g := group{3, "q", 1, 0}
	for i, n := range []int64{10, 2, 3} {
		b.take(written(noon.Add(time.Duration(i)*time.Second), g, change{rows: n}))
	}
	at := noon.Add(2500 * time.Millisecond)
	young := 2 * time.Second
	require.True(t, b.explains(g, 3, at, young))
	require.True(t, b.explains(g, 5, at, young))
	require.False(t, b.explains(g, 15, at, young), "the first one is too old")
	require.False(t, b.explains(g, 2, at, young), "the last one cannot be missing from what is missing")
	require.False(t, b.explains(g, 4, at, young))
	require.False(t, b.explains(group{3, "r", 1, 0}, 3, at, young))
	// A write that the look was a moment too early for.
	require.True(t, b.explains(g, 2, noon.Add(1990*time.Millisecond), young))
	require.True(t, b.explains(g, 5, noon.Add(1990*time.Millisecond), young))

	b.take(transaction{at: noon.Add(2 * time.Second), doneLeaf: map[int32]bool{3: true}})
	require.True(t, b.explains(g, -77, at, young), "an old leader's prune takes rows and leaves the counter")
	require.False(t, b.explains(g, -77, noon.Add(5*time.Second), young))
}

func TestMissed(t *testing.T) {
	b := newBook(map[string]int64{"q": 10})
	b.take(written(noon, group{3, "q", 1, 0}, change{rows: 5, ledger: 5}))
	b.take(written(noon, group{3, "q", 1, 0}, change{rows: 4}))
	b.take(transaction{at: noon, doneLeaf: map[int32]bool{3: true}, ledgerLeaf: map[int32]bool{3: true}})
	now := map[string]count{"q": {Rows: 0}} // pruned away
	naive, doubled := b.missed(map[string]int64{"q": 10}, now, map[string]int64{"q": 0})
	require.EqualValues(t, 19, naive)
	require.EqualValues(t, 9, doubled)
}

func TestStreamReadsColumnsByName(t *testing.T) {
	s := &stream{book: newBook(map[string]int64{}), relations: make(map[uint32]*pglogrepl.RelationMessage)}
	column := func(name string) *pglogrepl.RelationMessageColumn {
		return &pglogrepl.RelationMessageColumn{Name: name}
	}
	done := &pglogrepl.RelationMessage{
		RelationID: 1, RelationName: "done_entries_7", // as on a database that began as an alpha
		Columns: []*pglogrepl.RelationMessageColumn{column("ready_slot"), column("queue"), column("priority"), column("job_id"), column("enqueue_shard")},
	}
	ledger := &pglogrepl.RelationMessage{
		RelationID: 2, RelationName: "queue_terminal_count_deltas_7",
		Columns: []*pglogrepl.RelationMessageColumn{column("queue"), column("priority"), column("enqueue_shard"), column("terminal_delta")},
	}
	tuple := func(texts ...string) *pglogrepl.TupleData {
		var d pglogrepl.TupleData
		for _, text := range texts {
			d.Columns = append(d.Columns, &pglogrepl.TupleDataColumn{Data: []byte(text)})
		}
		return &d
	}
	for _, m := range []pglogrepl.Message{
		done, ledger,
		&pglogrepl.BeginMessage{CommitTime: noon},
		&pglogrepl.InsertMessage{RelationID: 1, Tuple: tuple("7", "q", "4", "99", "2")},
		&pglogrepl.InsertMessage{RelationID: 1, Tuple: tuple("7", "q", "4", "100", "2")},
		&pglogrepl.InsertMessage{RelationID: 2, Tuple: tuple("q", "4", "2", "1")},
		&pglogrepl.CommitMessage{TransactionEndLSN: 42},
		&pglogrepl.BeginMessage{CommitTime: noon},
		&pglogrepl.TruncateMessage{RelationIDs: []uint32{1, 2}},
		&pglogrepl.CommitMessage{TransactionEndLSN: 43},
	} {
		require.NoError(t, s.enter(m))
	}
	require.Equal(t, books{RowsUncounted: 1, RowsCounted: 1, NewPrunes: 1}, s.sums())
	require.Equal(t, []uncounted{{noon, 1}}, s.log[group{7, "q", 4, 2}])
	require.EqualValues(t, 43, s.at())
	require.Error(t, s.enter(&pglogrepl.InsertMessage{RelationID: 9, Tuple: tuple("q")}))
}
