package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const doneKey = `duplicate key value violates unique constraint "done_entries_N_pkey"`

// errorsAt are those of one kind, so many seconds before noon.
func errorsAt(who, text string, ago ...float64) (log []complaint) {
	for _, s := range ago {
		log = append(log, complaint{at: noon.Add(-time.Duration(s * float64(time.Second))), who: who, text: text})
	}
	return log
}

// One failed completion is no reason for a ring to stand, nor are many that ended long ago, nor those that come with us only.
func TestRingHeldByAwaItself(t *testing.T) {
	p := basic("pairs", "0.6.0a9", "0.6.5", "new", turns, 1)
	w := window{noon.Add(-2 * time.Minute), noon}
	control := &result{Errors: map[string]int{"new: " + doneKey: 1}}
	for name, c := range map[string]struct {
		log     []complaint
		control *result
		excused bool
	}{
		"went on":                {errorsAt("new-last", doneKey, 100, 60, 2), control, true},
		"one":                    {errorsAt("new-last", doneKey, 2), control, false},
		"none":                   {nil, control, false},
		"ended long ago":         {errorsAt("new-last", doneKey, 110, 100, 90, 31), control, false},
		"before finish":          {errorsAt("new-last", doneKey, 200, 190, 2), control, false},
		"of old workers":         {errorsAt("old-second", doneKey, 100, 60, 2), control, false},
		"of another kind":        {errorsAt("new-last", "deadlock detected", 100, 60, 2), &result{Errors: map[string]int{"new: deadlock detected": 9}}, false},
		"with us only":           {errorsAt("new-last", doneKey, 100, 60, 2), &result{Errors: map[string]int{"old: " + doneKey: 7}}, false},
		"the control is missing": {errorsAt("new-last", doneKey, 100, 60, 2), nil, false},
	} {
		r := result{
			Stream: books{RowsUncounted: 2500}, MixLaps: 1, TwoLaps: comparison{Set: true}, Holds: holds(c.log, w, "new"),
			Daemon: &daemonResult{Kills: 10, Named: []string{"email"}},
		}
		r.weigh(&p, c.control)
		if c.excused {
			require.Empty(t, r.Problems, name)
			continue
		}
		require.Len(t, r.Problems, 1, name)
		require.Contains(t, r.Problems[0], "the ring turned only 0.0 times after finish", name)
	}
	require.Equal(t, []hold{{"new: " + doneKey, 3, 2}}, holds(errorsAt("new-last", doneKey, 100, 60, 2), w, "new"))
	require.NotNil(t, holds(nil, w, "new"), "nobody looked")
}

// Beside old workers a ring is excused by what kept it to the end in both halves, whatever release they are of. Results from before
// that was looked at say how often each error came.
func TestRingHeldBesideOldWorkers(t *testing.T) {
	const kind = `old: column "available_count" does not exist`
	p := basic("pairs", "0.6.0a9", "0.6.5", "new", turns, 1)
	problems := func(mix []hold, with, control int) []string {
		r := result{
			Stream: books{RowsUncounted: 2500}, MixLaps: 0.6, Laps: 2, TwoLaps: comparison{Set: true}, MixHolds: mix,
			Daemon: &daemonResult{Kills: 10, Named: []string{"email"}}, Errors: map[string]int{kind: with},
		}
		r.weigh(&p, &result{Errors: map[string]int{kind: control}})
		return r.Problems
	}
	require.Empty(t, problems([]hold{{kind, 900, 0.1}}, 900, 800))
	require.Len(t, problems([]hold{}, 900, 800), 1)
	require.Len(t, problems([]hold{{kind, 900, 31}}, 900, 800), 1)
	require.Len(t, problems([]hold{{kind, 900, 0.1}}, 900, 0), 1)
	require.Empty(t, problems(nil, 900, 800))
	require.Len(t, problems(nil, 900, 1), 1)
	require.Len(t, problems(nil, 1, 800), 1)
	require.True(t, p.awaited(0), "it would be waited for to the limit")
	p.Old = "0.6.0b1"
	require.False(t, p.awaited(0))
}
