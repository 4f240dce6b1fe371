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
	return &Stream{wire: newGather(ours), net: ours, front: pgproto3.NewFrontend(ours, ours), slot: "s"}, theirs
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

// Only a publication that is skipped makes a slot useless; and that is understood in any language.
func TestWarningsOfTheStream(t *testing.T) {
	warning := func(change func(*pgproto3.NoticeResponse)) *pgproto3.NoticeResponse {
		m := &pgproto3.NoticeResponse{Severity: "WARNUNG", SeverityUnlocalized: "WARNING", Code: "55000", Message: "\"p\" wird ausgelassen", Routine: "LoadPublications"}
		change(m)
		return m
	}
	require.True(t, skips(warning(func(*pgproto3.NoticeResponse) {})))
	require.True(t, skips(warning(func(m *pgproto3.NoticeResponse) { m.Code, m.Message = "01000", `skipped loading publication "p"` })))
	require.False(t, skips(warning(func(m *pgproto3.NoticeResponse) { m.SeverityUnlocalized = "NOTICE" })))
	require.False(t, skips(warning(func(m *pgproto3.NoticeResponse) {
		m.Message, m.Routine = `replication slot "publication" specified in parameter "synchronized_standby_slots" does not have active_pid`, "StandbySlotsHaveCaughtup"
	})))
}
