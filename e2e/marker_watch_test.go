package e2e

import (
	"context"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// lies looks for as long as within, and fails when the marker stood over a wrong counter for longer than most.
func (e *env) lies(most, within time.Duration) {
	e.t.Helper()
	var since time.Time
	longest := time.Duration(0)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(within); time.Now().Before(end); <-tick.C {
		set, err := fleet.Trusted(context.Background(), e.pool, e.layout.Schema)
		require.NoError(e.t, err)
		_, wrong, err := fleet.Compare(context.Background(), e.pool, e.layout.Schema)
		require.NoError(e.t, err)
		if !set || len(wrong) == 0 {
			since = time.Time{}
			continue
		}
		if since.IsZero() {
			since = time.Now()
		}
		longest = max(longest, time.Since(since))
	}
	e.t.Logf("the marker stood over a wrong counter for %s", longest)
	require.LessOrEqual(e.t, longest, most, "the marker stands over a wrong counter")
}
