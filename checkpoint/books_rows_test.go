package checkpoint

import (
	"testing"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// A start reads every group as a server sends it, whole; what is no group ends it.
func TestBooksAreReadAsTheyAreSent(t *testing.T) {
	m := pgtype.NewMap()
	sent := func(oid uint32, v any) []byte {
		b, err := m.Encode(oid, pgtype.BinaryFormatCode, v, nil)
		require.NoError(t, err)
		return b
	}
	row := func(h *counter.GroupCell) [][]byte {
		ids, counts := make([]int16, 0, 4), make([]int64, 0, 4)
		for _, b := range h.Buckets() {
			ids, counts = append(ids, b.ID), append(counts, b.Value)
		}
		return [][]byte{
			sent(pgtype.Int4OID, h.Slot), sent(pgtype.TextOID, h.Queue), sent(pgtype.Int2OID, h.Priority), sent(pgtype.Int2OID, h.Shard),
			sent(pgtype.Int8OID, h.Rows), sent(pgtype.Int8OID, h.Pending), sent(pgtype.Int2ArrayOID, ids), sent(pgtype.Int8ArrayOID, counts),
		}
	}
	names := make(counter.Interner)
	var r bookRow
	for i := range 300 {
		h := counter.GroupCell{
			Group: counter.Group{Slot: int32(i % 16), Queue: "queue " + string(rune('a'+i%26)), Priority: int16(i / 26), Shard: -1},
			Cell:  counter.NewCell(int64(i), -2),
		}
		for b := range i % 4 {
			h.SetBucket(int16(b*300), int64(i-b))
		}
		got, err := r.read(row(&h), names)
		require.NoError(t, err)
		require.Equal(t, h.Group, got.Group)
		require.True(t, h.Equal(&got.Cell), "%+v is read as %+v", h, got)
	}
	for _, bad := range [][]byte{nil, {1}, make([]byte, 11)} {
		columns := [][]byte{{0, 0, 0, 1}, []byte("q"), {0, 1}, {0, 1}, make([]byte, 8), make([]byte, 8), make([]byte, 12), bad}
		_, err := r.read(columns, names)
		require.Error(t, err)
	}
}
