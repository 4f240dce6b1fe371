package replication

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"
)

// TCP cuts where it likes, and the deadline of a read may pass anywhere in a message.
func TestMessagesInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := streaming(t)
		at := pglogrepl.LSN(0x2000)
		whole := len(raw(t, transactions(at, 1)...))
		for cut := 1; cut < whole; cut++ {
			bytes := raw(t, transactions(at, 1)...)
			_, _ = r.Write(bytes[:cut])
			require.Empty(t, r.batches())
			pass(statusInterval + statusInterval/2)
			require.True(t, r.live())
			_, _ = r.Write(bytes[cut:])
			require.Equal(t, []pglogrepl.LSN{at + 0x10}, ends(r.batches()), "cut at %d of %d", cut, whole)
			at += 0x10
		}
		for _, b := range raw(t, transactions(at, 1)...) { // byte by byte
			_, _ = r.Write([]byte{b})
		}
		pass(time.Second)
		require.Equal(t, []pglogrepl.LSN{at + 0x10}, ends(r.batches()))
	})
}

// One read may hold thousands of messages. They are handed over in order, none lost, none twice, and never so many at
// once that the books fall behind what is read.
func TestManyMessagesInOneRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := streaming(t)
		const n = 2*batchSize + 88
		bytes := raw(t, transactions(0x2000, n)...)
		require.Greater(t, len(bytes), 2*8192, "more than the parser takes at once")
		require.Less(t, len(bytes), readSize)
		_, _ = r.Write(bytes)
		got := r.batches()
		var want []pglogrepl.LSN
		for i := range n {
			want = append(want, 0x2000+0x10*pglogrepl.LSN(i+1))
		}
		require.Equal(t, want, ends(got))
		require.Len(t, got, 3)
		require.Len(t, got[0].Txs, batchSize)
		require.Len(t, got[2].Txs, 88)
	})
}

// What the client waits for, it gets all at once: a socket that holds little is given a moment to fill.
func TestSmallReadsAreCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { _ = ours.Close(); _ = theirs.Close() })
		g := newCoalesce(ours)
		g.start(0)
		go func() { _, _ = theirs.Write(make([]byte, 100)) }()
		buf := make([]byte, 10)
		began := time.Now()
		for i := range 10 {
			n, err := g.Read(buf)
			require.NoError(t, err)
			require.Equal(t, 10, n)
			require.Equal(t, 90-10*i, g.buffered())
		}
		require.Zero(t, time.Since(began), "the first read is not put off, nor what it brought")
		go func() { _, _ = theirs.Write(make([]byte, 10)) }()
		_, err := g.Read(buf)
		require.NoError(t, err)
		require.Equal(t, fill, time.Since(began))
	})
}
