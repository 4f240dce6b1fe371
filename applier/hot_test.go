package applier

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/base/pgsnap"
	"github.com/awa-counterd/awa-counterd/internal/testonly/pgoutputtest"
)

// hotCatalog has one leaf of awa's rows, its leaf of the ledger, and the counters.
type hotCatalog struct{}

const (
	hotLeaf, hotLedger, hotCounters = 100, 200, 300
)

func (hotCatalog) Table(oid uint32, _, _ string, _ []string) (decoder.Table, error) {
	t := decoder.Table{Kind: decoder.Rows, Slot: -1, Queue: 0, Priority: 1, Shard: 2, Bucket: -1, Value: -1, Failed: -1}
	switch oid {
	case hotLedger:
		t.Kind, t.Value = decoder.Ledger, 3
	case hotCounters:
		t.Kind, t.Value, t.Slot = decoder.Counters, 3, 4
	}
	return t, nil
}

// hotPath is the way of a row from the bytes of the stream into the books, with journal and uncounted writes.
type hotPath struct {
	tb            testing.TB
	decoder       *decoder.Decoder
	core          *Core
	begin, commit []byte
	n             uint32 // transactions so far
	batch         []decoder.Tx
}

func newHotPath(tb testing.TB) *hotPath {
	tb.Helper()
	now := time.Unix(1_000_000, 0)
	none, err := pgsnap.Parse("900:900:") // sees none of the transactions
	require.NoError(tb, err)
	core, err := New(Config{
		Instance: "me", Leaves: []int32{0}, HasMarker: true, Trust: TrustLive, QuietPeriod: time.Minute, Shape: Shape{Ledger: true},
		MaxStaleness: 2 * time.Second, FlushInterval: 100 * time.Millisecond, CheckpointInterval: 5 * time.Second, AuditInterval: time.Hour,
	}, Start{Position: 1000, Resumes: true, Snapshot: none}, now)
	require.NoError(tb, err)
	h := &hotPath{
		tb: tb, core: core, decoder: decoder.New(hotCatalog{}, MessagePrefix),
		begin: pgoutputtest.New('B').U64(90).U64(0).U32(0).B, commit: pgoutputtest.New('C').U8(0).U64(0).U64(0).U64(1_000_000).B,
	}
	for _, oid := range []uint32{hotLeaf, hotLedger, hotCounters} {
		h.decode(pgoutputtest.New('R').Relation(oid, "awa", fmt.Sprint("t", oid), "queue", "priority", "enqueue_shard", "n", "ready_slot").B)
	}
	return h
}

func (h *hotPath) decode(m []byte) {
	tx, done, err := h.decoder.Decode(m)
	if err != nil {
		h.tb.Fatal(err)
	}
	if done {
		h.batch = append(h.batch, tx)
	}
}

// transaction has the changes committed, in one transaction of its own.
func (h *hotPath) transaction(changes ...[]byte) {
	h.n++
	binary.BigEndian.PutUint32(h.begin[17:], 1000+h.n)
	binary.BigEndian.PutUint64(h.commit[10:], 2000+10*uint64(h.n))
	h.decode(h.begin)
	for _, m := range changes {
		h.decode(m)
	}
	h.decode(h.commit)
}

// deliver hands over what has been decoded, as the stream does. The memory of a batch is the stream's, one block each.
func (h *hotPath) deliver() {
	h.core.Transactions(time.Unix(1_000_000, 0), h.batch)
	h.batch = h.batch[:0]
}

// seen has a token come back: the journal lets go of all there is.
func (h *hotPath) seen() {
	all, err := pgsnap.Parse(fmt.Sprintf("%[1]d:%[1]d:", 1001+h.n))
	require.NoError(h.tb, err)
	h.core.journal.forget(all)
}

// A row costs no allocation, amortised: neither one of many in a transaction, nor one alone, counted or not.
func TestNothingIsAllocatedForARow(t *testing.T) {
	insert := func(queue string) []byte {
		return pgoutputtest.New('I').U32(hotLeaf).U8('N').Tuple(queue, 1, 0, "x", 0).B
	}
	row, other := insert("email"), insert("billing")
	pending := pgoutputtest.New('I').U32(hotLedger).U8('N').Tuple("email", 1, 0, 1, 0).B
	var counters [2][]byte
	for i := range counters {
		counters[i] = pgoutputtest.New('U').U32(hotCounters).U8('N').Tuple("email", 1, 0, 5+i, 0).B
	}
	many := make([][]byte, 0, 100)
	for i := range 100 {
		many = append(many, [][]byte{row, other}[i%2])
	}
	for name, of := range map[string]func(i int) [][]byte{
		"one uncounted row":            func(int) [][]byte { return [][]byte{row} },
		"one row of each of two":       func(int) [][]byte { return [][]byte{row, other} },
		"a hundred rows of two groups": func(int) [][]byte { return many },
		"counted in the ledger":        func(int) [][]byte { return [][]byte{row, pending} },
		"counted in a counter row":     func(i int) [][]byte { return [][]byte{row, counters[i%2]} },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHotPath(t)
			const batches, batch = 64, 256
			all := make([][][]byte, 2)
			for i := range all {
				all[i] = of(i)
			}
			work := func() (rows int) {
				for range batches {
					for i := range batch {
						h.transaction(all[i%2]...)
						rows += len(all[i%2])
					}
					h.deliver()
				}
				h.seen()
				return rows
			}
			work() // makes the groups, and what is kept for its memory
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			rows := work()
			runtime.ReadMemStats(&after)
			perRow := float64(after.Mallocs-before.Mallocs) / float64(rows)
			t.Logf("%.3f allocations a row, %.0f bytes", perRow, float64(after.TotalAlloc-before.TotalAlloc)/float64(rows))
			require.Less(t, perRow, 0.05)
		})
	}
}

// BenchmarkHotPath is a row's way from the stream's bytes into the books, by transactions of a hundred rows of two groups.
func BenchmarkHotPath(b *testing.B) { benchmarkHotPath(b, 100) }

// BenchmarkHotPathOfOne is the same by transactions of one row.
func BenchmarkHotPathOfOne(b *testing.B) { benchmarkHotPath(b, 1) }

func benchmarkHotPath(b *testing.B, rows int) {
	h := newHotPath(b)
	var changes [][]byte
	for i := range rows {
		changes = append(changes, pgoutputtest.New('I').U32(hotLeaf).U8('N').Tuple([]string{"email", "billing"}[i%2], 1, 0, "x", 0).B)
	}
	b.ReportAllocs()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for n := 0; b.Loop(); n++ {
		h.transaction(changes...)
		if n%256 == 255 {
			h.deliver()
		}
		if n%16384 == 16383 {
			h.seen()
		}
	}
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(b.N*rows), "allocs/row")
}
