package decoder

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// expectation is what one message does, by pglogrepl.Parse.
type expectation struct {
	rows, pending               map[counter.Group]int64
	counters                    []CounterChange
	rollups, folded             []RollupChange
	truncated, emptied          []int32
	countersReset, rollupsReset bool
	refused                     bool // it must not be taken in
}

// whole lists the slots of which both leaves were emptied, in the order of the leaves of done_entries.
func (e *expectation) whole() (out []int32) {
	for _, s := range e.truncated {
		if slices.Contains(e.emptied, s) {
			out = append(out, s)
		}
	}
	return out
}

func sum(changes []Change) map[counter.Group]int64 {
	out := map[counter.Group]int64{}
	for _, c := range changes {
		out[c.Group] = c.N
	}
	return out
}

func insertDelta(oid uint32, queue string, n int) []byte {
	return msg('I').U32(oid).U8('N').Tuple(3, 16, queue, 1, 0, 7, n).B
}

// expected is what a message does by pglogrepl.Parse; false when that cannot read it, or panics.
func expected(data []byte) (e expectation, known bool) {
	defer func() {
		if recover() != nil {
			known = false
		}
	}()
	e.rows, e.pending = map[counter.Group]int64{}, map[counter.Group]int64{}
	if !honest(data) {
		return e, false
	}
	m, err := pglogrepl.Parse(data)
	if err != nil {
		return e, false
	}
	switch m := m.(type) {
	case *pglogrepl.InsertMessage:
		e.change('I', m.RelationID, nil, m.Tuple)
	case *pglogrepl.UpdateMessage:
		e.change('U', m.RelationID, m.OldTuple, m.NewTuple)
	case *pglogrepl.DeleteMessage:
		e.change('D', m.RelationID, m.OldTuple, nil)
	case *pglogrepl.TruncateMessage:
		for _, oid := range m.RelationIDs {
			e.truncate(oid)
		}
	default:
		return e, false
	}
	return e, true
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

func (e *expectation) truncate(oid uint32) {
	note := func(slots *[]int32, slot int32) {
		if !slices.Contains(*slots, slot) {
			*slots = append(*slots, slot)
		}
	}
	switch oid {
	case leafOID:
		note(&e.truncated, 3)
	case nextLeafOID:
		note(&e.truncated, 4)
	case ledgerOID:
		note(&e.emptied, 3)
	case nextLogOID:
		note(&e.emptied, 4)
	case counterOID, bucketedOID:
		e.countersReset = true
	case rollupOID:
		e.rollupsReset = true
	}
}

func (e *expectation) change(kind byte, oid uint32, before, after *pglogrepl.TupleData) {
	if before != nil && after != nil {
		for i := range after.Columns {
			if after.Columns[i].DataType == 'u' && i < len(before.Columns) {
				after.Columns[i] = before.Columns[i]
			}
		}
	}
	switch oid {
	case leafOID:
		e.row(kind, 3, before, after)
	case nextLeafOID:
		e.row(kind, 4, before, after)
	case counterOID:
		e.counter(before, after, -1)
	case bucketedOID:
		e.counter(before, after, 5)
	case ledgerOID:
		e.delta(kind, 3, after)
	case nextLogOID:
		e.delta(kind, 4, after)
	case rollupOID:
		if after != nil {
			e.rollups = []RollupChange{{Queue: text(after, 0), Priority: int16(number(after, 1)), Fresh: kind == 'I', Completed: number(after, 2)}}
		}
	case foldedOID:
		if after != nil {
			e.folded = []RollupChange{{
				Queue: text(after, 0), Priority: int16(number(after, 1)), Fresh: kind == 'I', Completed: number(after, 2), Failed: number(after, 3),
			}}
		}
	}
}

func (e *expectation) row(kind byte, slot int32, before, after *pglogrepl.TupleData) {
	if kind == 'U' && before == nil {
		return // the key is as it was
	}
	if before != nil {
		e.rows[groupIn(before, slot, 2, 3, 5)]--
	}
	if after != nil {
		e.rows[groupIn(after, slot, 2, 3, 5)]++
	}
	for g, n := range e.rows {
		if n == 0 {
			delete(e.rows, g)
		}
	}
}

func (e *expectation) counter(before, after *pglogrepl.TupleData, bucket int) {
	of := func(t *pglogrepl.TupleData) CounterChange {
		c := CounterChange{Group: groupIn(t, int32(number(t, 0)), 1, 2, 3)}
		if bucket >= 0 {
			c.Bucket = int16(number(t, bucket))
		}
		return c
	}
	if before != nil {
		gone := of(before)
		gone.Gone = true
		e.counters = append(e.counters, gone)
	}
	if after != nil {
		c := of(after)
		c.Value = number(after, 4)
		if before != nil && c.Group == e.counters[0].Group && c.Bucket == e.counters[0].Bucket {
			e.counters = nil
		}
		e.counters = append(e.counters, c)
	}
}

// delta: the ledger is appended to, and emptied; anything else is refused.
func (e *expectation) delta(kind byte, slot int32, after *pglogrepl.TupleData) {
	if kind != 'I' {
		e.refused = true
		return
	}
	if n := number(after, 6); n != 0 {
		e.pending[groupIn(after, slot, 2, 3, 4)] = n
	}
}

func groupIn(t *pglogrepl.TupleData, slot int32, queue, priority, shard int) counter.Group {
	return counter.Group{Slot: slot, Queue: text(t, queue), Priority: int16(number(t, priority)), Shard: int16(number(t, shard))}
}

func text(t *pglogrepl.TupleData, column int) string { return string(t.Columns[column].Data) }

func number(t *pglogrepl.TupleData, column int) int64 {
	v, err := strconv.ParseInt(text(t, column), 10, 64)
	if err != nil {
		panic(fmt.Sprintf("%q: %v", text(t, column), err))
	}
	return v
}
