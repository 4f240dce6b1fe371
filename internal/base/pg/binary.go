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
