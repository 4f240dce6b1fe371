package daemon

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A look that is missed says nothing; that none has succeeded for the bound does, whether those that were missed have been answered
// or not, and until one succeeds.
func TestLooksThatAreMissed(t *testing.T) {
	began := time.Unix(1_000_000, 0)
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	l := looks{bound: 2 * time.Second, last: began}
	l.missed(errors.New("locked"))
	require.Empty(t, l.doubt(at(1999)))
	require.Equal(t, "awa's tables could not be looked at for 2s: locked", l.doubt(at(2000)))
	require.Equal(t, at(2000), l.until())
	l.succeeded(at(2100))
	require.Empty(t, l.doubt(at(4000)))
	l.missed(errors.New("locked"))
	l.succeeded(at(3500))
	require.Equal(t, "awa's tables have not been looked at for 2.5s", l.doubt(at(6000)))
}

// A look that waits for a lock in vain, and the one after it, fit into the bound.
func TestLooksFitIntoTheBound(t *testing.T) {
	for _, bound := range []time.Duration{400 * time.Millisecond, 2 * time.Second, time.Minute} {
		wait := longestLookWait(bound)
		require.Positive(t, wait)
		require.Less(t, lookPause(bound)+2*(wait+rowRetryPause), bound)
		require.Less(t, wait, statementTimeout)
	}
}
