package decoder

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzDecode feeds arbitrary messages inside a transaction. None may panic, and whatever
// pglogrepl.Parse can read must come out the same here.
func FuzzDecode(f *testing.F) {
	seeds := append(describeAll(),
		begin(1), commit(9),
		msg('I').U32(leafOID).U8('N').Tuple(row("a", 1, 0)...).B,
		msg('U').U32(leafOID).U8('K').Tuple(keyOnly("a", 1, 0)...).U8('N').Tuple(row("b", 1, 0)...).B,
		msg('U').U32(leafOID).U8('N').Tuple(3, "job", unchanged, 1, 77, 0, unchanged).B,
		msg('D').U32(leafOID).U8('K').Tuple(keyOnly("a", -1, 0)...).B,
		msg('D').U32(counterOID).U8('O').Tuple(3, "a", 1, 0, 8).B,
		msg('I').U32(counterOID).U8('N').Tuple(3, "a", 1, 0, 12).B,
		msg('I').U32(bucketedOID).U8('N').Tuple(3, "a", 1, 0, -12, 300).B,
		msg('U').U32(bucketedOID).U8('K').Tuple(3, "a", 1, 0, nil, 7).U8('N').Tuple(3, "a", 1, 0, 5, 8).B,
		msg('D').U32(bucketedOID).U8('K').Tuple(3, "a", 1, 0, nil, 255).B,
		insertDelta(ledgerOID, "a", -4),
		insertDelta(nextLogOID, "a", 9),
		msg('U').U32(ledgerOID).U8('N').Tuple(3, 16, "a", 1, 0, 7, 2).B,
		msg('T').U32(2).U8(1).U32(leafOID).U32(counterOID).B,
		truncate(leafOID, ledgerOID),
		truncate(ledgerOID, nextLeafOID, leafOID, strangerOID, nextLogOID),
		truncate(leafOID, nextLogOID),
		truncate(bucketedOID, ledgerOID, nextLogOID),
		truncate(leafOID, nextLeafOID, bucketedOID, rollupOID),
		msg('U').U32(ringOID).U8('N').Tuple("t", nil).B,
		msg('I').U32(rollupOID).U8('N').Tuple("a", 1, 31).B,
		msg('U').U32(rollupOID).U8('N').Tuple("a", 1, 32).B,
		msg('I').U32(foldedOID).U8('N').Tuple("a", 1, 31, 7).B,
		msg('D').U32(foldedOID).U8('O').Tuple("a", 1, 31, 7).B,
		append(msg('M').U8(1).U64(1).Str(prefix).U32(4).B, "me 7"...),
		msg('S').U32(7).U8(1).B, msg('E').B, msg('A').U32(7).U32(8).B, msg('c').U32(7).U8(0).U64(1).U64(2).U64(3).B,
		msg('O').U64(1).Str("o").B, msg('Y').U32(1).Str("awa").Str("job_state").B,
	)
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := newTestDecoder()
		feedTo(t, d, append(describeAll(), begin(1))...)
		_, _, err := d.Decode(data)

		// And in the middle of a streamed transaction, where only panics are looked for.
		s := newTestDecoder()
		feedTo(t, s, append(describeAll(), msg('S').U32(7).U8(1).B)...)
		_, _, _ = s.Decode(data)

		if err != nil {
			return
		}
		want, known := expected(data)
		if !known {
			return
		}
		got := d.plain.effect(&d.room)
		require.False(t, want.refused, "taken in: %q", data)
		require.Equal(t, want.rows, sum(got.Rows))
		require.Equal(t, want.pending, sum(got.Pending))
		require.Equal(t, want.counters, got.Counters)
		require.Equal(t, want.rollups, got.Rollups)
		require.Equal(t, want.folded, got.Folded)
		require.Equal(t, want.truncated, got.Truncated)
		require.Equal(t, want.emptied, got.LedgerEmptied)
		require.Equal(t, want.whole(), got.CountingPrunes)
		require.Equal(t, want.countersReset, got.CountersReset)
		require.Equal(t, want.rollupsReset, got.RollupsReset)
	})
}

// FuzzStream feeds a whole stream, each message after a byte that says how long it is: begins within
// begins, streamed chunks without end, relations described again. Nothing may panic; what completes is in
// normal form, and a decoder that has failed is not used again.
func FuzzStream(f *testing.F) {
	pack := func(messages ...[]byte) (out []byte) {
		for _, m := range messages {
			out = append(append(out, byte(len(m))), m...)
		}
		return out
	}
	within := func(subxid uint32, m []byte) []byte { // the same message inside a streamed transaction
		return append(msg(m[0]).U32(subxid).B, m[1:]...)
	}
	insert := msg('I').U32(leafOID).U8('N').Tuple(row("a", 1, 0)...).B
	remove := msg('D').U32(leafOID).U8('K').Tuple(keyOnly("a", 1, 0)...).B
	delta := insertDelta(ledgerOID, "a", 3)
	bucket := msg('U').U32(bucketedOID).U8('N').Tuple(3, "a", 1, 0, 12, 300).B
	folded := msg('I').U32(foldedOID).U8('N').Tuple("a", 1, 31, 7).B
	end := msg('c').U32(7).U8(0).U64(14).U64(19).U64(3).B
	f.Add(pack(begin(1), insert, remove, commit(9), begin(2), commit(19)))
	f.Add(pack(begin(1), insert, delta, truncate(leafOID, ledgerOID), folded, bucket, delta, commit(9)))
	f.Add(pack(begin(1), truncate(bucketedOID, ledgerOID, nextLogOID), bucket, bucket, folded, folded, commit(9)))
	f.Add(pack(msg('S').U32(7).U8(1).B, within(7, insert), within(8, insert), msg('E').B, begin(3), insert, commit(9),
		msg('S').U32(7).U8(0).B, within(9, insert), msg('E').B, msg('A').U32(7).U32(8).B, end))
	f.Add(pack(msg('S').U32(7).U8(1).B, within(7, delta), within(8, truncate(leafOID, ledgerOID)), within(7, bucket), within(9, delta),
		within(7, folded), msg('E').B, msg('A').U32(7).U32(9).B, end))
	f.Add(pack(msg('S').U32(7).U8(1).B, relationOf(msg('R').U32(7), leafOID, "done_entries_3", "queue", "priority", "enqueue_shard"),
		msg('I').U32(7).U32(leafOID).U8('N').Tuple("a", 1, 0).B, msg('E').B, msg('A').U32(7).U32(7).B, begin(3), insert, commit(9)))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := newTestDecoder()
		feedTo(t, d, describeAll()...)
		for len(data) > 0 {
			n := min(int(data[0]), len(data)-1)
			tx, done, err := d.Decode(data[1 : 1+n])
			data = data[1+n:]
			if err != nil {
				return
			}
			if !done {
				continue
			}
			require.False(t, d.InTransaction())
			checkNormal(t, &tx.Effect)
		}
	})
}

// checkNormal: an effect names each thing once, and nothing that comes to nothing.
func checkNormal(t *testing.T, e *Effect) {
	t.Helper()
	changes := func(list []Change) {
		once(t, list, func(c Change) any { return c.Group })
		for _, c := range list {
			require.NotZero(t, c.N)
		}
	}
	changes(e.Rows)
	changes(e.Pending)
	once(t, e.Counters, func(c CounterChange) any { return counterRow{c.Group, c.Bucket} })
	folds := func(c RollupChange) any { return []any{c.Queue, c.Priority} }
	once(t, e.Rollups, folds)
	once(t, e.Folded, folds)
	for _, slots := range [][]int32{e.Truncated, e.LedgerEmptied, e.CountingPrunes} {
		once(t, slots, func(s int32) any { return s })
	}
	for _, s := range e.CountingPrunes {
		require.True(t, slices.Contains(e.Truncated, s) && slices.Contains(e.LedgerEmptied, s), "slot %d", s)
	}
}

func once[T any](t *testing.T, list []T, name func(T) any) {
	t.Helper()
	for i, x := range list {
		for _, y := range list[:i] {
			require.NotEqual(t, name(x), name(y))
		}
	}
}
