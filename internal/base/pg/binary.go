package pg

import (
	"encoding/binary"
	"errors"
)

// The binary format of what there are millions of: pgx's way of a value takes an allocation or two, and as long as all else together.

// Int reads a number; false when it is none.
func Int(b []byte) (int64, bool) {
	switch len(b) {
	case 2:
		return int64(int16(binary.BigEndian.Uint16(b))), true //nolint:gosec // as it was sent
	case 4:
		return int64(int32(binary.BigEndian.Uint32(b))), true //nolint:gosec // the same
	case 8:
		return int64(binary.BigEndian.Uint64(b)), true //nolint:gosec // the same
	}
	return 0, false
}

var errArray = errors.New("this is no array of numbers in the binary format")

const arrayHead = 12 // dimensions, whether there are nulls, type of the elements

// Ints reads an array of numbers into one that may be there already.
func Ints(into []int64, b []byte) ([]int64, error) {
	into = into[:0]
	if len(b) < arrayHead {
		return into, errArray
	}
	dimensions := binary.BigEndian.Uint32(b)
	if b = b[arrayHead:]; dimensions == 0 {
		return into, nil
	}
	if dimensions != 1 || len(b) < 8 {
		return into, errArray
	}
	n := binary.BigEndian.Uint32(b)
	b = b[8:] // its length, and the number of the first
	for range n {
		if len(b) < 4 {
			return into, errArray
		}
		size := binary.BigEndian.Uint32(b)
		if b = b[4:]; uint64(len(b)) < uint64(size) {
			return into, errArray
		}
		v, ok := Int(b[:size])
		if !ok {
			return into, errArray
		}
		into = append(into, v)
		b = b[size:]
	}
	return into, nil
}

// The types of numbers.
const (
	ofInt2 = 21
	ofInt8 = 20
)

// CopyRows writes rows in the binary format of COPY.
type CopyRows struct{ Bytes []byte }

// Begin begins the whole.
func (c *CopyRows) Begin() {
	c.Bytes = append(c.Bytes, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
}

// End ends it.
func (c *CopyRows) End() { c.Bytes = append(c.Bytes, 0xff, 0xff) }

// Row begins a row.
func (c *CopyRows) Row(columns uint16) { c.Bytes = binary.BigEndian.AppendUint16(c.Bytes, columns) }

// Text is a column.
func (c *CopyRows) Text(s string) {
	c.Bytes = append(binary.BigEndian.AppendUint32(c.Bytes, uint32(len(s))), s...) //nolint:gosec // a name
}

// Int2 is a column, or the element of an array.
func (c *CopyRows) Int2(n int16) {
	c.Bytes = binary.BigEndian.AppendUint16(append(c.Bytes, 0, 0, 0, 2), uint16(n)) //nolint:gosec // bits
}

// Int4 is a column.
func (c *CopyRows) Int4(n int32) {
	c.Bytes = binary.BigEndian.AppendUint32(append(c.Bytes, 0, 0, 0, 4), uint32(n)) //nolint:gosec // bits
}

// Int8 is a column, or the element of an array.
func (c *CopyRows) Int8(n int64) {
	c.Bytes = binary.BigEndian.AppendUint64(append(c.Bytes, 0, 0, 0, 8), uint64(n)) //nolint:gosec // bits
}

// Int2s begins a column that is an array of n; its elements follow.
func (c *CopyRows) Int2s(n int) { c.array(n, ofInt2, 2) }

// Int8s begins a column that is an array of n; its elements follow.
func (c *CopyRows) Int8s(n int) { c.array(n, ofInt8, 8) }

func (c *CopyRows) array(n int, of, size uint32) {
	words := []uint32{arrayHead, 0, 0, of}
	if n > 0 {
		words = []uint32{arrayHead + 8 + uint32(n)*(4+size), 1, 0, of, uint32(n), 1} //nolint:gosec // few
	}
	for _, w := range words {
		c.Bytes = binary.BigEndian.AppendUint32(c.Bytes, w)
	}
}
