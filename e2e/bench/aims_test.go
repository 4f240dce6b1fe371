package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Each aim is of a part that there is, and can be asked for where nothing is kept.
func TestAims(t *testing.T) {
	for _, a := range aims() {
		require.NotNil(t, named(a.part).begin, a.what)
		require.Zero(t, a.of(&taken{}).n, a.what)
	}
	require.Len(t, aims(), 4*4+4+17)
	require.True(t, aim{limit: 2, least: true}.reached(spread{median: 2}))
	require.False(t, aim{limit: 2, least: true}.reached(spread{median: 1}))
	require.False(t, aim{limit: 2}.reached(spread{median: 3}))
	require.Equal(t, "≤ 25 ms", aim{limit: 25, unit: "ms"}.wanted())
	require.Equal(t, "≥ 1.10", aim{limit: 1.1, least: true}.wanted())
}

// The report says which aims were reached, of those that were measured.
func TestReportJudges(t *testing.T) {
	l := &lab{results: t.TempDir(), scale: 1}
	text, err := judge(l)
	require.NoError(t, err)
	require.Empty(t, text)
	kept := &taken{Part: "idle", Origin: origin{Scale: 1}}
	var p played
	p.note("", theDaemon, "connections", 4)
	p.note("", theDaemon, "ms/s", 2.7)
	kept.Rounds = append(kept.Rounds, p)
	require.NoError(t, kept.keep(l.results))
	text, err = judge(l)
	require.NoError(t, err)
	require.Contains(t, text, "| idle: connections | ≤ 4 | 4 (4–4) | yes |")
	require.Contains(t, text, "| idle: processor | ≤ 1 ms/s | 2.70 (2.70–2.70) | **no** |")
	require.NotContains(t, text, "staleness")
}
