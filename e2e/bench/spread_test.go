package main

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSpread(t *testing.T) {
	nan := math.NaN()
	require.Equal(t, spread{2, 1, 9, 3}, over([]float64{9, nan, 1, 2}))
	require.Equal(t, spread{2.5, 1, 9, 4}, over([]float64{9, 2, 1, 3}))
	require.Equal(t, spread{}, over([]float64{nan}))
	require.Equal(t, "–", over(nil).times())
}

// A ratio is of one round, never of medians: noise that both have in a round cancels out.
func TestRatiosAreWithinARound(t *testing.T) {
	tk := &taken{}
	for _, v := range [][2]float64{{10, 20}, {100, 200}, {1, 2}} {
		var p roundResult
		p.note("c", theDaemon, "x", v[0])
		p.note("c", receiver, "x", v[1])
		tk.Rounds = append(tk.Rounds, p)
	}
	var lacks roundResult
	lacks.note("c", theDaemon, "x", 7)
	lacks.note("c", receiver, "x", math.NaN())
	tk.Rounds = append(tk.Rounds, lacks)
	require.Equal(t, spread{0.5, 0.5, 0.5, 3}, tk.ratio("c", theDaemon, receiver, "x"))
}

func TestQuantiles(t *testing.T) {
	var all []time.Duration
	for i := range 100 {
		all = append(all, time.Duration(i+1)*time.Millisecond)
	}
	require.InDelta(t, 50, millis(all, 0.5), 0)
	require.InDelta(t, 99, millis(all, 0.99), 0)
	require.InDelta(t, 100, millis(all, 1), 0)
	require.True(t, math.IsNaN(millis(nil, 0.5)))
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 1: "1", 0.0042: "0.0042", 0.97: "0.97", 12.34: "12.3", 686: "686", 246893: "246,893", -1234567: "-1,234,567"} {
		require.Equal(t, want, number(v))
	}
}
