package decoder

import (
	"runtime"
	"testing"

	"github.com/jackc/pglogrepl"
)

// BenchmarkInsert is the hot path: one row of a leaf, its key columns only.
func BenchmarkInsert(b *testing.B) {
	d := newTestDecoder()
	for _, m := range append(describeAll(), begin(1)) {
		if _, _, err := d.Decode(m); err != nil {
			b.Fatal(err)
		}
	}
	m := msg('I').U32(leafOID).U8('N').Tuple(row("billing", 1, 0)...).B
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := d.Decode(m); err != nil {
			b.Fatal(err)
		}
	}
}

// A transaction as it arrives: 100 rows of two groups of one leaf. What Decode allocates for it is spread over its rows.
func BenchmarkTransaction(b *testing.B) { benchmarkTransaction(b, 100) }

// The same with one row: what each transaction costs.
func BenchmarkTransactionOfOne(b *testing.B) { benchmarkTransaction(b, 1) }

func benchmarkTransaction(b *testing.B, rows int) {
	d := newTestDecoder()
	decode := func(m []byte) bool {
		_, done, err := d.Decode(m)
		if err != nil {
			b.Fatal(err)
		}
		return done
	}
	for _, m := range describeAll() {
		decode(m)
	}
	first, last := begin(1), commit(200)
	inserts := [][]byte{
		msg('I').U32(leafOID).U8('N').Tuple(row("billing", 1, 0)...).B,
		msg('I').U32(leafOID).U8('N').Tuple(row("email", 2, 0)...).B,
	}
	b.ReportAllocs()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for b.Loop() {
		decode(first)
		for i := range rows {
			decode(inserts[i%2])
		}
		if !decode(last) {
			b.Fatal("the transaction is not complete")
		}
	}
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(b.N*rows), "allocs/row")
}

// BenchmarkInsertParse is the same message through pglogrepl.Parse, for comparison.
func BenchmarkInsertParse(b *testing.B) {
	m := msg('I').U32(leafOID).U8('N').Tuple(row("billing", 1, 0)...).B
	b.ReportAllocs()
	for b.Loop() {
		if _, err := pglogrepl.Parse(m); err != nil {
			b.Fatal(err)
		}
	}
}
