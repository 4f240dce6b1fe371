package daemon

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/awa-counterd/awa-counterd/applier"
)

// What comes again and again is said a few times a minute, and then how often it was not.
func TestNoticesAreCounted(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	d := New(Options{Log: zap.New(core)})
	now := time.Unix(1_000_000, 0)
	for range 600 {
		now = now.Add(100 * time.Millisecond)
		d.logNotices(now, []applier.Notice{{Warn: true, Message: "the marker was cleared"}})
	}
	d.logNotices(now, []applier.Notice{{Message: "another"}})
	require.Equal(t, sayMost+1, logs.Len())
	d.logNotices(now.Add(sayWithin), []applier.Notice{{Warn: true, Message: "the marker was cleared", Fields: []any{"reason", "somebody"}}})
	last := logs.All()[sayMost+1]
	require.Equal(t, map[string]any{"reason": "somebody", "times_not_said": int64(600 - sayMost)}, last.ContextMap())
}

// An outage that shows itself in two ways, in turn, is told twice, not at each attempt.
func TestFaultsAreSaidOnce(t *testing.T) {
	said, lines := make(faults), 0
	for range 1000 {
		for _, reason := range []string{"unexpected EOF", "connection reset by peer"} {
			if said.first(reason) {
				lines++
			}
		}
	}
	require.Equal(t, 2, lines)
	for i := range 10 * mostFaults {
		said.first(strconv.Itoa(i))
	}
	require.LessOrEqual(t, len(said), mostFaults)
}
