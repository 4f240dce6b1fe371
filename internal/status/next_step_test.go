package status

import (
	"fmt"
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
			Leader: &Leader{Alive: true}, MarkerSet: true, Fresh: true, Observed: map[bool]float64{true: ago, false: 3600}[kind != applier.KindCounter],
			Uncounted: []Uncounted{{Queue: "q", Kind: string(kind), Rows: 1, Last: ago}},
		}
	}
	const quiet = time.Minute
	require.Empty(t, of(applier.KindCounter, 1).Unfinished(quiet))
	require.Contains(t, of(applier.KindRows, 1).Unfinished(quiet), "pre-#290 writers still active on queue q")
	require.Contains(t, of(applier.KindPrune, 1).Unfinished(quiet), "a pre-#290 worker did awa's maintenance")
	for _, kind := range []applier.Kind{applier.KindRows, applier.KindPrune} {
		require.Empty(t, of(kind, 61).Unfinished(quiet))
	}
	led, ago := of(applier.KindCounter, 1), 1.0
	led.OldPrune, led.Observed = &ago, ago
	require.Contains(t, led.Unfinished(quiet), "a pre-#290 worker did awa's maintenance")
}

// A prune by an old leader drives queues wrong that no old binary writes. It is told of its leader, and of no queue.
func TestPrunesNameNoQueue(t *testing.T) {
	const quiet = time.Minute
	ago := 2.0
	s := &Status{
		Leader: &Leader{Alive: true}, MarkerSet: true, Fresh: true, Observed: ago, OldPrune: &ago,
		Uncounted: []Uncounted{{Queue: "pruned", Kind: string(applier.KindPrune), Rows: 5, Last: 2}},
	}
	require.Equal(t, "a pre-#290 worker did awa's maintenance 2.0 s ago, and emptied a ring slot: replace it", s.NextStep(quiet))
	s.Uncounted = append(s.Uncounted, Uncounted{Queue: "written", Kind: string(applier.KindRows), Rows: 1, Last: 7})
	require.Equal(t, "pre-#290 writers still active on queue written; last 7.0 s ago", s.NextStep(quiet))
}

// Before the marker is set for good, people hear what cannot be known.
func TestUnseenIsSaid(t *testing.T) {
	require.Len(t, Unseen(true), 1)
	require.Contains(t, Unseen(true)[0], "producers, command lines and psql do not register with awa")
	require.Len(t, Unseen(false), 2)
	require.Contains(t, Unseen(false)[0], "old workers cannot be seen")
}

// Old figures are no evidence: they say what was so at the last checkpoint.
func TestOldFiguresDecideNothing(t *testing.T) {
	ago := 5.0
	s := &Status{Leader: &Leader{Alive: true}, MarkerSet: true, Observed: 3600, Persisted: &ago}
	require.Equal(t, "the figures are 5.0 s old, and the daemon did not answer: see its log", s.Unfinished(time.Minute))
	s.Fresh = true
	require.Empty(t, s.Unfinished(time.Minute))
}

// Nobody old is left, and still deletes do not count.
func TestDeletesThatDoNotCount(t *testing.T) {
	s := &Status{Leader: &Leader{Alive: true}, MarkerSet: true, Observed: 3600, Fresh: true}
	require.Empty(t, s.Unfinished(time.Minute))
	s.Deletes = true
	require.Equal(t, DeletesUncounted, s.Unfinished(time.Minute))

	// As long as anybody deletes, that looks like the work of an old binary: people have to hear of the function then, too.
	s.Uncounted, s.Observed = []Uncounted{{Queue: "q", Kind: string(applier.KindRows), Rows: 1, Last: 3}}, 3
	require.Contains(t, s.Unfinished(time.Minute), "pre-#290 writers still active on queue q; last 3.0 s ago")
	require.Contains(t, s.Unfinished(time.Minute), DeletesUncounted)
}

// Old binaries of several versions at once are all named: who replaces those of one version has to hear of the rest. A fleet of
// very many versions is named in part, and counted whole.
func TestOldVersionsAreAllNamed(t *testing.T) {
	s := &Status{Leader: &Leader{Alive: true}, MarkerSet: true, Observed: 3600, Fresh: true, Runtimes: []Runtime{
		{Version: "0.6.0-alpha.9", Live: 2, Old: true}, {Version: "0.6.0-beta.1", Live: 1, Old: true}, {Version: "0.6.1", Live: 3},
	}}
	require.Equal(t, "2 pre-#290 runtimes of version 0.6.0-alpha.9 and 1 of version 0.6.0-beta.1 are live: replace them", s.Unfinished(time.Minute))
	for i := range 7 {
		s.Runtimes = append(s.Runtimes, Runtime{Version: fmt.Sprintf("0.6.0-alpha.%d", i), Live: 2, Old: true})
	}
	require.Equal(t, "2 pre-#290 runtimes of version 0.6.0-alpha.9, 1 of version 0.6.0-beta.1, 2 of version 0.6.0-alpha.0, "+
		"2 of version 0.6.0-alpha.1 and 10 of 5 more versions are live: replace them", s.Unfinished(time.Minute))
}

// The server's clock was set while nobody wrote: forward, which makes a write look old that is not, or back, which makes one look new for
// as long as it was set back.
func TestClocksThatAreSetDecideNothing(t *testing.T) {
	const quiet = time.Minute
	for _, kind := range []applier.Kind{applier.KindRows, applier.KindPrune} {
		s := ready()
		s.Observed, s.Uncounted = 3, []Uncounted{{Queue: "q", Kind: string(kind), Rows: 1, Last: 3600}}
		require.Equal(t, "no uncounted write in the 3.0 s for which the daemon has watched; wait until that is 1m0s", s.Unfinished(quiet))
		s.Observed, s.Uncounted[0].Last = 60, 0
		require.Empty(t, s.Unfinished(quiet))
	}
}

// What passes by itself, and what does not, while nothing is corrected.
func TestWhatPasses(t *testing.T) {
	const quiet = time.Minute
	require.True(t, ready().Passes(quiet))
	for name, c := range map[string]struct {
		passes bool
		change func(*Status)
	}{
		"not answered": {true, func(s *Status) { s.Fresh, s.Observed, s.Queues = false, 0, []Queue{{Queue: "a", Drift: 3}} }},
		"not trusted":  {true, func(s *Status) { s.MarkerSet = false }},
		"a drift":      {false, func(s *Status) { s.MarkerSet, s.Queues = false, []Queue{{Queue: "a", Drift: 3}} }},
		"an old binary": {false, func(s *Status) {
			s.Queues = []Queue{{Queue: "a", Drift: 3}}
			s.MarkerSet, s.Observed, s.Uncounted = false, 3, []Uncounted{{Queue: "a", Kind: string(applier.KindRows), Last: 3}}
		}},
		"an old leader": {false, func(s *Status) { s.Fresh, s.Observed, s.OldPrune = false, 3, new(3.0) }},
		"watched again": {false, func(s *Status) { s.Observed = 3 }},
		"awa migrates": {true, func(s *Status) {
			s.Leader.Alive, s.MarkerSet, s.Migrator, s.Queues = false, false, 7, []Queue{{Queue: "a", Drift: 3}}
		}},
		"nobody is left": {false, func(s *Status) { s.Leader.Alive = false }},
	} {
		s := ready()
		c.change(s)
		require.Equal(t, c.passes, s.Passes(quiet), name)
		require.Equal(t, name == "a drift", s.OnlyDrift(quiet), name)
	}
}
