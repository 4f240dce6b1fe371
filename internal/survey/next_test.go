package survey

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
)

// A fleet that counts may clamp for ever, and may finish all the same; one that writes rows may not, nor one
// whose leader was an old binary a moment ago.
func TestClampsAreNoOldBinary(t *testing.T) {
	of := func(kind applier.Kind, ago float64) *Status {
		return &Status{
			Leader: &Leader{Alive: true}, MarkerSet: true, Fresh: true, Observed: 3600,
			Uncounted: []Uncounted{{Queue: "q", Kind: string(kind), Rows: 1, Last: ago}},
		}
	}
	const quiet = time.Minute
	require.Empty(t, of(applier.KindCounter, 1).Unfinished(quiet))
	for _, kind := range []applier.Kind{applier.KindRows, applier.KindPrune} {
		require.Contains(t, of(kind, 1).Unfinished(quiet), "pre-#290 writers still active on queue q")
		require.Empty(t, of(kind, 61).Unfinished(quiet))
	}
	led, ago := of(applier.KindCounter, 1), 1.0
	led.OldPrune = &ago
	require.Contains(t, led.Unfinished(quiet), "a pre-#290 binary still leads")
}

// Old figures are no evidence: they say what was so at the last checkpoint.
func TestOldFiguresDecideNothing(t *testing.T) {
	ago := 5.0
	s := &Status{Leader: &Leader{Alive: true}, MarkerSet: true, Observed: 3600, Persisted: &ago}
	require.Equal(t, "the figures are 5.0 s old, and the daemon has brought no newer ones: see its log", s.Unfinished(time.Minute))
	s.Fresh = true
	require.Empty(t, s.Unfinished(time.Minute))
}
