package applier

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pgsnap"
)

// BenchmarkTransactions is what the books make of a transaction that the decoder has folded: 100 rows of one group, none
// of them counted, in one of 96 groups in turn.
func BenchmarkTransactions(b *testing.B) { benchmarkTransactions(b, 100) }

// The same with one row: what each transaction costs.
func BenchmarkTransactionsOfOne(b *testing.B) { benchmarkTransactions(b, 1) }

func benchmarkTransactions(b *testing.B, rows int64) {
	now := time.Unix(1_000_000, 0)
	none, err := pgsnap.Parse("900:900:") // sees none of them
	if err != nil {
		b.Fatal(err)
	}
	core, err := New(Config{
		Instance: "me", Leaves: []int32{0}, HasMarker: true, Trust: TrustLive, QuietPeriod: time.Minute,
		MaxStaleness: 2 * time.Second, FlushInterval: 100 * time.Millisecond, CheckpointInterval: 5 * time.Second, AuditInterval: time.Hour,
	}, Start{Position: 1000, Resumes: true, Snapshot: none}, now)
	if err != nil {
		b.Fatal(err)
	}
	effects := make([]decoder.Effect, 96)
	for i := range effects {
		effects[i].Rows = []decoder.Change{{Group: counter.Group{Slot: 0, Queue: fmt.Sprint("queue ", i/2), Priority: int16(1 + i%2)}, N: rows}}
	}
	txs := make([]decoder.Tx, 1)
	b.ReportAllocs()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := 0; b.Loop(); i++ {
		if i%500 == 0 { // a token has come back: the journal lets go of what everybody sees by then
			core.journal.entries, core.journal.bytes, core.journal.fresh = make([]journalEntry, 0, 16), 0, 0
		}
		txs[0] = decoder.Tx{XID: uint32(1000 + i%1_000_000), CommitTime: now, End: pglogrepl.LSN(2000 + 10*i), Effect: effects[i%len(effects)]}
		core.Transactions(now, txs)
	}
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(int64(b.N)*rows), "allocs/row")
}
