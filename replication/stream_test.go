package replication

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"
)

// pipe is a Stream whose server is the other end.
func pipe(t *testing.T) (*Stream, net.Conn) {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = ours.Close(); _ = theirs.Close() })
	return &Stream{wire: newCoalesce(ours), net: ours, front: pgproto3.NewFrontend(ours, ours), slot: "s"}, theirs
}

// Behind a half-open connection nothing ever fails: reports are sent, nobody answers. The server is
// asked for a word after a while, and given up after a longer one.
func TestSilentStreamIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, server := pipe(t)
		asked := make(chan struct{}, 64)
		go func() {
			buf := make([]byte, 64)
			for {
				n, err := server.Read(buf)
				if err != nil {
					return
				}
				if buf[n-1] == 1 {
					asked <- struct{}{}
				}
			}
		}()
		began := time.Now()
		err := s.Run(t.Context(), make(chan Batch))
		require.ErrorIs(t, err, ErrSilent)
		require.Less(t, time.Since(began), giveUpAfter+2*statusInterval)
		require.NotEmpty(t, asked)
	})
}
