package applier

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A drift is over when readers can see that it is, not when the books balance.
func TestSettledMeansSeen(t *testing.T) {
	now := time.Unix(1000, 0)
	at := func(s int) time.Time { return now.Add(time.Duration(s) * time.Second) }
	var a staleness
	a.noteDrift(clocks{server: at(0), local: at(0)})
	a.flushing(at(1), clocks{})
	a.flushed(true)
	require.Equal(t, 2*time.Second, a.oldest(at(2), at(2)))
	a.confirm(at(1), time.Time{})
	require.NotZero(t, a.oldest(at(2), at(2)), "looked no later than the plan")
	a.confirm(at(2), at(1))
	require.NotZero(t, a.oldest(at(3), at(3)), "something from then is not visible yet")
	a.confirm(at(3), at(2))
	require.Zero(t, a.oldest(at(3), at(3)))
}

// When a clock has jumped, the age is the larger one of both clocks.
func TestAgeSurvivesClockJumps(t *testing.T) {
	now := time.Unix(10_000, 0)
	var a staleness
	a.noteDrift(clocks{server: now, local: now})
	a.noteDrift(clocks{server: now.Add(-time.Hour), local: now.Add(3 * time.Second)}) // the server's clock went back
	require.Equal(t, 4*time.Second, a.oldest(now.Add(4*time.Second), now.Add(4*time.Second-time.Hour)))
	require.GreaterOrEqual(t, a.oldest(now.Add(4*time.Second), now.Add(-2*time.Hour)), 4*time.Second, "by the daemon's own clock")
}
