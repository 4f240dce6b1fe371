package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// spread is what the rounds say of one figure.
type spread struct {
	median, low, high float64
	n                 int // rounds that have it
}

// over takes rounds that lack the figure as NaN, and leaves them out.
func over(rounds []float64) spread {
	known := slices.DeleteFunc(slices.Clone(rounds), math.IsNaN)
	if len(known) == 0 {
		return spread{}
	}
	slices.Sort(known)
	s := spread{low: known[0], high: known[len(known)-1], n: len(known)}
	s.median = known[len(known)/2]
	if len(known)%2 == 0 {
		s.median = (known[len(known)/2-1] + s.median) / 2
	}
	return s
}

// ratios divides round by round.
func ratios(of, by []float64) []float64 {
	out := make([]float64, min(len(of), len(by)))
	for i := range out {
		out[i] = math.NaN()
		if by[i] != 0 {
			out[i] = of[i] / by[i]
		}
	}
	return out
}

// times is a ratio as the reports have it.
func (s spread) times() string {
	if s.n == 0 {
		return "–"
	}
	return fmt.Sprintf("%s (%s–%s)", number(s.median), number(s.low), number(s.high))
}

// in is the median in a unit.
func (s spread) in(unit string) string {
	if s.n == 0 {
		return "–"
	}
	if unit != "" {
		unit = " " + unit
	}
	return number(s.median) + unit
}

// number keeps three digits and no more than are read.
func number(v float64) string {
	a := math.Abs(v)
	switch {
	case a >= 10_000:
		return thousands(int64(math.Round(v)))
	case a >= 100 || v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.01:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}

func thousands(n int64) string {
	if n < 0 {
		return "-" + thousands(-n)
	}
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// quantile of sorted values; q is 0 to 1. Of none it is NaN.
func quantile[T ~int64 | ~float64](sorted []T, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return float64(sorted[min(max(i, 0), len(sorted)-1)])
}

// millis of sorted durations at a quantile.
func millis(sorted []time.Duration, q float64) float64 {
	return quantile(sorted, q) / float64(time.Millisecond)
}
