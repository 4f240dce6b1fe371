package replication

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/internal/testonly/pgoutputtest"
)

// A message may take longer to arrive than silence is borne: a value of 1 GB over a line of 400 Mbit/s takes 20 s. As
// long as bytes come, nobody is silent; given up, the same message would come again, for ever.
func TestLongMessageIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := streaming(t)
		bytes := raw(t, xlog(pgoutputtest.New('M').U8(0).U64(0).Str("somebody else's").U32(64<<10).Raw(strings.Repeat("x", 64<<10))))
		const pieces = 40
		for i := range pieces {
			_, _ = r.Write(bytes[len(bytes)*i/pieces : len(bytes)*(i+1)/pieces])
			pass(giveUpAfter / 20)
			require.True(t, r.live(), "given up after %d of %d pieces", i+1, pieces)
		}
		r.send(t, transactions(0x2000, 1)...)
		require.Equal(t, lsns(0x2010), ends(r.batches()))
	})
}

// While the books are slow nobody reads, so what the server says is not heard. It must not be held against it: its
// answers may be in the socket already when the deadline of the last status passes.
func TestNotListeningIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := connected(t)
		r := start(t, w, s, 0)
		r.send(t, transactions(0x2000, 1)...)
		for range int(giveUpAfter/time.Second) + 5 {
			pass(time.Second)
			r.send(t, keepalive(0x2100, false))
		}
		pass(time.Until(r.newest(t).at.Add(statusInterval - fill/2)))
		require.Equal(t, lsns(0x2010), ends([]Batch{<-r.out}))
		select {
		case b := <-r.out:
			require.Equal(t, Batch{Idle: 0x2100}, b)
		case err := <-r.ended:
			require.NoError(t, err)
		}
	})
}
