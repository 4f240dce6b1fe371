package status

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/checkpoint"
)

func TestCleared(t *testing.T) {
	change := func(set bool, lasted float64) checkpoint.MarkerChange {
		return checkpoint.MarkerChange{Set: set, Ago: 100, Lasted: lasted}
	}
	require.Equal(t, "no change is known of the last 7 days", Cleared(nil))
	begun := checkpoint.MarkerChange{Set: true, Ago: 8 * 24 * 60 * 60, Lasted: 9} // what was so when the seven days began is told
	require.Equal(t, "not cleared in the last 7 days", Cleared([]checkpoint.MarkerChange{begun}))
	one := []checkpoint.MarkerChange{change(true, 9), change(false, 12)}
	require.Equal(t, "cleared once in the last 7 days, for 12 s", Cleared(append(one, begun)))
	require.Equal(t, "cleared 2 times in the last 7 days, for 15 s in all", Cleared(append(one, change(false, 3), begun)))
	require.Equal(t, "not cleared since the history began, 2 min ago", Cleared([]checkpoint.MarkerChange{change(true, 9)}))
	require.Equal(t, "cleared once since the history began, 2 min ago, for 12 s", Cleared(one))
	require.Equal(t, "cleared 2 times since the history began, 2 min ago, for 15 s in all", Cleared(append(one, change(false, 3))))
	many := make([]checkpoint.MarkerChange, checkpoint.MostTold)
	require.Equal(t, "cleared 100 times at least in the last 7 days, for 0.0 s or more", Cleared(many))
	require.Equal(t, "set 2 min ago, for 9.0 s", ChangeText(change(true, 9)))
	many[0] = checkpoint.MarkerChange{Ago: 5, Lasted: 5, Reason: "why"}
	require.Equal(t, "cleared 5.0 s ago, for 5.0 s: why", ChangeText(many[0]))
}
