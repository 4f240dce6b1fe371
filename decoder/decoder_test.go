package decoder

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// feed decodes messages after all relations were described and returns the transactions.
func feed(t *testing.T, messages ...[]byte) []Tx {
	t.Helper()
	return feedTo(t, newTestDecoder(), append(describeAll(), messages...)...)
}

func feedTo(t *testing.T, d *Decoder, messages ...[]byte) (out []Tx) {
	t.Helper()
	for _, m := range messages {
		tx, done, err := d.Decode(m)
		require.NoError(t, err)
		if done {
			out = append(out, tx)
		}
	}
	return out
}

func group(queue string, priority, shard int16) counter.Group {
	return counter.Group{Slot: 3, Queue: queue, Priority: priority, Shard: shard}
}

func TestPlainTransaction(t *testing.T) {
	txs := feed(t,
		begin(42),
		msg('O').U64(1).Str("origin").B,
		msg('I').U32(leafOID).U8('N').Tuple(row("a", 1, 0)...).B,
		msg('I').U32(leafOID).U8('N').Tuple(row("a", 1, 0)...).B,
		msg('I').U32(leafOID).U8('N').Tuple(row("b", 2, -1)...).B,
		msg('D').U32(leafOID).U8('K').Tuple(keyOnly("b", 2, 1)...).B,
		msg('I').U32(strangerOID).U8('N').Tuple("x").B,
		msg('U').U32(counterOID).U8('N').Tuple(3, "a", 1, 0, 12).B,
		msg('I').U32(counterOID).U8('N').Tuple(9, "c", -1, 0, -4).B,
		msg('D').U32(counterOID).U8('K').Tuple(3, "z", 1, 0, nil).B,
		commit(200),
	)
	require.Len(t, txs, 1)
	tx := txs[0]
	require.EqualValues(t, 42, tx.XID)
	require.EqualValues(t, 195, tx.Commit)
	require.EqualValues(t, 200, tx.End)
	require.True(t, tx.CommitTime.Equal(pgEpoch.Add(time.Second)))
	require.Equal(t, []Change{{group("a", 1, 0), 2}, {group("b", 2, -1), 1}, {group("b", 2, 1), -1}}, tx.Effect.Rows)
	require.Equal(t, []CounterChange{
		{Group: group("a", 1, 0), Value: 12},
		{Group: counter.Group{Slot: 9, Queue: "c", Priority: -1}, Value: -4},
		{Group: group("z", 1, 0), Gone: true},
	}, tx.Effect.Counters)
}

func TestUpdates(t *testing.T) {
	txs := feed(t,
		begin(1),
		// without an old tuple the key is as it was, whatever else changed
		msg('U').U32(leafOID).U8('N').Tuple(3, "job", unchanged, 1, 77, 0, unchanged).B,
		// the key changed
		msg('U').U32(leafOID).U8('K').Tuple(keyOnly("a", 1, 0)...).U8('N').Tuple(row("b", 1, 0)...).B,
		// replica identity FULL: an old tuple though the group stays; its TOASTed queue comes as unchanged
		msg('U').U32(leafOID).U8('O').Tuple(row("c", 1, 0)...).U8('N').Tuple(row(unchanged, 1, 0)...).B,
		// a counter row that moves to another key
		msg('U').U32(counterOID).U8('K').Tuple(3, "a", 1, 0, nil).U8('N').Tuple(3, "b", 1, 0, 5).B,
		commit(200),
	)
	require.Equal(t, []Change{{group("a", 1, 0), -1}, {group("b", 1, 0), 1}}, txs[0].Effect.Rows)
	require.Equal(t, []CounterChange{{Group: group("a", 1, 0), Gone: true}, {Group: group("b", 1, 0), Value: 5}}, txs[0].Effect.Counters)
}

func TestTruncate(t *testing.T) {
	txs := feed(t,
		begin(1),
		msg('I').U32(leafOID).U8('N').Tuple(row("a", 1, 0)...).B,
		truncate(leafOID, strangerOID),
		msg('I').U32(leafOID).U8('N').Tuple(row("b", 1, 0)...).B,
		msg('I').U32(counterOID).U8('N').Tuple(3, "a", 1, 0, 9).B,
		truncate(counterOID),
		msg('I').U32(counterOID).U8('N').Tuple(3, "b", 1, 0, 1).B,
		msg('U').U32(rollupOID).U8('N').Tuple("a", 1, 31).B,
		msg('I').U32(rollupOID).U8('N').Tuple("b", 1, 4).B,
		commit(200),
	)
	e := txs[0].Effect
	require.Equal(t, []int32{3}, e.Truncated)
	require.Equal(t, []Change{{group("b", 1, 0), 1}}, e.Rows)
	require.Equal(t, []Change{{group("a", 1, 0), 1}}, e.Pruned, "what the transaction had put there before")
	require.True(t, e.CountersReset)
	require.Equal(t, []CounterChange{{Group: group("b", 1, 0), Value: 1}}, e.Counters)
	require.Equal(t, []RollupChange{{Queue: "a", Priority: 1, Completed: 31}, {Queue: "b", Priority: 1, Completed: 4, Fresh: true}}, e.Rollups)
}

func truncate(oids ...uint32) []byte {
	m := msg('T').U32(uint32(len(oids))).U8(0)
	for _, o := range oids {
		m.U32(o)
	}
	return m.B
}

// The ledger shape: signed changes that are summed up, counter rows by bucket, and a TRUNCATE that
// says by its list which leaves went together.
func TestLedger(t *testing.T) {
	pend := func(queue string, bucket, n int) []byte {
		return msg('I').U32(ledgerOID).U8('N').Tuple(3, 9, queue, 1, 0, bucket, n).B
	}
	txs := feed(t,
		begin(1),
		pend("a", 17, 3), pend("a", 18, 2), pend("b", 17, -1), pend("a", 17, -1), pend("c", 1, 1), pend("c", 1, -1),
		msg('U').U32(bucketedOID).U8('N').Tuple(3, "a", 1, 0, 12, 17).B,
		msg('U').U32(bucketedOID).U8('N').Tuple(3, "a", 1, 0, 5, 300).B,
		msg('U').U32(bucketedOID).U8('N').Tuple(3, "a", 1, 0, 13, 17).B,
		msg('D').U32(bucketedOID).U8('K').Tuple(3, "a", 1, 0, nil, 300).B,
		msg('I').U32(foldedOID).U8('N').Tuple("a", 1, 4, 2).B,
		msg('I').U32(foldedOID).U8('N').Tuple("a", 1, 1, 0).B,
		commit(200),
		begin(2),
		pend("a", 17, 3),
		truncate(leafOID, strangerOID, ledgerOID),
		pend("a", 17, 7),
		commit(300),
		begin(3),
		truncate(ledgerOID), truncate(leafOID),
		commit(400),
	)
	e := txs[0].Effect
	require.Equal(t, []Change{{group("a", 1, 0), 4}, {group("b", 1, 0), -1}}, e.Pending)
	require.Equal(t, []CounterChange{{Group: group("a", 1, 0), Bucket: 17, Value: 13}, {Group: group("a", 1, 0), Bucket: 300, Gone: true}}, e.Counters)
	require.Equal(t, []RollupChange{{Queue: "a", Priority: 1, Fresh: true, Completed: 5, Failed: 2}}, e.Folded)
	e = txs[1].Effect
	require.Equal(t, []int32{3}, e.LedgerEmptied)
	require.Equal(t, []int32{3}, e.Truncated)
	require.Equal(t, []int32{3}, e.CountingPrunes)
	require.Equal(t, []Change{{group("a", 1, 0), 7}}, e.Pending)
	e = txs[2].Effect
	require.Equal(t, []int32{3}, e.LedgerEmptied)
	require.Empty(t, e.CountingPrunes, "two statements")

	d := newTestDecoder()
	feedTo(t, d, append(describeAll(), begin(1))...)
	_, _, err := d.Decode(msg('D').U32(ledgerOID).U8('K').Tuple(3, 9, "a", 1, 0, 17, 3).B)
	require.ErrorContains(t, err, "wrong publication")
}

func TestMarkerAndTokens(t *testing.T) {
	emit := func(flags byte, pre, content string) []byte {
		m := msg('M').U8(flags).U64(1).Str(pre).U32(uint32(len(content)))
		m.B = append(m.B, content...)
		return m.B
	}
	txs := feed(t,
		emit(0, prefix, "outside any transaction"),
		begin(1),
		emit(1, prefix, "me 7"),
		emit(1, "somebody", "else"),
		msg('U').U32(ringOID).U8('N').Tuple("t", "2026-01-01").B,
		commit(200),
		begin(2),
		msg('U').U32(ringOID).U8('N').Tuple("t", nil).B,
		commit(300),
	)
	require.Equal(t, []Token{{Content: "me 7"}}, txs[0].Tokens)
	require.Equal(t, MarkerChange{Seen: true, Set: true}, txs[0].Effect.Marker)
	require.Equal(t, MarkerChange{Seen: true}, txs[1].Effect.Marker)
	require.Empty(t, txs[1].Tokens, "left over from the transaction before")
}

// enqueue_shard may stand anywhere; a fresh Relation message replaces the one before.
func TestColumnsAreFoundByName(t *testing.T) {
	d := newTestDecoder()
	txs := feedTo(
		t, d,
		relationOf(msg('R'), leafOID, "done_entries_3", "enqueue_shard", "priority", "queue", "ready_slot"),
		begin(1), msg('I').U32(leafOID).U8('N').Tuple(5, 2, "q", 3).B, commit(200),
		relationOf(msg('R'), leafOID, "done_entries_3", "queue", "extra", "priority", "enqueue_shard"),
		begin(2), msg('I').U32(leafOID).U8('N').Tuple("q", "e", 2, 5).B, commit(300),
	)
	for _, tx := range txs {
		require.Equal(t, []Change{{group("q", 2, 5), 1}}, tx.Effect.Rows)
	}
}

func TestStreamedTransaction(t *testing.T) {
	start := func(xid uint32, first byte) []byte { return msg('S').U32(xid).U8(first).B }
	stop := msg('E').B
	insert := func(xid uint32, queue string) []byte {
		return msg('I').U32(xid).U32(leafOID).U8('N').Tuple(row(queue, 1, 0)...).B
	}
	abort := func(xid, subxid uint32) []byte { return msg('A').U32(xid).U32(subxid).B }
	streamCommit := func(xid uint32, end uint64) []byte { return msg('c').U32(xid).U8(0).U64(end - 5).U64(end).U64(0).B }

	t.Run("a rolled back subtransaction leaves nothing", func(t *testing.T) {
		txs := feed(t,
			start(10, 1), insert(10, "kept"), insert(11, "undone"), insert(12, "released"), stop,
			begin(99), msg('I').U32(leafOID).U8('N').Tuple(row("plain", 1, 0)...).B, commit(150),
			start(10, 0), msg('T').U32(13).U32(1).U8(0).U32(leafOID).B, insert(10, "after"), stop,
			abort(10, 11), abort(10, 13), abort(77, 78),
			streamCommit(10, 300),
		)
		require.Len(t, txs, 2)
		require.EqualValues(t, 99, txs[0].XID)
		require.EqualValues(t, 10, txs[1].XID)
		require.Empty(t, txs[1].Effect.Truncated)
		require.Equal(t, []Change{{group("kept", 1, 0), 1}, {group("released", 1, 0), 1}, {group("after", 1, 0), 1}}, txs[1].Effect.Rows)
	})
	t.Run("order across subtransactions is kept", func(t *testing.T) {
		txs := feed(t,
			start(10, 1), insert(11, "before"), msg('T').U32(12).U32(1).U8(0).U32(leafOID).B, insert(11, "after"), stop, streamCommit(10, 300),
		)
		require.Equal(t, []int32{3}, txs[0].Effect.Truncated)
		require.Equal(t, []Change{{group("after", 1, 0), 1}}, txs[0].Effect.Rows)
		require.Equal(t, []Change{{group("before", 1, 0), 1}}, txs[0].Effect.Pruned)
	})
	t.Run("a rolled back transaction", func(t *testing.T) {
		d := newTestDecoder()
		feedTo(t, d, append(describeAll(), start(10, 1), insert(10, "x"), stop, abort(10, 10))...)
		_, _, err := d.Decode(streamCommit(10, 300))
		require.Error(t, err)
	})
	t.Run("relations of a streamed transaction are its own until it commits", func(t *testing.T) {
		d := newTestDecoder()
		txs := feedTo(
			t, d, relationOf(msg('R'), leafOID, "l", "queue", "priority", "enqueue_shard"),
			start(10, 1), relationOf(msg('R').U32(10), leafOID, "l", "priority", "queue", "enqueue_shard"),
			msg('I').U32(10).U32(leafOID).U8('N').Tuple(1, "q", 0).B, stop,
			begin(11), msg('I').U32(leafOID).U8('N').Tuple("q", 1, 0).B, commit(200),
			streamCommit(10, 300),
			begin(12), msg('I').U32(leafOID).U8('N').Tuple(1, "q", 0).B, commit(400),
		)
		for _, tx := range txs {
			require.Equal(t, []Change{{group("q", 1, 0), 1}}, tx.Effect.Rows)
		}
	})
	t.Run("keepalives inside say nothing", func(t *testing.T) {
		d := newTestDecoder()
		require.False(t, d.InTransaction())
		feedTo(t, d, start(10, 1))
		require.True(t, d.InTransaction())
		feedTo(t, d, stop)
		require.False(t, d.InTransaction())
		feedTo(t, d, begin(11))
		require.True(t, d.InTransaction())
	})
}

func TestWhatCannotBeRead(t *testing.T) {
	for name, m := range map[string][]byte{
		"empty":                {},
		"unknown type":         msg('b').U64(1).B,
		"cut begin":            {'B', 0, 0},
		"commit without begin": commit(9),
		"row outside":          msg('I').U32(leafOID).U8('N').Tuple(row("a", 1, 0)...).B,
		"stop without start":   msg('E').B,
		"unfinished stream":    msg('S').U32(9).U8(0).B,
	} {
		t.Run(name, func(t *testing.T) {
			d := newTestDecoder()
			feedTo(t, d, describeAll()...)
			_, _, err := d.Decode(m)
			require.Error(t, err)
		})
	}
	inside := map[string][]byte{
		"unknown relation":  msg('I').U32(999).U8('N').Tuple("x").B,
		"binary column":     append(msg('I').U32(leafOID).U8('N').U16(1).B, 'b', 0, 0, 0, 1, 9),
		"null key":          msg('I').U32(leafOID).U8('N').Tuple(row(nil, 1, 0)...).B,
		"no number":         msg('I').U32(leafOID).U8('N').Tuple(3, "job", "q", "1x", 77, 0, "").B,
		"too big":           msg('I').U32(leafOID).U8('N').Tuple(3, "job", "q", 40000, 77, 0, "").B,
		"short tuple":       msg('I').U32(leafOID).U8('N').Tuple(3, "job", "q").B,
		"cut length":        append(msg('I').U32(leafOID).U8('N').U16(7).B, 't', 0, 0, 1, 0),
		"negative length":   append(msg('I').U32(leafOID).U8('N').U16(7).B, 't', 255, 255, 255, 255),
		"wrong tuple":       msg('I').U32(leafOID).U8('K').Tuple(row("q", 1, 0)...).B,
		"truncate cut":      msg('T').U32(7).U8(0).U32(leafOID).B,
		"begin in begin":    begin(8),
		"stream in a begin": msg('S').U32(1).U8(1).B,
	}
	for name, m := range inside {
		t.Run(name, func(t *testing.T) {
			d := newTestDecoder()
			feedTo(t, d, append(describeAll(), begin(1))...)
			_, _, err := d.Decode(m)
			require.Error(t, err)
		})
	}
}

// Cut anywhere, a message may be refused or found to hold what was wanted already; it never completes a
// transaction that it did not end, and never panics. Kinds of later protocol versions are refused by name.
func TestCutAnywhere(t *testing.T) {
	messages := append(describeAll(),
		msg('I').U32(leafOID).U8('N').Tuple(row("a", 1, 0)...).B, msg('D').U32(leafOID).U8('K').Tuple(keyOnly("a", 1, 0)...).B,
		msg('U').U32(leafOID).U8('K').Tuple(keyOnly("a", 1, 0)...).U8('N').Tuple(row("b", 1, 0)...).B,
		msg('T').U32(2).U8(0).U32(leafOID).U32(counterOID).B, append(msg('M').U8(1).U64(1).Str(prefix).U32(4).B, "me 7"...), commit(9))
	for _, m := range messages {
		for n := range len(m) {
			d := newTestDecoder()
			feedTo(t, d, append(describeAll(), begin(1))...)
			_, done, err := d.Decode(m[:n])
			require.False(t, done, "%q", m[:n])
			if m[0] == 'C' || m[0] == 'T' || n < 5 {
				require.Error(t, err, "%q", m[:n])
			}
		}
	}
	for _, kind := range []byte("bPKrp") {
		_, _, err := newTestDecoder().Decode(msg(kind).U64(1).U64(2).B)
		require.ErrorContains(t, err, "this build reads protocol versions 1 and 2")
	}
}

func TestParseInt(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "-0": 0, "7": 7, "-7": -7, "9223372036854775807": 1<<63 - 1, "-9223372036854775808": -1 << 63,
	} {
		got, ok := parseInt([]byte(text))
		require.True(t, ok, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "-", "+1", "1 ", "9223372036854775808", "-9223372036854775809", "99999999999999999999", "a"} {
		_, ok := parseInt([]byte(text))
		require.False(t, ok, text)
	}
}
