package replication

import (
	"context"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/testonly/pgoutputtest"
)

// costs says what an end of a stream costs: a replication slot that is of no use any more, or a session.
func costs(t *testing.T, err error, unreadable, server bool) {
	t.Helper()
	require.ErrorContains(t, err, "slot s")
	if unreadable {
		require.ErrorIs(t, err, ErrUnreadable)
	} else {
		require.NotErrorIs(t, err, ErrUnreadable)
	}
	if server {
		require.ErrorIs(t, err, ErrStream)
	} else {
		require.NotErrorIs(t, err, ErrStream)
	}
	require.NotErrorIs(t, err, ErrSilent)
}

// An error in the middle of the stream is the server's word: what it is called decides whether the replication slot can be read
// again.
func TestServerFailsInTheMiddle(t *testing.T) {
	for code, unusable := range map[string]bool{
		"55000": true,  // the replication slot was invalidated
		"42704": true,  // WAL without its publication
		"XX000": true,  // the server cannot decode it
		"57P01": false, // the server shuts down, or somebody ended the backend
		"53200": false, // out of memory
	} {
		t.Run(code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := streaming(t)
				r.send(t, transactions(0x2000, 1)...)
				require.Equal(t, lsns(0x2010), ends(r.batches()))
				r.send(t, begin(701), &pgproto3.ErrorResponse{Severity: "ERROR", Code: code, Message: "no more of this", Detail: "d"}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
				err := r.end()
				costs(t, err, false, true)
				require.Equal(t, unusable, pg.IsSlotUnusable(err))
				require.ErrorContains(t, err, "no more of this")
				require.Empty(t, r.batches())
			})
		})
	}
}

// A walsender that ends the copy by itself has nothing more to say, but stays on the line.
func TestServerEndsTheCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := streaming(t)
		began := time.Now()
		r.send(t, &pgproto3.CopyDone{}, &pgproto3.CommandComplete{CommandTag: []byte("COPY 0")}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
		costs(t, r.end(), false, false)
		require.Less(t, time.Since(began), statusInterval)
	})
}

// A connection that goes, before a message or inside of one, costs a session and no more.
func TestConnectionGoes(t *testing.T) {
	for name, rest := range map[string]int{"between two messages": 0, "inside a message": 7} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := streaming(t)
				_, _ = r.Write(raw(t, begin(700))[:rest])
				r.settle()
				require.NoError(t, r.conn.Close())
				err := r.end()
				costs(t, err, false, false)
				require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			})
		})
	}
}

func TestConnectionIsReset(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	ours, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	theirs, err := l.Accept()
	require.NoError(t, err)
	w := newWalsender(t, theirs)
	r := start(t, w, open(t, ours), 16)
	r.send(t, transactions(0x2000, 1)...)
	require.Equal(t, lsns(0x2010), ends([]Batch{<-r.out}))
	require.NoError(t, theirs.(*net.TCPConn).SetLinger(0)) // a reset, in place of the end of the copy
	require.NoError(t, theirs.Close())
	err = r.end()
	costs(t, err, false, false)
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func TestWhatCannotBeUnderstood(t *testing.T) {
	for name, m := range map[string]pgproto3.BackendMessage{
		"a message of no known type":        xlog(pgoutputtest.New('?')),
		"a commit without its begin":        commit(0x2000),
		"a begin that is cut short":         xlog(pgoutputtest.New('B').U32(1)),
		"a row of a table never spoken of":  xlog(pgoutputtest.New('I').U32(99).Raw("N").Tuple("a")),
		"a stretch of an unknown beginning": xlog(pgoutputtest.New('S').U32(700).U8(0)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := streaming(t)
				if name == "a row of a table never spoken of" {
					r.send(t, begin(700))
				}
				r.send(t, m)
				costs(t, r.end(), true, false)
			})
		})
	}
	for name, m := range map[string]pgproto3.BackendMessage{
		"nothing in it":        &pgproto3.CopyData{},
		"less than its header": copyData('w', origin),
		"half a keepalive":     copyData('k', origin),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := streaming(t)
				r.send(t, m)
				costs(t, r.end(), false, false)
			})
		})
	}
}

// PostgreSQL 18 warns of a publication that was not there, and leaves its changes out. Other notices are only that.
func TestPublicationSkippedIsNoNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := streaming(t)
		r.send(t, &pgproto3.NoticeResponse{Severity: "WARNING", SeverityUnlocalized: "WARNING", Code: "01000", Message: "something else"},
			&pgproto3.NoticeResponse{Severity: "LOG", SeverityUnlocalized: "LOG", Code: "55000", Message: "publication p"},
			&pgproto3.ParameterStatus{Name: "is_superuser", Value: "off"})
		r.send(t, transactions(0x2000, 1)...)
		require.Equal(t, lsns(0x2010), ends(r.batches()))
		r.send(t, &pgproto3.NoticeResponse{Severity: "WARNING", SeverityUnlocalized: "WARNING", Code: "55000", Message: `skipped loading publication "p"`})
		require.ErrorIs(t, r.end(), ErrPublicationSkipped)
	})
}

// A stop says what is stored by then, and gives the replication slot back in good order: whoever comes next must not find it in use.
func TestFarewell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := streaming(t)
		r.send(t, transactions(0x2000, 1)...)
		r.settle()
		r.stream.Acknowledge(0x2010)
		began := time.Now()
		r.stop()
		require.ErrorIs(t, r.end(), context.Canceled)
		synctest.Wait()
		require.LessOrEqual(t, time.Since(began), 2*fill)
		all, said := r.told()
		require.Equal(t, []string{"r", "CopyDone", "Terminate"}, said[len(said)-3:])
		require.EqualValues(t, 0x2010, all[len(all)-1].flushed)
	})
}

// What the server had under way when we stop is not read any more, nor waited for.
func TestFarewellInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := connected(t)
		r := start(t, w, s, 0) // nobody takes a batch
		r.send(t, transactions(0x2000, 1)...)
		r.send(t, transactions(0x2010, 40)...)
		_, _ = r.Write(raw(t, begin(700))[:9])
		pass(3 * statusInterval)
		_, _ = r.Write(raw(t, begin(700))[9:])
		r.stop()
		require.ErrorIs(t, r.end(), context.Canceled)
		synctest.Wait()
		all, said := r.told()
		require.Equal(t, []string{"r", "CopyDone", "Terminate"}, said[len(said)-3:])
		require.Equal(t, origin, all[len(all)-1].flushed)
	})
}

// A server that does not answer the end of the copy holds nobody up for long.
func TestFarewellIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := streaming(t)
		r.rude = true
		began := time.Now()
		r.stop()
		require.ErrorIs(t, r.end(), context.Canceled)
		require.LessOrEqual(t, time.Since(began), 2*time.Second)
	})
}
