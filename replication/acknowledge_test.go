package replication

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"
)

// The stream by itself acknowledges nothing: what was read is not what is stored.
func TestOnlyWhatIsSaidIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := streaming(t)
		r.send(t, append(transactions(0x2000, 3), keepalive(0x2040, true))...)
		r.settle()
		pass(2 * statusInterval)
		require.Equal(t, origin, r.newest(t).flushed)
		r.stream.Acknowledge(0x2020)
		pass(statusInterval)
		got := r.newest(t)
		require.Equal(t, status{got.at, 0x2020, 0x2020, 0x2020, false}, got)
		r.stream.Acknowledge(0x2010) // a late word
		pass(statusInterval)
		require.Equal(t, pglogrepl.LSN(0x2020), r.newest(t).flushed)
	})
}

// Whatever the caller says, nothing past what the server is known to have reaches it. The positions in the header of
// a message are none: a relation's are 0, and these here are beyond all WAL.
func TestNothingPastTheEndIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := streaming(t)
		r.send(t, transactions(0x2000, 1)...)
		r.settle()
		r.stream.Acknowledge(walEnd << 4)
		pass(statusInterval)
		require.Equal(t, walEnd, r.newest(t).flushed)
		r.send(t, keepalive(walEnd+0x10, true))
		r.settle()
		require.Equal(t, walEnd+0x10, r.newest(t).flushed, "it has gone on")
	})
}

// Under any traffic, statuses never run back, and never ahead of what was handed over and stored.
func TestStatusesFollowWhatWasHandedOver(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 1))
				r := streaming(t)
				at, stored := pglogrepl.LSN(0x2000), origin
				open := false
				var allowed []pglogrepl.LSN // the most that the i-th status may say
				for range 120 {
					var some []pgproto3.BackendMessage
					for range 1 + random.IntN(6) {
						at += pglogrepl.LSN(1 + random.IntN(0x80))
						switch k := random.IntN(4); {
						case k == 0:
							some = append(some, keepalive(at, random.IntN(2) == 0))
						case open:
							some, open = append(some, commit(at)), false
						default:
							some, open = append(some, begin(uint32(700))), true
						}
					}
					r.send(t, some...)
					if random.IntN(3) == 0 {
						pass(time.Duration(random.Int64N(int64(3 * statusInterval))))
					}
					got := r.batches()
					said, _ := r.told()
					for len(allowed) < len(said) {
						allowed = append(allowed, stored)
					}
					for _, b := range got {
						end := b.Idle
						if n := len(b.Txs); end == 0 {
							end = b.Txs[n-1].End
						}
						require.Greater(t, end, stored)
						if random.IntN(4) > 0 {
							r.stream.Acknowledge(end)
							stored = end
						}
					}
				}
				pass(statusInterval)
				said, _ := r.told()
				last := origin
				for i, s := range said {
					require.GreaterOrEqual(t, s.flushed, last)
					if i < len(allowed) {
						require.LessOrEqual(t, s.flushed, allowed[i])
					}
					last = s.flushed
				}
				require.Equal(t, stored, last, "what is stored is said in the end")
			})
		})
	}
}
