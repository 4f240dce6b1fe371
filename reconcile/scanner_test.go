package reconcile

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// A scan's rows, as awa.Layout.ScanLeaf makes them: what there is of a group, what is pending, a counter row.
func rowsOf(slot int32, queue string, n int64) row {
	return row{slot, queue, int16(1), int16(0), n, nil, nil, nil, nil}
}

func pendingOf(slot int32, queue string, n int64) row {
	return row{slot, queue, int16(1), int16(0), nil, n, nil, nil, nil}
}

func counterRow(slot int32, queue string, bucket int16, n int64) row {
	return row{slot, queue, int16(1), int16(0), nil, nil, bucket, n, nil}
}

func snapshot(text string) row { return row{nil, nil, nil, nil, nil, nil, nil, nil, text} }

func TestAScanReadsGroupsAndItsSnapshot(t *testing.T) {
	var s applier.Scan
	rows := &answer{rows: []row{
		rowsOf(7, "email", 8), snapshot("10:20:10,12"), pendingOf(7, "email", -1), pendingOf(7, "billing", 0),
		counterRow(7, "email", 3, 5), counterRow(7, "push", 0, 2), counterRow(7, "email", 300, -3), counterRow(7, "email", 1, 6),
	}}
	require.NoError(t, collect(rows, &s))
	require.True(t, rows.closed)
	require.Equal(t, 2, s.Groups.Len(), "a group of nothing is not kept")
	id, ok := s.Groups.Find(counter.Group{Slot: 7, Queue: "email", Priority: 1})
	require.True(t, ok)
	want := counter.NewCell(8, -1, counter.Bucket{ID: 1, Value: 6}, counter.Bucket{ID: 3, Value: 5}, counter.Bucket{ID: 300, Value: -3})
	require.Equal(t, want, s.Groups.Cell(id))
	require.EqualValues(t, 7, s.Groups.At(id).Counter())
	id, ok = s.Groups.Find(counter.Group{Slot: 7, Queue: "push", Priority: 1})
	require.True(t, ok)
	require.EqualValues(t, -2, s.Groups.At(id).Drift(), "a counter row alone is drift as well")
	require.True(t, s.Snapshot.Sees(11))
	require.False(t, s.Snapshot.Sees(12))
}

// Without its snapshot a scan has no fence, and with a part of its rows it has wrong books.
func TestAScanThatIsNotWholeIsAnError(t *testing.T) {
	var s applier.Scan
	require.ErrorContains(t, collect(&answer{rows: []row{rowsOf(7, "email", 8)}}, &s), "the snapshot is missing")
	require.ErrorIs(t, collect(&answer{rows: []row{snapshot("10:20:")}, broken: errGone}, &s), errGone)
	require.Error(t, collect(&answer{rows: []row{snapshot("10")}}, &s))
	for what, change := range map[string]func(row){
		"a counter row without a value": func(r row) { r[7] = nil },
		"one without a bucket":          func(r row) { r[6] = nil },
		"no queue":                      func(r row) { r[1] = nil },
		"a number as text":              func(r row) { r[7] = "123" },
	} {
		bad := counterRow(7, "email", 1, 2)
		change(bad)
		require.Error(t, collect(&answer{rows: []row{bad, snapshot("10:20:")}}, &s), what)
	}
	require.Error(t, collect(&answer{rows: []row{{int32(7)}}}, &s))
}

// What a scan of many groups takes the daemon: nothing is allocated for a row.
func BenchmarkCollect(b *testing.B) {
	const groups = 1000
	all := make([][][]byte, 0, 2*groups+1)
	for i := range groups {
		name := fmt.Sprint("queue ", i/4)
		for _, r := range []row{rowsOf(7, name, 1), counterRow(7, name, 0, 3)} {
			r[2] = int16(i % 4)
			all = append(all, binaryOf(r))
		}
	}
	all = append(all, binaryOf(snapshot("10:20:")))
	b.ReportAllocs()
	for b.Loop() {
		var s applier.Scan
		if err := collect(&raw{all: all}, &s); err != nil || s.Groups.Len() != groups {
			b.Fatal(err, s.Groups.Len())
		}
	}
}

// raw is a result that lies there already.
type raw struct {
	all [][][]byte
	at  int
}

func (r *raw) NextRow() bool                     { r.at++; return r.at <= len(r.all) }
func (r *raw) Values() [][]byte                  { return r.all[r.at-1] }
func (r *raw) Close() (pgconn.CommandTag, error) { return pgconn.CommandTag{}, nil }

// answer is what a scan yields.
type answer struct {
	rows   []row
	broken error // instead of an end
	closed bool
	next   row
}

func (a *answer) NextRow() bool {
	if len(a.rows) == 0 {
		return false
	}
	a.next, a.rows = a.rows[0], a.rows[1:]
	return true
}

func (a *answer) Values() [][]byte { return binaryOf(a.next) }

func (a *answer) Close() (pgconn.CommandTag, error) {
	a.closed = true
	return pgconn.CommandTag{}, a.broken
}

// binaryOf are the columns of a row in the binary format.
func binaryOf(r row) [][]byte {
	out := make([][]byte, len(r))
	for i, v := range r {
		switch v := v.(type) {
		case nil:
		case string:
			out[i] = []byte(v)
		default:
			var err error
			if out[i], err = binary.Append(nil, binary.BigEndian, v); err != nil {
				panic(err)
			}
		}
	}
	return out
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
