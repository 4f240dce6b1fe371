package pgoutputtest

import (
	"encoding/binary"
	"fmt"
)

// Message is one message under construction.
type Message struct{ B []byte }

// New begins a message of a kind.
func New(kind byte) *Message { return &Message{B: []byte{kind}} }

// U8 appends a byte.
func (m *Message) U8(v byte) *Message { m.B = append(m.B, v); return m }

// U16 appends two bytes, in network order like the others.
func (m *Message) U16(v uint16) *Message { m.B = binary.BigEndian.AppendUint16(m.B, v); return m }

// U32 appends four bytes.
func (m *Message) U32(v uint32) *Message { m.B = binary.BigEndian.AppendUint32(m.B, v); return m }

// U64 appends eight bytes.
func (m *Message) U64(v uint64) *Message { m.B = binary.BigEndian.AppendUint64(m.B, v); return m }

// Str appends a zero-terminated string.
func (m *Message) Str(s string) *Message { m.B = append(append(m.B, s...), 0); return m }

// Raw appends bytes as they are.
func (m *Message) Raw(s string) *Message { m.B = append(m.B, s...); return m }

type toast struct{}

// Unchanged stands for a TOAST value that an UPDATE left alone.
var Unchanged any = toast{} //nolint:gochecknoglobals // a constant in all but syntax

// Tuple appends columns in text format; nil is null.
func (m *Message) Tuple(columns ...any) *Message {
	m.U16(uint16(len(columns))) //nolint:gosec // a table has at most 1600
	for _, c := range columns {
		switch c {
		case nil:
			m.U8('n')
		case Unchanged:
			m.U8('u')
		default:
			s := fmt.Sprint(c)
			m.U8('t').U32(uint32(len(s))).Raw(s) //nolint:gosec // short
		}
	}
	return m
}

// Relation describes a table with default replica identity.
func (m *Message) Relation(oid uint32, namespace, name string, columns ...string) *Message {
	m.U32(oid).Str(namespace).Str(name).U8('d').U16(uint16(len(columns))) //nolint:gosec // see Tuple
	for _, c := range columns {
		m.U8(1).Str(c).U32(25).U32(0xffffffff)
	}
	return m
}
