package pg

import (
	"math"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"
)

// What is written here is what pgx writes, which is what servers take; and what is read is what was written.
func TestBinaryFormatIsPgxs(t *testing.T) {
	m := pgtype.NewMap()
	encoded := func(oid uint32, v any) []byte {
		b, err := m.Encode(oid, pgtype.BinaryFormatCode, v, nil)
		require.NoError(t, err)
		return b
	}
	for _, list := range [][]int64{{}, {7}, {-1, 0, math.MaxInt16, math.MinInt16, 300}} {
		var c CopyRows
		c.Int8s(len(list))
		small := make([]int16, 0, len(list))
		for _, n := range list {
			c.Int8(n)
			small = append(small, int16(n))
		}
		if len(list) > 0 { // pgx writes one dimension of no elements, which servers take for none
			require.Equal(t, encoded(pgtype.Int8ArrayOID, list), c.Bytes[4:])
		}
		require.Len(t, c.Bytes[4:], int(c.Bytes[3]))
		read, err := Ints([]int64{9}, c.Bytes[4:])
		require.NoError(t, err)
		require.Equal(t, list, read)
		for cut := range len(c.Bytes) - 4 {
			_, err := Ints(nil, c.Bytes[4:4+cut])
			require.Error(t, err)
		}

		c = CopyRows{}
		c.Int2s(len(list))
		for _, n := range small {
			c.Int2(n)
		}
		if len(list) > 0 {
			require.Equal(t, encoded(pgtype.Int2ArrayOID, small), c.Bytes[4:])
		}
		read, err = Ints(nil, c.Bytes[4:])
		require.NoError(t, err)
		require.Len(t, read, len(list))
	}
	for _, n := range []int64{0, -1, math.MinInt16, math.MaxInt16} {
		for oid, v := range map[uint32]any{pgtype.Int2OID: int16(n), pgtype.Int4OID: int32(n), pgtype.Int8OID: n} {
			read, ok := Int(encoded(oid, v))
			require.True(t, ok)
			require.Equal(t, n, read)
		}
	}
	_, ok := Int([]byte("123"))
	require.False(t, ok, "text is no number")
}
