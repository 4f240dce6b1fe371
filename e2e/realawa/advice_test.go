package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// wellTold is what doctor and status say in an upgrade in which all is well.
func wellTold() []answer {
	rows := answer{Command: "status", Next: writing + "email, legacy; last 0.1 s ago", Named: []string{"email", "legacy"}}
	at := func(a answer, point string) answer { a.Point = point; return a }
	return []answer{
		{Command: "doctor", Point: deployed, Exit: 3, Unmet: []string{unmigrated}},
		{Command: "doctor", Point: together},
		at(rows, together),
		{Command: "status", Point: lastOld, Next: pruning + " 2.0 s ago, and emptied a ring slot: replace it"},
		{Command: "status", Point: departed, Next: "1 pre-#290 runtimes of version 0.6.0-beta.1 are live: replace them"},
		{Command: "status", Point: finishing, Next: safe + ": no uncounted write for 3s"},
	}
}

func TestAdvised(t *testing.T) {
	require.Empty(t, advised(wellTold()))
	require.Len(t, advised([]answer{}), 5, "nobody asked")
	for name, c := range map[string]struct {
		at     int
		change func(a *answer)
		says   string
	}{
		"doctor sees nothing":          {0, func(a *answer) { a.Exit, a.Unmet = 0, nil }, "doctor exited 0 before the migration, not met: none"},
		"doctor wants more":            {0, func(a *answer) { a.Unmet = append(a.Unmet, "triggers and rules") }, "not met: awa's tables, triggers and rules"},
		"doctor wants something":       {1, func(a *answer) { a.Exit, a.Unmet = 3, []string{"long transactions"} }, "doctor exited 3 side by side, not met: long transactions"},
		"uncounted, but not old ones'": {2, func(a *answer) { a.Next, a.Named = "wait until the counters can be trusted", nil }, "status told of no old binary side by side: wait"},
		"safe too early":               {3, func(a *answer) { a.Next = safe }, "status told of no old binary with one old worker left: safe to finish"},
		"other queues":                 {2, func(a *answer) { a.Named = []string{"email"} }, "status told of no old binary side by side"},
		"a queue nobody wrote":         {2, func(a *answer) { a.Never = []string{"legacy"} }, "status named legacy side by side, where no old binary wrote"},
		"failed":                       {4, func(a *answer) { a.Exit, a.Next = 1, "no connection" }, "status exited 1 with the old workers gone: no connection"},
		"never safe":                   {5, func(a *answer) { a.Next = writing + "email; last 0.1 s ago" }, "status did not say within 30s that it is safe to finish: pre-#290"},
	} {
		all := wellTold()
		c.change(&all[c.at])
		problems := advised(all)
		require.Len(t, problems, 1, name)
		require.Contains(t, problems[0], c.says, name)
	}
}

// finish may have to be run again for what awa's new leader did at that moment, and for nothing else.
func TestFinished(t *testing.T) {
	const folded = "awa-counterd: not finished: the counters of 2 groups became wrong when the daemons had left, the first on queue email; run it again"
	const slow = "awa-counterd: not finished within 1m0s: a drift of 3 jobs is still to be corrected; run it again later, or with a longer --timeout"
	for _, c := range []struct {
		s    daemonResult
		says []string
	}{
		{daemonResult{Tries: 1}, nil},
		{daemonResult{Tries: 2, Refused: []string{folded}}, nil},
		{daemonResult{Tries: 2, Refused: []string{slow}}, []string{"finish had to be run again for a reason that the docs do not give: " + slow}},
		{daemonResult{Tries: 3, Refused: []string{folded, slow}}, []string{"finish had to be run again for a reason that the docs do not give: " + slow}},
		{daemonResult{Tries: 3, Finish: 4, Said: folded, Refused: []string{folded, folded, folded}}, []string{"finish exited 4: " + folded}},
		{daemonResult{Tries: 2}, []string{"finish was run 2 times, and the reason is known of 0"}},
		{daemonResult{}, nil}, // of before it was run again
	} {
		require.Equal(t, c.says, c.s.finished())
	}
}

// What the judge goes by is what the product says, and what docs/what-if.md has.
func TestJudgeKnowsTheWords(t *testing.T) {
	docs, err := os.ReadFile("../../docs/what-if.md")
	require.NoError(t, err)
	next, err := os.ReadFile("../../internal/status/next_step.go")
	require.NoError(t, err)
	for _, text := range []string{writing, pruning, safe} {
		require.Contains(t, string(next), `"`+text)
	}
	_, refusals, _ := strings.Cut(string(docs), "\n## Why `finish` refuses\n")
	refusals, _, _ = strings.Cut(refusals, "\n## ")
	for _, text := range pardoned {
		require.Contains(t, refusals, text)
	}
}
