package replication

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/internal/testonly/pgoutputtest"
)

func lsns(of ...pglogrepl.LSN) []pglogrepl.LSN { return of }

// A keepalive between two transactions says that nothing before it is missing: an idle queue moves on by it. It counts
// only where it stood, after the transactions that came before it.
func TestKeepaliveBetweenTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := streaming(t)
		r.send(t, keepalive(0x2000, false))
		require.Equal(t, []Batch{{Idle: 0x2000}}, r.batches())

		r.send(t, append(transactions(0x2000, 1), keepalive(0x2020, false))...)
		got := r.batches()
		require.Equal(t, lsns(0x2010), ends(got))
		require.Equal(t, pglogrepl.LSN(0x2020), got[0].Idle)

		r.send(t, append([]pgproto3.BackendMessage{keepalive(0x2030, false)}, transactions(0x2030, 1)...)...)
		got = r.batches()
		require.Equal(t, lsns(0x2040), ends(got))
		require.Zero(t, got[0].Idle, "it stood before the transaction")
	})
}

// A keepalive inside a transaction is past rows that were read and not handed over. Taken for a position it would be
// acknowledged, and a crash would lose the transaction.
func TestKeepaliveInsideATransaction(t *testing.T) {
	parts := map[string]struct{ before, after []pgproto3.BackendMessage }{
		"plain": {[]pgproto3.BackendMessage{begin(700)}, []pgproto3.BackendMessage{commit(0x2010)}},
		"a stretch of one that is streamed": {
			[]pgproto3.BackendMessage{xlog(pgoutputtest.New('S').U32(700).U8(1))},
			[]pgproto3.BackendMessage{xlog(pgoutputtest.New('E')), xlog(pgoutputtest.New('c').U32(700).U8(0).U64(0x2008).U64(0x2010).U64(0))},
		},
	}
	for name, part := range parts {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := streaming(t)
				r.send(t, part.before...)
				for range 3 {
					r.send(t, keepalive(0x3000, true))
					require.Empty(t, r.batches())
					pass(statusInterval)
				}
				require.Equal(t, origin, r.newest(t).flushed)
				r.send(t, part.after...)
				got := r.batches()
				require.Equal(t, lsns(0x2010), ends(got))
				require.Zero(t, got[0].Idle)
				r.send(t, keepalive(0x3000, false))
				require.Equal(t, []Batch{{Idle: 0x3000}}, r.batches())
			})
		})
	}
}

// Between two stretches of a streamed transaction, a keepalive is as good as any: the server sends all of it again
// as long as its commit is not acknowledged.
func TestKeepaliveBetweenStretches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := streaming(t)
		r.send(t, xlog(pgoutputtest.New('S').U32(700).U8(1)), xlog(pgoutputtest.New('E')), keepalive(0x3000, false))
		require.Equal(t, []Batch{{Idle: 0x3000}}, r.batches())
	})
}

// The server asks when it is about to give up on us, and before it shuts down. The answer says what was
// acknowledged, which is never what the question says.
func TestAnswersAtOnceWhenAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := streaming(t)
		inside := func() {
			pass(statusInterval / 3)
			before, _ := r.told()
			sent := time.Now()
			r.send(t, keepalive(0x4000, false))
			r.settle()
			unasked, _ := r.told()
			require.Len(t, unasked, len(before), "nobody asked")
			sent = sent.Add(2 * fill)
			r.send(t, keepalive(0x4000, true))
			r.settle()
			answered, _ := r.told()
			require.Len(t, answered, len(before)+1)
			answer := answered[len(before)]
			require.LessOrEqual(t, answer.at.Sub(sent), 2*fill)
			require.Equal(t, status{answer.at, 0x1000, 0x1000, 0x1000, false}, answer)
		}
		inside()
		r.send(t, begin(700))
		inside()
	})
}

// Without a question there is a status a second, whether the server talks or not, and no more.
func TestStatusEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := streaming(t)
		for i := range 100 {
			r.send(t, keepalive(0x4000+pglogrepl.LSN(i), false))
			pass(statusInterval / 20)
		}
		all, _ := r.told()
		require.GreaterOrEqual(t, len(all), 5)
		require.LessOrEqual(t, len(all), 7)
		r.send(t, keepalive(0x5000, false))
		pass(4 * statusInterval)
		more, _ := r.told()
		require.GreaterOrEqual(t, len(more)-len(all), 4)
		require.LessOrEqual(t, len(more)-len(all), 5)
	})
}
