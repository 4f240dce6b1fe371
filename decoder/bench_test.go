package decoder

import (
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
