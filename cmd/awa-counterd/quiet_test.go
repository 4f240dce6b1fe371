package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// What passes by itself, a daemon that does not answer at once, or has yet to trust the counters again, is waited for, and then said as it is;
// an old binary's write is not. A drift is the answer: that is moved.
func TestQuietWaitsForWhatPasses(t *testing.T) {
	type answer struct {
		reason string
		ends   ending
	}
	for name, c := range map[string]struct {
		answers []answer // the last one for good
		within  time.Duration
		drift   string
		want    string
	}{
		"nothing":      {[]answer{{}}, 0, "", ""},
		"not at once":  {[]answer{{"the figures are 5.0 s old", byItself}, {"the figures are 10 s old", byItself}, {}}, time.Second, "", ""},
		"never":        {[]answer{{"wait until the counters can be trusted: the stream is 3s behind", byItself}}, answerWithin + time.Second, "", "the stream is 3s behind"},
		"a drift":      {[]answer{{"the figures are 5.0 s old", byItself}, {"a drift of 3 jobs is still to be corrected", byMove}}, time.Second, "a drift of 3 jobs is still to be corrected", ""},
		"old binaries": {[]answer{{"the figures are 5.0 s old", byItself}, {"pre-#290 writers still active on queue q", byNobody}}, time.Second, "", "pre-#290 writers still active on queue q"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				h := handover{unfinished: func(context.Context) (string, ending, error) {
					a := c.answers[min(asked, len(c.answers)-1)]
					asked++
					return a.reason, a.ends, nil
				}}
				began := time.Now()
				drift, err := h.quiet(t.Context())
				require.Equal(t, c.drift, drift)
				require.LessOrEqual(t, time.Since(began), c.within)
				if c.want == "" {
					require.NoError(t, err)
					return
				}
				var r *pg.Refusal
				require.ErrorAs(t, err, &r)
				require.ErrorContains(t, err, "not finished: ")
				require.ErrorContains(t, err, c.want)
				require.NotContains(t, err.Error(), "stop it")
			})
		})
	}
}

// Where nobody looks at a terminal, the same reason is said once, whatever its figures, and whichever queue was written last.
func TestAReasonIsSaidOnce(t *testing.T) {
	first := wordsOf("pre-#290 writers still active on queue a, b; last 9.9 s ago")
	for _, same := range []string{"pre-#290 writers still active on queue b, a; last 0.1 s ago", "pre-#290 writers still active on queue a, b; last 12 s ago"} {
		require.Equal(t, first, wordsOf(same))
	}
	require.NotEqual(t, first, wordsOf("pre-#290 writers still active on queue a; last 0.1 s ago"))
	require.NotEqual(t, first, wordsOf("the counters of 1 groups are wrong, the first on queue a"))
}
