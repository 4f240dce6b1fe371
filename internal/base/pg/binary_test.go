package pg

import (
	"math"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"
)

// What is read is what pgx writes, which is what servers do; what is cut short is an error.
func TestBinaryFormatIsPgxs(t *testing.T) {
	m := pgtype.NewMap()
	encoded := func(oid uint32, v any) []byte {
		b, err := m.Encode(oid, pgtype.BinaryFormatCode, v, nil)
		require.NoError(t, err)
		return b
	}
	none, err := Ints([]int64{9}, make([]byte, arrayHead))
	require.NoError(t, err)
	require.Empty(t, none)
	for _, list := range [][]int64{{7}, {-1, 0, math.MaxInt16, math.MinInt16, 300}} {
		small := make([]int16, 0, len(list))
		for _, n := range list {
			small = append(small, int16(n))
		}
		for _, b := range [][]byte{encoded(pgtype.Int8ArrayOID, list), encoded(pgtype.Int2ArrayOID, small)} {
			read, err := Ints([]int64{9}, b)
			require.NoError(t, err)
			require.Equal(t, list, read)
			for cut := range len(b) {
				_, err := Ints(nil, b[:cut])
				require.Error(t, err)
			}
		}
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
