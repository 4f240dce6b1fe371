package replication

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Behind a half-open connection nothing ever fails: reports are sent, nobody answers. The server is
// asked for a word after a while, and given up after a longer one.
func TestSilentStreamIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := streaming(t)
		began := time.Now()
		require.ErrorIs(t, r.end(), ErrSilent)
		require.Greater(t, time.Since(began), giveUpAfter-2*statusInterval)
		require.Less(t, time.Since(began), giveUpAfter+2*statusInterval)
		all, said := r.told()
		require.NotContains(t, said, "CopyDone", "nobody is there to hear it")
		for _, s := range all {
			require.Equal(t, s.at.Sub(began) > askAfter-fill, s.asks, "after %s", s.at.Sub(began))
		}
	})
}

// A server may be slow, as long as it says a word when it is asked.
func TestSlowServerIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := streaming(t)
		for range 20 {
			pass(giveUpAfter - 2*statusInterval)
			require.True(t, r.live())
			require.True(t, r.newest(t).asks)
			r.send(t, keepalive(0x2000, false))
			pass(statusInterval + statusInterval/2)
			require.False(t, r.newest(t).asks, "it has just spoken")
		}
	})
}

// While nobody takes what was read, the server hears of us every second, and nothing is lost.
func TestSlowBooksAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := connected(t)
		r := start(t, w, s, 0)
		began := time.Now()
		r.send(t, transactions(0x2000, 2)...)
		pass(fill)
		r.send(t, append(transactions(0x2020, 2), keepalive(0x2100, true))...)
		const stall = 10
		pass(stall * time.Second)
		all, _ := r.told()
		require.GreaterOrEqual(t, len(all), stall)
		for i, s := range all[1:] {
			require.LessOrEqual(t, s.at.Sub(all[i].at), statusInterval+2*fill)
			require.Equal(t, origin, s.flushed)
		}
		r.stream.Acknowledge(0x1800)
		pass(statusInterval)
		require.EqualValues(t, 0x1800, r.newest(t).flushed, "what is stored meanwhile is said")
		require.Equal(t, lsns(0x2010, 0x2020), ends([]Batch{<-r.out}))
		require.Equal(t, lsns(0x2030, 0x2040), ends([]Batch{<-r.out}))
		require.Greater(t, time.Since(began), stall*time.Second)
	})
}
