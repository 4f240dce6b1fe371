package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The share of a scrape comes from the many.
func TestShareOfAScrape(t *testing.T) {
	var p roundResult
	for who, ms := range map[string]float64{unasked: 200, scraped: 199, besieged: 260} {
		p.note("", who, "ms/s", ms)
	}
	p.note("", besieged, "scrapes/s", 48)
	p.note("", theDaemon, "groups", 10_048)
	tk := &taken{Rounds: []roundResult{p}}
	require.InDelta(t, 1.25, perScrape(tk, besieged)[0], 1e-9)
	require.InDelta(t, 0.625, share(tk)[0], 1e-9)
	require.Equal(t, []string{scraped, besieged, unasked}, askers(4))
	require.Contains(t, printScrape(tk), "each second takes 0.6")
	for _, a := range aims() {
		if a.part == "scrape" {
			require.True(t, a.kept(a.of(tk)))
			require.Equal(t, "< 1 %", a.wanted())
			tk.Rounds[0].note("", unasked, "ms/s", 80) // the last of a name counts
			require.False(t, a.kept(a.of(tk)))
		}
	}
}
