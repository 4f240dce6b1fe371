package applier

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// However many rows are locked, a write has patience with a few of them only, after all else; and every one of
// them has its turn.
func TestPatienceIsRationed(t *testing.T) {
	var due []Correction
	for i := range 300 {
		due = append(due, Correction{Group: counter.Group{Queue: fmt.Sprintf("q%03d", i)}, Delta: 1})
	}
	free := Correction{Group: counter.Group{Queue: "r"}, Delta: 1}
	var l lockedGroups
	deferred := Chunk{Corrections: due}
	l.record(deferred.AppendGroups(nil), nil)
	waited := make(map[counter.Group]int)
	for round := range 300 {
		chunks := l.orderByPatience(SplitIntoChunks(append(slices.Clip(due), free), l.contains))
		require.Len(t, chunks, 301)
		require.False(t, chunks[0].Alone, "what is free goes first")
		var passed []counter.Group
		for i, c := range chunks[1:] {
			require.Len(t, c.Corrections, 1)
			require.Equal(t, i >= 298, c.Patient, "round %d, %d", round, i)
			if c.Patient {
				waited[c.Corrections[0].Group]++
			} else if i >= 100 && round%2 == 0 { // the writer has lost enough time
				passed = c.AppendGroups(passed)
			}
		}
		l.record(deferred.AppendGroups(nil), passed)
	}
	require.Len(t, waited, 300, "some had no turn")
	l.record(nil, nil)
	require.Len(t, l.orderByPatience(SplitIntoChunks(due, l.contains)), 5)
}
