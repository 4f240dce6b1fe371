package checkpoint

import (
	"bytes"
	"encoding/binary"
	"io"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// What a first checkpoint sends is what a start reads: every group, whole, with those left out that have gone; however little is
// read at a time.
func TestFirstBooksAreReadAsTheyWereSent(t *testing.T) {
	var groups counter.Packed
	var want []counter.GroupCell
	for i := range 3000 {
		h := counter.GroupCell{
			Group: counter.Group{Slot: int32(i % 16), Queue: "queue " + string(rune('a'+i%26)), Priority: int16(i / 26), Shard: -1},
			Cell:  counter.NewCell(int64(i), -2),
		}
		for b := range i % 4 {
			h.SetBucket(int16(b*300), int64(i-b))
		}
		if i%7 == 0 {
			h.Cell = counter.Cell{}
		} else {
			want = append(want, h)
		}
		groups.Add(&h)
	}
	next, stop := iter.Pull(groups.Lent())
	defer stop()
	names := make(counter.Interner)
	var r bookRow
	var got []counter.GroupCell
	const part = 700
	for rest := groups.Len(); rest > 0; rest -= part {
		got = append(got, r.sent(t, &bookReader{awaSchema: "awa", next: next, left: part}, names)...)
	}
	require.Equal(t, want, got)
	for _, bad := range [][]byte{nil, {1}, make([]byte, 11)} {
		columns := [][]byte{{0, 0, 0, 1}, []byte("q"), {0, 1}, {0, 1}, make([]byte, 8), make([]byte, 8), make([]byte, 12), bad}
		_, err := r.read(columns, names)
		require.Error(t, err)
	}
}

// sent is what the server would get of a COPY.
func (r *bookRow) sent(t *testing.T, from io.Reader, names counter.Interner) (got []counter.GroupCell) {
	t.Helper()
	var sent bytes.Buffer
	_, err := io.CopyBuffer(&sent, struct{ io.Reader }{from}, make([]byte, 777))
	require.NoError(t, err)
	b := sent.Bytes()[19:]
	for binary.BigEndian.Uint16(b) != 0xffff {
		columns := make([][]byte, binary.BigEndian.Uint16(b))
		b = b[2:]
		for i := range columns {
			n := binary.BigEndian.Uint32(b)
			columns[i], b = b[4:4+n], b[4+n:]
		}
		require.Equal(t, "awa", string(columns[0]))
		h, err := r.read(append(columns[1:6:6], columns[7:]...), names)
		require.NoError(t, err)
		require.Equal(t, h.Counter, int64(binary.BigEndian.Uint64(columns[6])))
		h.Cell = h.Clone()
		got = append(got, h)
	}
	require.Len(t, b, 2)
	return got
}
