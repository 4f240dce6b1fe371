package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"
)

func TestTicks(t *testing.T) {
	require.Equal(t, 370*time.Millisecond, ticks("42 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 30 7 0 0"))
	require.Zero(t, ticks("42 (x) S 1"))
}

const dump = `rmgr: Heap        len (rec/tot):     59/    59, tx:        731, lsn: 0/01, prev 0/00, desc: INSERT off 1 flags 0x08, blkref #0: rel 1663/5/100 blk 0
rmgr: Btree       len (rec/tot):     64/  8064, tx:        732, lsn: 0/02, prev 0/01, desc: INSERT_LEAF off 1, blkref #0: rel 1663/5/200 blk 1 FPW
rmgr: Transaction len (rec/tot):     34/    34, tx:        732, lsn: 0/03, prev 0/02, desc: COMMIT 2026-11-26
rmgr: Standby     len (rec/tot):     50/    50, tx:          0, lsn: 0/04, prev 0/03, desc: RUNNING_XACTS nextXid 733
rmgr: Heap        len (rec/tot):     10/    10, tx:        733, lsn: 0/05, prev 0/04, desc: INSERT off 1, blkref #0: rel 1663/6/100 blk 0
`

// WAL goes to the class of its relation, a commit to that of its transaction; another database's files are not ours.
func TestSortWAL(t *testing.T) {
	sums, err := sortWAL(strings.NewReader(dump), map[string]string{"5/100": classRows, "5/200": classCheckpoint})
	require.NoError(t, err)
	require.Equal(t, map[string]size{classRows: {59, 0}, classCheckpoint: {8098, 8000}, classOther: {60, 0}}, sums)
}

func TestBucketOf(t *testing.T) {
	const text = "x_bucket{le=\"0.001\"} 90\nx_bucket{le=\"0.003\"} 99\nx_bucket{le=\"+Inf\"} 100\nx_sum 3\n"
	limit, n, err := bucketOf(strings.NewReader(text), "x", 0.99)
	require.NoError(t, err)
	require.InDelta(t, 0.003, limit, 0)
	require.InDelta(t, 100, n, 0)
	_, _, err = bucketOf(strings.NewReader(text), "y", 0.99)
	require.Error(t, err)
}

func TestTakeBenchmarks(t *testing.T) {
	var p roundResult
	require.NoError(t, takeBenchmarks("goos: linux\npkg: a/b/decoder\nBenchmarkInsert-2 \t 100 \t 12.5 ns/op\t 0 B/op \t 0 allocs/op\nPASS\n", &p))
	require.Equal(t, []figure{{"decoder.Insert", theDaemon, "ns/op", 12.5}, {"decoder.Insert", theDaemon, "B/op", 0}, {"decoder.Insert", theDaemon, "allocs/op", 0}}, p.Figures)
	require.Error(t, takeBenchmarks("PASS\n", &p))
}

// stream makes messages of rows and counters of one group.
type stream struct {
	t *testing.T
	s *stale
}

func (m stream) take(all ...pglogrepl.Message) {
	for _, x := range all {
		require.NoError(m.t, m.s.take(x))
	}
}

func described(id uint32, name string, columns ...string) *pglogrepl.RelationMessageV2 {
	r := &pglogrepl.RelationMessageV2{}
	r.RelationID, r.RelationName = id, name
	for _, c := range columns {
		r.Columns = append(r.Columns, &pglogrepl.RelationMessageColumn{Name: c})
	}
	return r
}

func tupleOf(values ...string) *pglogrepl.TupleData {
	t := &pglogrepl.TupleData{}
	for _, v := range values {
		t.Columns = append(t.Columns, &pglogrepl.TupleDataColumn{DataType: pglogrepl.TupleDataTypeText, Data: []byte(v)})
	}
	return t
}

func (m stream) rows(queue string, n int) {
	for range n {
		i := &pglogrepl.InsertMessageV2{}
		i.RelationID, i.Tuple = 1, tupleOf("0", queue, "1", "0")
		m.take(i)
	}
}

func (m stream) counter(queue, bucket, value string) {
	u := &pglogrepl.UpdateMessageV2{}
	u.RelationID, u.NewTuple = 2, tupleOf("0", queue, "1", "0", bucket, value)
	m.take(u)
}

func (m stream) commit(at time.Time) { m.take(&pglogrepl.CommitMessage{CommitTime: at}) }

// A write waits until the counters of its group, all buckets together, have as much as its rows came to.
func TestStaleness(t *testing.T) {
	began := time.Unix(1000, 0)
	m := stream{t, newStale(began.Add(time.Millisecond))}
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	m.take(described(1, "done_entries_0", "ready_slot", "queue", "priority", "enqueue_shard"),
		described(2, "queue_terminal_live_counts", "ready_slot", "queue", "priority", "enqueue_shard", "counter_bucket", "live_terminal_count"))
	m.rows("q", 5)
	m.commit(at(0)) // before the measuring begins
	m.rows("q", 3)
	m.commit(at(10))
	m.rows("q", 2)
	m.rows("other", 1)
	m.commit(at(20))
	m.counter("q", "300", "7") // less than the second needs
	m.commit(at(30))
	m.counter("q", "12", "1")
	m.commit(at(40))
	m.counter("other", "300", "1")
	m.commit(at(45))
	_, err := m.s.end()
	require.Error(t, err, "one was not corrected yet")
	m.counter("q", "300", "9")
	m.commit(at(60))
	waited, err := m.s.end()
	require.NoError(t, err)
	require.Equal(t, []time.Duration{25 * time.Millisecond, 30 * time.Millisecond, 40 * time.Millisecond}, waited)
}

// The pictures are XML, whatever the names in them, and there is none of nothing.
func TestPictures(t *testing.T) {
	d := dots{title: "a < b & c", axis: "x", mark: 1}
	require.Empty(t, d.svg())
	d.add("nothing", spread{}, 0)
	require.Empty(t, d.rows)
	d.add("<row>", spread{0.9, 0.8, 1.2, 3}, 1)
	wellFormed(t, d.svg())
	d.log = true
	d.add("zero", spread{0, 0, 0, 1}, 1)
	wellFormed(t, d.svg())
	c := curves{title: "t", lines: []curve{{label: "l", xs: []float64{10, 1000}, ys: []float64{0.5, 70}}}}
	wellFormed(t, c.svg())
	require.Empty(t, (&curves{}).svg())
}

func wellFormed(t *testing.T, svg string) {
	t.Helper()
	require.NotContains(t, svg, "NaN")
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err, svg)
	}
}
