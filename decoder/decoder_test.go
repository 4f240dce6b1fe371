package decoder

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/internal/terminal"
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

func group(queue string, priority, shard int16) terminal.Group {
	return terminal.Group{Slot: 3, Queue: queue, Priority: priority, Shard: shard}
}

func TestPlainTransaction(t *testing.T) {
	txs := feed(t,
		begin(42),
		msg('O').u64(1).str("origin").b,
		msg('I').u32(leafOID).u8('N').tuple(row("a", 1, 0)...).b,
		msg('I').u32(leafOID).u8('N').tuple(row("a", 1, 0)...).b,
		msg('I').u32(leafOID).u8('N').tuple(row("b", 2, -1)...).b,
		msg('D').u32(leafOID).u8('K').tuple(keyOnly("b", 2, 1)...).b,
		msg('I').u32(strangerOID).u8('N').tuple("x").b,
		msg('U').u32(counterOID).u8('N').tuple(3, "a", 1, 0, 12).b,
		msg('I').u32(counterOID).u8('N').tuple(9, "c", -1, 0, -4).b,
		msg('D').u32(counterOID).u8('K').tuple(3, "z", 1, 0, nil).b,
		commit(200),
	)
	require.Len(t, txs, 1)
	tx := txs[0]
	require.EqualValues(t, 42, tx.XID)
	require.EqualValues(t, 195, tx.Commit)
	require.EqualValues(t, 200, tx.End)
	require.True(t, tx.CommitTime.Equal(pgEpoch.Add(time.Second)))
	require.Equal(t, []RowsChange{{group("a", 1, 0), 2}, {group("b", 2, -1), 1}, {group("b", 2, 1), -1}}, tx.Effect.Rows)
	require.Equal(t, []CounterChange{
		{Group: group("a", 1, 0), Value: 12},
		{Group: terminal.Group{Slot: 9, Queue: "c", Priority: -1}, Value: -4},
		{Group: group("z", 1, 0), Gone: true},
	}, tx.Effect.Counters)
}

func TestUpdates(t *testing.T) {
	txs := feed(t,
		begin(1),
		// without an old tuple the key is as it was, whatever else changed
		msg('U').u32(leafOID).u8('N').tuple(3, "job", unchanged, 1, 77, 0, unchanged).b,
		// the key changed
		msg('U').u32(leafOID).u8('K').tuple(keyOnly("a", 1, 0)...).u8('N').tuple(row("b", 1, 0)...).b,
		// replica identity FULL: an old tuple though the group stays; its TOASTed queue comes as unchanged
		msg('U').u32(leafOID).u8('O').tuple(row("c", 1, 0)...).u8('N').tuple(row(unchanged, 1, 0)...).b,
		// a counter row that moves to another key
		msg('U').u32(counterOID).u8('K').tuple(3, "a", 1, 0, nil).u8('N').tuple(3, "b", 1, 0, 5).b,
		commit(200),
	)
	require.Equal(t, []RowsChange{{group("a", 1, 0), -1}, {group("b", 1, 0), 1}}, txs[0].Effect.Rows)
	require.Equal(t, []CounterChange{{Group: group("a", 1, 0), Gone: true}, {Group: group("b", 1, 0), Value: 5}}, txs[0].Effect.Counters)
}

func TestTruncate(t *testing.T) {
	truncate := func(oids ...uint32) []byte {
		m := msg('T').u32(uint32(len(oids))).u8(0)
		for _, o := range oids {
			m.u32(o)
		}
		return m.b
	}
	txs := feed(t,
		begin(1),
		msg('I').u32(leafOID).u8('N').tuple(row("a", 1, 0)...).b,
		truncate(leafOID, strangerOID),
		msg('I').u32(leafOID).u8('N').tuple(row("b", 1, 0)...).b,
		msg('I').u32(counterOID).u8('N').tuple(3, "a", 1, 0, 9).b,
		truncate(counterOID),
		msg('I').u32(counterOID).u8('N').tuple(3, "b", 1, 0, 1).b,
		msg('U').u32(rollupOID).u8('N').tuple("a", 1, 31).b,
		msg('I').u32(rollupOID).u8('N').tuple("b", 1, 4).b,
		commit(200),
	)
	e := txs[0].Effect
	require.Equal(t, []int32{3}, e.Truncated)
	require.Equal(t, []RowsChange{{group("b", 1, 0), 1}}, e.Rows)
	require.Equal(t, []RowsChange{{group("a", 1, 0), 1}}, e.Pruned, "what the transaction had put there before")
	require.True(t, e.CountersReset)
	require.Equal(t, []CounterChange{{Group: group("b", 1, 0), Value: 1}}, e.Counters)
	require.Equal(t, []RollupChange{{Queue: "a", Priority: 1, Value: 31}, {Queue: "b", Priority: 1, Value: 4, Fresh: true}}, e.Rollups)
}

func TestMarkerAndTokens(t *testing.T) {
	emit := func(flags byte, pre, content string) []byte {
		m := msg('M').u8(flags).u64(1).str(pre).u32(uint32(len(content)))
		m.b = append(m.b, content...)
		return m.b
	}
	txs := feed(t,
		emit(0, prefix, "outside any transaction"),
		begin(1),
		emit(1, prefix, "me 7"),
		emit(1, "somebody", "else"),
		msg('U').u32(ringOID).u8('N').tuple("t", "2026-01-01").b,
		commit(200),
		begin(2),
		msg('U').u32(ringOID).u8('N').tuple("t", nil).b,
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
		begin(1), msg('I').u32(leafOID).u8('N').tuple(5, 2, "q", 3).b, commit(200),
		relationOf(msg('R'), leafOID, "done_entries_3", "queue", "extra", "priority", "enqueue_shard"),
		begin(2), msg('I').u32(leafOID).u8('N').tuple("q", "e", 2, 5).b, commit(300),
	)
	for _, tx := range txs {
		require.Equal(t, []RowsChange{{group("q", 2, 5), 1}}, tx.Effect.Rows)
	}
}

func TestStreamedTransaction(t *testing.T) {
	start := func(xid uint32, first byte) []byte { return msg('S').u32(xid).u8(first).b }
	stop := msg('E').b
	insert := func(xid uint32, queue string) []byte {
		return msg('I').u32(xid).u32(leafOID).u8('N').tuple(row(queue, 1, 0)...).b
	}
	abort := func(xid, subxid uint32) []byte { return msg('A').u32(xid).u32(subxid).b }
	streamCommit := func(xid uint32, end uint64) []byte { return msg('c').u32(xid).u8(0).u64(end - 5).u64(end).u64(0).b }

	t.Run("a rolled back subtransaction leaves nothing", func(t *testing.T) {
		txs := feed(t,
			start(10, 1), insert(10, "kept"), insert(11, "undone"), insert(12, "released"), stop,
			begin(99), msg('I').u32(leafOID).u8('N').tuple(row("plain", 1, 0)...).b, commit(150),
			start(10, 0), msg('T').u32(13).u32(1).u8(0).u32(leafOID).b, insert(10, "after"), stop,
			abort(10, 11), abort(10, 13), abort(77, 78),
			streamCommit(10, 300),
		)
		require.Len(t, txs, 2)
		require.EqualValues(t, 99, txs[0].XID)
		require.EqualValues(t, 10, txs[1].XID)
		require.Empty(t, txs[1].Effect.Truncated)
		require.Equal(t, []RowsChange{{group("kept", 1, 0), 1}, {group("released", 1, 0), 1}, {group("after", 1, 0), 1}}, txs[1].Effect.Rows)
	})
	t.Run("order across subtransactions is kept", func(t *testing.T) {
		txs := feed(t,
			start(10, 1), insert(11, "before"), msg('T').u32(12).u32(1).u8(0).u32(leafOID).b, insert(11, "after"), stop, streamCommit(10, 300),
		)
		require.Equal(t, []int32{3}, txs[0].Effect.Truncated)
		require.Equal(t, []RowsChange{{group("after", 1, 0), 1}}, txs[0].Effect.Rows)
		require.Equal(t, []RowsChange{{group("before", 1, 0), 1}}, txs[0].Effect.Pruned)
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
			start(10, 1), relationOf(msg('R').u32(10), leafOID, "l", "priority", "queue", "enqueue_shard"),
			msg('I').u32(10).u32(leafOID).u8('N').tuple(1, "q", 0).b, stop,
			begin(11), msg('I').u32(leafOID).u8('N').tuple("q", 1, 0).b, commit(200),
			streamCommit(10, 300),
			begin(12), msg('I').u32(leafOID).u8('N').tuple(1, "q", 0).b, commit(400),
		)
		for _, tx := range txs {
			require.Equal(t, []RowsChange{{group("q", 1, 0), 1}}, tx.Effect.Rows)
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
		"unknown type":         msg('b').u64(1).b,
		"cut begin":            {'B', 0, 0},
		"commit without begin": commit(9),
		"row outside":          msg('I').u32(leafOID).u8('N').tuple(row("a", 1, 0)...).b,
		"stop without start":   msg('E').b,
		"unfinished stream":    msg('S').u32(9).u8(0).b,
	} {
		t.Run(name, func(t *testing.T) {
			d := newTestDecoder()
			feedTo(t, d, describeAll()...)
			_, _, err := d.Decode(m)
			require.Error(t, err)
		})
	}
	inside := map[string][]byte{
		"unknown relation":  msg('I').u32(999).u8('N').tuple("x").b,
		"binary column":     append(msg('I').u32(leafOID).u8('N').u16(1).b, 'b', 0, 0, 0, 1, 9),
		"null key":          msg('I').u32(leafOID).u8('N').tuple(row(nil, 1, 0)...).b,
		"no number":         msg('I').u32(leafOID).u8('N').tuple(3, "job", "q", "1x", 77, 0, "").b,
		"too big":           msg('I').u32(leafOID).u8('N').tuple(3, "job", "q", 40000, 77, 0, "").b,
		"short tuple":       msg('I').u32(leafOID).u8('N').tuple(3, "job", "q").b,
		"cut length":        append(msg('I').u32(leafOID).u8('N').u16(7).b, 't', 0, 0, 1, 0),
		"negative length":   append(msg('I').u32(leafOID).u8('N').u16(7).b, 't', 255, 255, 255, 255),
		"wrong tuple":       msg('I').u32(leafOID).u8('K').tuple(row("q", 1, 0)...).b,
		"truncate cut":      msg('T').u32(7).u8(0).u32(leafOID).b,
		"begin in begin":    begin(8),
		"stream in a begin": msg('S').u32(1).u8(1).b,
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
