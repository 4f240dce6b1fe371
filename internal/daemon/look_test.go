package daemon

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/internal/base/pgsnap"
)

// The catalog is left alone only while nothing but the daemon's own tokens has been committed, and for no longer than wholeEvery.
func TestQuietLooks(t *testing.T) {
	var o lookout
	now := time.Unix(1_000_000, 0)
	snapshot := func(text string) pgsnap.Snapshot {
		s, err := pgsnap.Parse(text)
		require.NoError(t, err)
		return s
	}
	second := func() time.Time { now = now.Add(time.Second); return now }
	first := snapshot("10:10:")
	require.False(t, o.quiet(now, first), "there was no whole look yet")
	o.saw(now, first)
	require.True(t, o.quiet(second(), first))
	o.own.add(10)
	o.own.add(11)
	require.True(t, o.quiet(second(), snapshot("12:12:")))
	require.True(t, o.quiet(second(), snapshot("12:12:")), "it is the last look that counts, not the last whole one")
	require.False(t, o.quiet(second(), snapshot("13:13:")), "somebody else's")
	require.False(t, o.quiet(second(), snapshot("13:13:")), "the whole look has failed")
	o.saw(now, snapshot("13:13:"))
	require.True(t, o.quiet(second(), snapshot("13:13:")))
	o.unsure()
	require.False(t, o.quiet(second(), snapshot("13:13:")))
	o.saw(now, snapshot("13:13:"))
	require.False(t, o.quiet(now.Add(wholeEvery), snapshot("13:13:")), "it is time")
}

// Somebody keeps a lock that whole looks wait for in vain. While nobody commits, quiet ones count; once somebody does, trust ends within
// the bound of that. Where nobody commits it ends as well: a whole look comes all the same, and no quiet one after it was missed.
func TestLockBehindQuietLooks(t *testing.T) {
	const bound = 2 * time.Second
	began := time.Unix(1_000_000, 0)
	watch := func(commits time.Duration) (trust time.Duration) {
		o, l := lookout{}, looks{bound: bound, last: began}
		calm, err := pgsnap.Parse("10:10:")
		require.NoError(t, err)
		later, err := pgsnap.Parse("11:11:")
		require.NoError(t, err)
		o.saw(began, calm)
		for now := began.Add(lookPause(bound)); now.Sub(began) < time.Minute; now = now.Add(lookPause(bound)) {
			if l.doubt(now) != "" {
				return l.until().Sub(began)
			}
			snapshot := calm
			if now.Sub(began) >= commits {
				snapshot = later
			}
			if o.quiet(now, snapshot) {
				l.succeeded(now)
			} else {
				l.missed(errors.New("locked"))
			}
		}
		return time.Minute
	}
	for _, commits := range []time.Duration{lookPause(bound), 1500 * time.Millisecond, 4 * time.Second} {
		trust := watch(commits)
		require.Greater(t, trust, commits)
		require.LessOrEqual(t, trust, commits+bound)
	}
	nobody := watch(time.Hour)
	require.Greater(t, nobody, wholeEvery)
	require.LessOrEqual(t, nobody, wholeEvery+bound)
}

// Of tokens there are more than are remembered.
func TestOwnTokens(t *testing.T) {
	var o ownTokens
	require.False(t, o.has(1))
	for xid := uint64(1); xid <= 100; xid++ {
		o.add(xid)
		require.True(t, o.has(xid))
	}
	require.False(t, o.has(36))
	require.True(t, o.has(37))
}
