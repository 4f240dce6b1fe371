package checkpoint

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A standby goes by the leader's own bound: it clears the marker when the leader would have, and takes the lead only
// much later, for a lead that changes costs scans.
func TestSilenceIsMeasuredByTheLeadersBound(t *testing.T) {
	for _, c := range []struct{ bound, silent, hung time.Duration }{
		{400 * time.Millisecond, 800 * time.Millisecond, 15 * time.Second},
		{2 * time.Second, 4 * time.Second, 15 * time.Second},
		{3 * time.Second, 6 * time.Second, 15 * time.Second},
		{time.Minute, 2 * time.Minute, 5 * time.Minute},
		{time.Hour, 2 * time.Hour, 5 * time.Hour},
	} {
		l := Leader{Bound: c.bound}
		require.Equal(t, c.silent, l.Silent())
		l.Heartbeat = c.hung - 1
		require.False(t, l.Hung(), c.bound)
		l.Heartbeat = c.hung
		require.True(t, l.Hung(), c.bound)
		require.Less(t, l.Silent(), c.hung, "the marker goes first")
	}
}

// The server's clock was set back: a heartbeat that is yet to come is no sign of life.
func TestHeartbeatsThatAreYetToCome(t *testing.T) {
	l := Leader{Bound: 2 * time.Second, Heartbeat: -time.Second}
	require.True(t, l.Vouches(), "clocks are set by a little all the time")
	require.False(t, l.Hung())
	l.Heartbeat = -2 * time.Second
	require.False(t, l.Vouches())
	require.False(t, l.Hung())
	l.Heartbeat = -15 * time.Second
	require.True(t, l.Hung())
}

// Two schemas, and the two locks of one, must never meet: two daemons would take turns, or a finish would lead.
func TestLocksAreApart(t *testing.T) {
	seen := map[string]bool{}
	for _, schema := range []string{"awa", "awa2", "finish", ""} {
		for _, key := range []string{LockKey(schema), FinishKey(schema)} {
			require.False(t, seen[key], key)
			seen[key] = true
		}
	}
	require.Equal(t, LockKey("awa"), LockKey("")+"awa", "keys are made so in SQL as well")
}

func TestDurationsComeAsFloats(t *testing.T) {
	var d time.Duration
	require.NoError(t, (*nanoseconds)(&d).Scan(1.5e9))
	require.Equal(t, 1500*time.Millisecond, d)
	for _, v := range []any{nil, "1", int64(1)} {
		require.Error(t, (*nanoseconds)(&d).Scan(v))
	}
}
