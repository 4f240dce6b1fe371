package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each aim is of a part that there is, and can be asked for where nothing is kept.
func TestAims(t *testing.T) {
	seen := make(map[string]bool)
	for _, a := range aims() {
		require.NotNil(t, named(a.part).begin, a.what)
		require.Zero(t, a.of(&taken{}).n, a.what)
		require.False(t, seen[a.what], a.what)
		require.Contains(t, []string{atMost, atLeast, below, above}, a.sign, a.what)
		seen[a.what] = true
	}
	require.Len(t, aims(), 4*4+1+5+8+5+8+10+4)
}

// Draining, staleness and the like are judged by the median; what may never happen, by the worst round.
func TestAimsAreKept(t *testing.T) {
	s := spread{median: 2, low: 1, high: 3, n: 3}
	for _, c := range []struct {
		sign  string
		limit float64
		every bool
		kept  bool
	}{
		{atMost, 2, false, true},
		{atMost, 1.9, false, false},
		{atMost, 2, true, false},
		{atMost, 3, true, true},
		{atLeast, 2, false, true},
		{atLeast, 2.1, false, false},
		{atLeast, 2, true, false},
		{below, 2, false, false},
		{below, 2.1, false, true},
		{above, 2, false, false},
		{above, 1.9, false, true},
		{above, 1, true, false},
	} {
		require.Equal(t, c.kept, aim{sign: c.sign, limit: c.limit, every: c.every}.kept(s), c)
	}
	require.Equal(t, "≤ 25 ms", aim{sign: atMost, limit: 25, unit: "ms"}.wanted())
	require.Equal(t, "≥ 1.10", aim{sign: atLeast, limit: 1.1}.wanted())
	require.Equal(t, "≤ 0 in every round", aim{sign: atMost, every: true}.wanted())
}

// The report has every aim, and says which were kept, of those that were measured.
func TestReportJudges(t *testing.T) {
	l := &lab{results: t.TempDir(), scale: 1}
	kept := &taken{Part: "idle", Origin: origin{Scale: 1}}
	for _, connections := range []float64{4, 4, 5} {
		var p roundResult
		p.note("", theDaemon, "connections", connections)
		if connections == 4 {
			p.note("", theDaemon, "ms/s", 0.9)
		}
		p.note("", relaxed, "WAL KiB/min", 2.5)
		kept.Rounds = append(kept.Rounds, p)
	}
	require.NoError(t, kept.keep(l.results))
	text, err := judge(l)
	require.NoError(t, err)
	require.Contains(t, text, "| idle: connections | `idle` | ≤ 4 in every round | 4 (4–5) | **not kept** |")
	require.Contains(t, text, "| idle: processor | `idle` | ≤ 1 ms/s | 0.90 (0.90–0.90), in 2 of 3 rounds | kept |")
	require.Equal(t, len(aims())-3, strings.Count(text, "| – | not measured yet |"), text)
	l.scale = 0.5
	text, err = judge(l)
	require.NoError(t, err)
	require.Empty(t, text)
}

// The faster way is told from both where the daemon decoded, and from the least that decoding takes where it scanned.
func TestFasterWay(t *testing.T) {
	round := func(decided, afreshTook, reading, scanned float64) (p roundResult) {
		p.note("9", receiver, "s", reading)
		p.note("9", asItLikes, "s", decided)
		p.note("9", afresh, "s", afreshTook)
		p.note("9", asItLikes, "scanned", scanned)
		return p
	}
	k := &taken{Rounds: []roundResult{round(3, 6, 2, 0), round(6, 3, 2, 0), round(4, 5, 8, 1), round(8, 7, 2, 1), {}}}
	require.Equal(t, []float64{1, 2, 1, 4}, byFaster(k, "9")[:4])
	require.Equal(t, 4, over(byFaster(k, "9")).n)
}

// A start is bound by its scans if it takes no longer than two counts of the leaf.
func TestScanBound(t *testing.T) {
	var p roundResult
	p.note("", plainCount, "s", 4)
	p.note("", theDaemon, "s", 10)
	require.Equal(t, spread{1.25, 1.25, 1.25, 1}, scanBound(&taken{Rounds: []roundResult{p}}))
}
