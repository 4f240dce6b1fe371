package decoder

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// message builds pgoutput messages for tests.
type message struct{ b []byte }

func msg(kind byte) *message { return &message{b: []byte{kind}} }

func (m *message) u8(v byte) *message { m.b = append(m.b, v); return m }

func (m *message) u16(v uint16) *message { m.b = binary.BigEndian.AppendUint16(m.b, v); return m }

func (m *message) u32(v uint32) *message { m.b = binary.BigEndian.AppendUint32(m.b, v); return m }

func (m *message) u64(v uint64) *message { m.b = binary.BigEndian.AppendUint64(m.b, v); return m }

func (m *message) str(s string) *message { m.b = append(append(m.b, s...), 0); return m }

// tuple appends columns: nil is null, "\x00u" is an unchanged TOAST value.
func (m *message) tuple(columns ...any) *message {
	m.u16(uint16(len(columns)))
	for _, c := range columns {
		switch c {
		case nil:
			m.u8('n')
		case unchanged:
			m.u8('u')
		default:
			s := fmt.Sprint(c)
			m.u8('t').u32(uint32(len(s)))
			m.b = append(m.b, s...)
		}
	}
	return m
}

type toast struct{}

var unchanged = toast{}

const (
	leafOID     = 100 // slot 3
	counterOID  = 200
	ringOID     = 300
	rollupOID   = 400
	strangerOID = 500
)

var leafColumns = []string{"ready_slot", "kind", "queue", "priority", "lane_seq", "enqueue_shard", "payload"}

func begin(xid uint32) []byte {
	return msg('B').u64(90).u64(0).u32(xid).b
}

func commit(end uint64) []byte { return msg('C').u8(0).u64(end - 5).u64(end).u64(1_000_000).b }

func relationOf(prefix *message, oid uint32, name string, columns ...string) []byte {
	m := prefix.u32(oid).str("awa").str(name).u8('d').u16(uint16(len(columns)))
	for _, c := range columns {
		m.u8(0).str(c).u32(25).u32(0xffffffff)
	}
	return m.b
}

func describeAll() [][]byte {
	return [][]byte{
		relationOf(msg('R'), leafOID, "done_entries_3", leafColumns...),
		relationOf(msg('R'), counterOID, "counters", "ready_slot", "queue", "priority", "enqueue_shard", "live"),
		relationOf(msg('R'), ringOID, "ring", "singleton", "trusted"),
		relationOf(msg('R'), rollupOID, "rollups", "queue", "priority", "pruned"),
		relationOf(msg('R'), strangerOID, "stranger", "x"),
	}
}

// testCatalog knows the relations above by their columns.
type testCatalog struct{}

func (testCatalog) Table(oid uint32, _, _ string, columns []string) (Table, error) {
	at := func(name string) int { return slices.Index(columns, name) }
	t := Table{Slot: -1, Queue: at("queue"), Priority: at("priority"), Shard: at("enqueue_shard"), Value: -1}
	switch oid {
	case leafOID:
		t.Kind, t.LeafSlot = Rows, 3
	case counterOID:
		t.Kind, t.Slot, t.Value = Counters, at("ready_slot"), at("live")
	case ringOID:
		t.Kind, t.Value = Ring, at("trusted")
	case rollupOID:
		t.Kind, t.Value = Rollups, at("pruned")
	default:
		t.Kind = Ignored
	}
	return t, nil
}

const prefix = "awa-counterd"

func newTestDecoder() *Decoder { return New(testCatalog{}, prefix) }

func row(queue any, priority, shard int) []any {
	return []any{3, "job", queue, priority, 77, shard, "{}"}
}

// keyOnly is a row as a DELETE carries it under the default replica identity.
func keyOnly(queue string, priority, shard int) []any {
	return []any{3, nil, queue, priority, 77, shard, nil}
}

var pgEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
