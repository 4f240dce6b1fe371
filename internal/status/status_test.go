package status

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
)

// ready is the status of an upgrade that may be finished.
func ready() *Status {
	return &Status{
		Leader: &Leader{Host: "db1", Alive: true, Heartbeat: 0.3}, MarkerSet: true, Fresh: true, Observed: 3600,
		Queues: []Queue{{Queue: "email", Rows: 10, Counter: 10}}, Runtimes: []Runtime{{Version: "0.6.1", Live: 3}}, Known: true,
	}
}

// What no waiting mends is told apart from what may pass.
func TestNever(t *testing.T) {
	const quiet = time.Minute
	problem, remedy := ready().Never(quiet)
	require.Empty(t, problem+remedy)
	for want, change := range map[string]func(*Status){
		"awa-counterd has never run here":         func(s *Status) { s.Leader, s.MarkerSet, s.Migrator = nil, false, 7 },
		"nothing to do if awa-counterd reconcile": func(s *Status) { s.Leader = nil },
		"no daemon leads (":                       func(s *Status) { s.Leader.Alive, s.MarkerSet = false, false },
		"has its tables in another form":          func(s *Status) { s.Leader.Another = true },
		"a dry run":                               func(s *Status) { s.Leader.DryRun = true },
		"the daemon runs with --trust off, and":   func(s *Status) { s.Leader.State, s.MarkerSet = applier.TrustIsOff, false },
	} {
		s := ready()
		change(s)
		problem, remedy := s.Never(quiet)
		require.Contains(t, problem, want)
		require.NotEmpty(t, remedy, want)
	}
	for _, change := range []func(*Status){
		func(s *Status) { s.Leader.Alive, s.MarkerSet, s.Migrator = false, false, 7 }, func(s *Status) { s.Leader, s.Installed, s.Migrator = nil, true, 7 },
		func(s *Status) { s.MarkerSet, s.Reason = false, "auditing" }, func(s *Status) { s.Leader.State = applier.TrustIsOff }, func(s *Status) { s.OldPrune = new(1.0) },
	} {
		s := ready()
		change(s)
		problem, remedy := s.Never(quiet)
		require.Empty(t, problem+remedy)
	}
}

// What stands in the way of the end of an upgrade, one thing at a time, and what is said of it. Whatever stands in the
// way, finish is not told that it may go on.
func TestNextStep(t *testing.T) {
	const quiet = time.Minute
	require.Contains(t, ready().NextStep(quiet), "safe to finish")
	require.Empty(t, ready().Unfinished(quiet))
	for want, change := range map[string]func(*Status){
		"awa-counterd has never run here": func(s *Status) { s.Leader, s.MarkerSet = nil, false },
		"no daemon has led here yet, or none since a teardown or a finish: one that runs says":                                                                                                            func(s *Status) { s.Leader, s.MarkerSet, s.Installed = nil, false, true },
		"no daemon has led here yet, or none since a teardown or a finish, and the marker is set: nothing to do if awa-counterd reconcile --trust has set it; if awa's migration has, one that runs says": func(s *Status) { s.Leader, s.Installed = nil, true },
		"awa's migration is running (process 7), and a daemon that runs waits until it has ended: nothing to do but wait":                                                                                 func(s *Status) { s.Leader.Alive, s.MarkerSet, s.Migrator = false, false, 7 },
		"says so; the marker is set, so if none runs, start awa-counterd run, or run awa-counterd distrust":                                                                                               func(s *Status) { s.Leader.Alive, s.Migrator = false, 7 },
		"the marker is set, but no daemon leads (the last was db1, 0.3 s ago): one that runs says in its log":                                                                                             func(s *Status) { s.Leader.Alive = false },
		"or remove everything with awa-counterd teardown":                                                                                                                                                 func(s *Status) { s.Leader.Alive, s.MarkerSet = false, false },
		"and the marker is set: nothing to do if awa-counterd reconcile --trust has set it, or awa-counterd finish; if awa's migration has, start":                                                        func(s *Status) { s.Leader = nil },
		"the marker is set, and 2 pre-#290 runtimes of version 0.6.0-beta.1 are live: start awa-counterd run": func(s *Status) {
			s.Leader, s.Runtimes = nil, []Runtime{{"0.6.0-beta.1", 2, true}}
		},
		"the marker is set, and 1 pre-#290 runtimes of version 0.6.0-beta.1 are live: one that runs says in its log": func(s *Status) {
			s.Leader, s.Installed, s.Runtimes = nil, true, []Runtime{{"0.6.0-beta.1", 1, true}}
		},
		"the marker is set; migrate() of an old release has put back": func(s *Status) { s.Leader, s.Deletes = nil, true },
		"pre-#290 writers still active on queue a, b; last 5": func(s *Status) {
			s.Observed, s.Uncounted = 5, []Uncounted{{Queue: "a", Kind: "rows", Last: 5}, {Queue: "b", Kind: "rows", Last: 6}, {Queue: "a", Kind: "prune", Last: 7}, {Queue: "c", Kind: "rows", Last: 60}}
		},
		"a pre-#290 worker did awa's maintenance 59 s ago":      func(s *Status) { s.Observed, s.OldPrune = 59, new(59.0) },
		"2 pre-#290 runtimes of version 0.6.0-beta.1 are live":  func(s *Status) { s.Runtimes = append(s.Runtimes, Runtime{"0.6.0-beta.1", 2, true}) },
		"the daemon runs with --trust off: readers scan":        func(s *Status) { s.MarkerSet, s.Leader.State = false, applier.TrustIsOff },
		"wait until the counters can be trusted: slot 3 is not": func(s *Status) { s.MarkerSet, s.Reason = false, "slot 3 is not audited" },
		"the figures are infinitely old":                        func(s *Status) { s.Fresh = false },
		"the figures are 12 s old":                              func(s *Status) { s.Fresh, s.Persisted = false, new(12.0) },
		"no uncounted write in the 30 s for which the daemon":   func(s *Status) { s.Observed = 30 },
		"a drift of 5 jobs is still to be corrected": func(s *Status) {
			s.Queues = []Queue{{Queue: "a", Drift: 3}, {Queue: "b", Drift: -2}} // they do not cancel out
		},
	} {
		s := ready()
		change(s)
		require.Contains(t, s.Unfinished(quiet), want)
	}
	over := ready()
	over.OldPrune, over.Uncounted = new(60.0), []Uncounted{{Queue: "a", Kind: "rows", Last: 60}}
	require.Empty(t, over.Unfinished(quiet), "it has been quiet for as long as asked")
}

// Whom reconcile --trust refuses beside, nobody names it for: with old binaries only a daemon helps.
func TestNobodyIsSentToARefusal(t *testing.T) {
	const quiet, never = time.Minute, "never run"
	beside := map[string]func(*Status){
		"2 pre-#290 runtimes of version 0.6.0-beta.1 are live": func(s *Status) { s.Runtimes = []Runtime{{"0.6.0-beta.1", 2, true}, {"0.6.1", 1, false}} },
		DeletesUncounted: func(s *Status) { s.Deletes = true },
	}
	for name, c := range map[string]struct {
		starts string
		change func(*Status)
	}{
		"a dead daemon, and the marker":     {"; if none runs, start it, or run awa-counterd distrust; ", func(s *Status) { s.Leader.Alive = false }},
		"a dead daemon, and no marker":      {"; if none runs, start it; ", func(s *Status) { s.Leader.Alive, s.MarkerSet = false, false }},
		"a daemon that never sets a marker": {"; start it again without --trust off; ", func(s *Status) { s.Leader.State, s.MarkerSet = applier.TrustIsOff, false }},
		never:                               {": start awa-counterd run; ", func(s *Status) { s.Leader, s.MarkerSet = nil, false }},
	} {
		s := ready()
		c.change(s)
		problem, remedy := s.Never(quiet)
		require.Contains(t, problem+"; "+remedy, "reconcile --trust", name)
		require.Equal(t, name != never, strings.Contains(problem+"; "+remedy, "awa-counterd teardown"), name)
		for why, old := range beside {
			s := ready()
			c.change(s)
			old(s)
			problem, remedy := s.Never(quiet)
			for _, said := range []string{problem + "; " + remedy, s.NextStep(quiet)} {
				require.NotContains(t, said, "reconcile --trust", name)
				require.NotContains(t, said, "teardown", name)
				require.Contains(t, said, why, name)
			}
			require.Contains(t, problem+"; "+remedy, c.starts+why, name)
		}
	}
}

// Only where nothing else stands in the way is it worth to ask the daemon again.
func TestWhenFreshFiguresAreNeeded(t *testing.T) {
	const quiet = time.Minute
	require.False(t, ready().NeedsFresh(quiet))
	old := ready()
	old.Fresh = false
	require.True(t, old.NeedsFresh(quiet))
	require.False(t, old.Fresh, "it is a question, not an answer")
	old.MarkerSet = false
	require.False(t, old.NeedsFresh(quiet))
}

func TestAgesAreReadable(t *testing.T) {
	for seconds, want := range map[float64]string{
		0: "0.0 s", 0.04: "0.0 s", 9.94: "9.9 s", 10: "10 s", 59.4: "59 s", 60: "1 min", 3599: "60 min", 3600: "1.0 h", 172_799: "48.0 h",
		172_800: "2 days", 864_000: "10 days",
	} {
		require.Equal(t, want, Ago(seconds), seconds)
	}
	require.True(t, IsAlive(14.9))
	require.False(t, IsAlive(15))
}
