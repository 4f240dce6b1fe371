package decoder

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Rolling back one savepoint must not cost what all the others do: a bulk transaction may have a hundred
// thousand that stay and as many that do not.
func TestManySavepoints(t *testing.T) {
	const n = 100_000
	d := newTestDecoder()
	feedTo(t, d, describeAll()...)
	insert := func(xid uint32, queue string) []byte {
		return msg('I').U32(xid).U32(leafOID).U8('N').Tuple(row(queue, 1, 0)...).B
	}
	feedTo(t, d, msg('S').U32(10).U8(1).B)
	for i := range uint32(n) {
		feedTo(t, d, insert(100+2*i, "kept"), insert(101+2*i, "undone"))
	}
	feedTo(t, d, msg('E').B)
	began := time.Now()
	for i := range uint32(n) {
		feedTo(t, d, msg('A').U32(10).U32(101+2*i).B)
	}
	require.Less(t, time.Since(began), 3*time.Second)
	require.LessOrEqual(t, len(d.streams[10].parts), 2*n*3/4, "what was rolled back is given back")
	feedTo(t, d, msg('S').U32(10).U8(0).B, insert(100, "kept"), msg('E').B)
	txs := feedTo(t, d, msg('A').U32(10).U32(100).B, msg('c').U32(10).U8(0).U64(295).U64(300).U64(0).B)
	require.Equal(t, []Change{{group("kept", 1, 0), n - 1}}, txs[0].Effect.Rows)
}
