package decoder

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/internal/terminal"
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
		msg('T').U32(2).U8(1).U32(leafOID).U32(counterOID).B,
		msg('U').U32(ringOID).U8('N').Tuple("t", nil).B,
		msg('I').U32(rollupOID).U8('N').Tuple("a", 1, 31).B,
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
		got := d.plain.effect()
		require.Equal(t, want.rows, nonZero(got.Rows))
		require.Equal(t, want.counters, got.Counters)
		require.Equal(t, want.truncated, got.Truncated)
	})
}

// FuzzStream feeds a whole stream, each message after a byte that says how long it is: begins within
// begins, streamed chunks without end, relations described anew. Nothing may panic; what completes
// names each group once, and a decoder that has failed is not used again.
func FuzzStream(f *testing.F) {
	pack := func(messages ...[]byte) (out []byte) {
		for _, m := range messages {
			out = append(append(out, byte(len(m))), m...)
		}
		return out
	}
	insert := func(subxid uint32) []byte {
		m := msg('I')
		if subxid != 0 {
			m.U32(subxid)
		}
		return m.U32(leafOID).U8('N').Tuple(row("a", 1, 0)...).B
	}
	remove := msg('D').U32(leafOID).U8('K').Tuple(keyOnly("a", 1, 0)...).B
	f.Add(pack(begin(1), insert(0), remove, commit(9), begin(2), commit(19)))
	f.Add(pack(msg('S').U32(7).U8(1).B, insert(7), insert(8), msg('E').B, begin(3), insert(0), commit(9),
		msg('S').U32(7).U8(0).B, insert(9), msg('E').B, msg('A').U32(7).U32(8).B, msg('c').U32(7).U8(0).U64(14).U64(19).U64(3).B))
	f.Add(pack(msg('S').U32(7).U8(1).B, relationOf(msg('R').U32(7), leafOID, "done_entries_3", "queue", "priority", "enqueue_shard"),
		msg('I').U32(7).U32(leafOID).U8('N').Tuple("a", 1, 0).B, msg('E').B, msg('A').U32(7).U32(7).B, begin(3), insert(0), commit(9)))
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
			seen := map[terminal.Group]bool{}
			for _, c := range tx.Effect.Rows {
				require.False(t, seen[c.Group], "%s twice", c.Group)
				seen[c.Group] = true
			}
		}
	})
}

type expectation struct {
	rows      map[terminal.Group]int64
	counters  []CounterChange
	truncated []int32
}

func nonZero(rows []Change) map[terminal.Group]int64 {
	out := map[terminal.Group]int64{}
	for _, r := range rows {
		if r.N != 0 {
			out[r.Group] = r.N
		}
	}
	return out
}

// expected is what a message does by pglogrepl.Parse; false when that cannot read it, or panics.
func expected(data []byte) (e expectation, known bool) {
	defer func() {
		if recover() != nil {
			known = false
		}
	}()
	e.rows = map[terminal.Group]int64{}
	if !honest(data) {
		return e, false
	}
	m, err := pglogrepl.Parse(data)
	if err != nil {
		return e, false
	}
	switch m := m.(type) {
	case *pglogrepl.InsertMessage:
		return e, e.change(m.RelationID, nil, m.Tuple)
	case *pglogrepl.UpdateMessage:
		if m.OldTuple == nil && m.RelationID == leafOID {
			return e, true
		}
		return e, e.change(m.RelationID, m.OldTuple, m.NewTuple)
	case *pglogrepl.DeleteMessage:
		return e, e.change(m.RelationID, m.OldTuple, nil)
	case *pglogrepl.TruncateMessage:
		for _, oid := range m.RelationIDs {
			if oid == leafOID && len(e.truncated) == 0 {
				e.truncated = []int32{3}
			}
		}
		return e, true
	}
	return e, false
}

// honest reports that a message claims no more than it holds. Parse believes any count and any length,
// and allocates for it: gigabytes.
func honest(data []byte) bool {
	r := reader{buf: data}
	switch kind := r.uint8(); kind {
	case 'T':
		return (len(data)-6)%4 == 0 && len(data) > 4 && int64(r.uint32()) <= int64(len(data)/4)
	case 'I', 'U', 'D':
		r.uint32()
		for len(r.buf) > 0 && !r.failed {
			r.uint8() // which tuple
			for range r.int16() {
				if c := r.uint8(); c == 't' || c == 'b' {
					r.take(int(r.int32()))
				}
			}
		}
		return !r.failed
	}
	return true
}

func (e *expectation) change(oid uint32, before, after *pglogrepl.TupleData) bool {
	key := func(t *pglogrepl.TupleData, slot, queue, priority, shard int) (g terminal.Group) {
		g.Slot, g.Queue = 3, string(t.Columns[queue].Data)
		if slot >= 0 {
			g.Slot = int32(atoi(t.Columns[slot].Data))
		}
		g.Priority, g.Shard = int16(atoi(t.Columns[priority].Data)), int16(atoi(t.Columns[shard].Data))
		return g
	}
	if before != nil && after != nil {
		for i := range after.Columns {
			if after.Columns[i].DataType == 'u' && i < len(before.Columns) {
				after.Columns[i] = before.Columns[i]
			}
		}
	}
	switch oid {
	case leafOID:
		if before != nil {
			e.rows[key(before, -1, 2, 3, 5)]--
		}
		if after != nil {
			e.rows[key(after, -1, 2, 3, 5)]++
		}
		for g, n := range e.rows {
			if n == 0 {
				delete(e.rows, g)
			}
		}
	case counterOID:
		var old terminal.Group
		if before != nil {
			old = key(before, 0, 1, 2, 3)
			e.counters = append(e.counters, CounterChange{Group: old, Gone: true})
		}
		if after != nil {
			g := key(after, 0, 1, 2, 3)
			if before != nil && g == old {
				e.counters = nil
			}
			e.counters = append(e.counters, CounterChange{Group: g, Value: atoi(after.Columns[4].Data)})
		}
	}
	return true
}

func atoi(b []byte) int64 {
	v, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		panic(fmt.Sprintf("%q: %v", b, err))
	}
	return v
}
