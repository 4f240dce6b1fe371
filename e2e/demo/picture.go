package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/guptarohit/asciigraph"
)

// sample is what one look found.
type sample struct {
	at    time.Duration
	off   int64 // jobs by which the queues' counters were wrong, added up; in the picture the mean of a column's time
	set   bool  // the trust marker
	alive bool  // the daemon
}

// event is a moment that the picture marks.
type event struct {
	at   time.Duration
	name string
}

// series is a run as its looks saw it.
type series struct {
	samples []sample
	events  []event
}

func (s *series) add(x sample) { s.samples = append(s.samples, x) }

func (s *series) mark(at time.Duration, name string) { s.events = append(s.events, event{at, name}) }

const (
	plotted    = 66 // columns of the picture beside its labels
	plotHeight = 10
)

// picture plots the drift over time: below it when readers used the counters, when the daemon ran, and its start, death
// and return.
func (s *series) picture() string {
	if len(s.samples) == 0 {
		return "(nobody looked)"
	}
	until := s.samples[len(s.samples)-1].at
	columns := s.columns(until)
	drift := make([]float64, plotted)
	top := int64(plotHeight) // the axis has whole numbers
	for i, c := range columns {
		drift[i] = float64(c.off)
		top = max(top, c.off)
	}
	plot := asciigraph.Plot(drift, asciigraph.Height(plotHeight), asciigraph.LowerBound(0), asciigraph.UpperBound(float64(top)),
		asciigraph.YAxisValueFormatter(func(v float64) string { return fmt.Sprintf("%8s", humanize.Comma(int64(v+0.5))) }),
		asciigraph.XAxisRange(0, until.Seconds()), asciigraph.XAxisTickCount(5),
		asciigraph.XAxisValueFormatter(func(v float64) string { return fmt.Sprintf("%.0fs", v) }))
	first, _, _ := strings.Cut(plot, "\n")
	margin := slices.IndexFunc([]rune(first), func(r rune) bool { return r == '┤' || r == '┼' }) + 1
	strip := func(name string, on func(sample) bool) string {
		var line strings.Builder
		fmt.Fprintf(&line, "%-*s", margin, name)
		for _, c := range columns {
			line.WriteString(map[bool]string{true: "█", false: "·"}[on(c)])
		}
		return line.String()
	}
	parts := append([]string{plot, ""}, s.labels(margin, until)...)
	parts = append(parts,
		strip("daemon", func(x sample) bool { return x.alive }),
		strip("marker", func(x sample) bool { return x.set }),
		strings.Repeat(" ", margin)+"daemon █ runs · does not; marker █ readers use the counters · scan")
	return strings.Join(parts, "\n")
}

// columns has the mean drift of each column's time, and the last of the rest.
func (s *series) columns(until time.Duration) []sample {
	columns := make([]sample, plotted)
	looks := make([]int64, plotted)
	for _, x := range s.samples {
		i := s.column(x.at, until)
		x.off += columns[i].off
		columns[i] = x
		looks[i]++
	}
	for i := range columns {
		switch {
		case looks[i] > 0:
			columns[i].off /= looks[i]
		case i > 0:
			columns[i] = columns[i-1]
		}
	}
	return columns
}

// step is the time that a column stands for.
func (s *series) step() time.Duration {
	if len(s.samples) == 0 {
		return 0
	}
	return s.samples[len(s.samples)-1].at / plotted
}

func (s *series) column(at, until time.Duration) int {
	if until <= 0 {
		return 0
	}
	return min(int(float64(plotted)*at.Seconds()/until.Seconds()), plotted-1)
}

// labels points at the moments of the events, in as many lines as they need.
func (s *series) labels(margin int, until time.Duration) []string {
	var lines [][]rune
	for _, e := range s.events {
		label := []rune("▼ " + e.name)
		at := margin + min(s.column(e.at, until), plotted-len(label))
		free := slices.IndexFunc(lines, func(l []rune) bool { return len(l) < at })
		if free < 0 {
			lines = append(lines, nil)
			free = len(lines) - 1
		}
		for len(lines[free]) < at {
			lines[free] = append(lines[free], ' ')
		}
		lines[free] = append(lines[free], label...)
	}
	out := make([]string, 0, len(lines))
	for _, line := range slices.Backward(lines) { // the first line is nearest to what it points at
		out = append(out, string(line))
	}
	return out
}

// told says in words what the drift came to while no daemon ran.
func (s *series) told() (lines []string) {
	name := "Before the start"
	for i := 0; i < len(s.samples); {
		if s.samples[i].alive {
			name, i = "After the kill", i+1
			continue
		}
		j := i
		for j < len(s.samples) && !s.samples[j].alive {
			j++
		}
		alone := s.samples[i:j]
		mean, most := wrong(alone)
		given := "readers scanned all rows meanwhile: slower, but right"
		if counters := slices.DeleteFunc(slices.Clone(alone), func(x sample) bool { return !x.set }); 2*len(counters) > len(alone) {
			given = "readers used the counters all the same, and were told wrong numbers"
		}
		lines = append(lines, fmt.Sprintf("%s, %s to %s without awa-counterd: the counters were wrong by %s jobs on average, %s at most; %s.",
			name, seconds(alone[0].at), seconds(alone[len(alone)-1].at), humanize.Comma(mean), humanize.Comma(most), given))
		i = j
	}
	return lines
}

// wrong is by how many jobs the counters were wrong in some samples.
func wrong(samples []sample) (mean, most int64) {
	for _, x := range samples {
		mean += x.off
		most = max(most, x.off)
	}
	return mean / int64(max(len(samples), 1)), most
}

// used are the samples in which the daemon ran and readers used the counters.
func (s *series) used() []sample {
	return slices.DeleteFunc(slices.Clone(s.samples), func(x sample) bool { return !x.alive || !x.set })
}
