package listener

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// plot is a small picture of one figure over the last hour, as paths of an SVG of buckets × plotHeight.
type plot struct {
	Line  string // what is known, with gaps
	Area  string // the same, closed at the bottom
	Label string // for who cannot see it
	Most  string // the highest value
	Flat  bool   // nothing is known, or all is 0
}

const plotHeight = 24

// newPlot draws points; name and show put them into words.
func newPlot(name string, points []float64, show func(float64) string) plot {
	top := 0.0
	known := false
	for _, v := range points {
		top, known = max(top, v), known || v >= 0
	}
	if !known {
		return plot{Label: name + " over the last hour: nothing is known", Flat: true}
	}
	p := plot{Most: show(top), Flat: top == 0}
	p.Label = fmt.Sprintf("%s over the last hour: at most %s", name, p.Most)
	var line, area strings.Builder
	for i := 0; i < len(points); {
		if points[i] < 0 {
			i++
			continue
		}
		end := i
		for end < len(points) && points[end] >= 0 {
			end++
		}
		stretch(&line, &area, points, i, end, top)
		i = end
	}
	p.Line, p.Area = line.String(), area.String()
	return p
}

// stretch draws points[from:to], which are all known. Each is as wide as its bucket, so that a single one can be seen.
func stretch(line, area *strings.Builder, points []float64, from, to int, top float64) {
	fmt.Fprintf(area, "M%d %d", from, plotHeight)
	last := ""
	for i := from; i < to; i++ {
		y := height(points[i], top)
		switch {
		case i == from:
			fmt.Fprintf(line, "M%d %s", i, y)
			fmt.Fprintf(area, "V%s", y)
		case y != last:
			fmt.Fprintf(line, "H%dV%s", i, y)
			fmt.Fprintf(area, "H%dV%s", i, y)
		}
		last = y
	}
	fmt.Fprintf(line, "H%d", to)
	fmt.Fprintf(area, "H%dV%dZ", to, plotHeight)
}

// height is where a value lies, from the top; a value that is not 0 can be told from one that is.
func height(v, top float64) string {
	if v <= 0 || top <= 0 {
		return strconv.Itoa(plotHeight - 1)
	}
	const room = plotHeight - 3
	return strconv.FormatFloat(plotHeight-2-v/top*room, 'f', 1, 64)
}

// strip is the trust of the last hour as stretches of one state each.
type strip struct {
	Parts []stripPart
	Label string
}

type stripPart struct {
	X, Width int // half buckets
	Class    string
}

// newStrip draws the worst of each half minute; the end of the last one is how it is now: above it stands a heading that says so. The
// samples are the oldest first.
func newStrip(now time.Time, samples []sample) strip {
	states := make([]trustState, buckets)
	for i := range samples {
		if b := bucket(now, samples[i].at); b >= 0 && (states[b] == unknown || samples[i].trust == untrusted) {
			states[b] = samples[i].trust
		}
	}
	var s strip
	count := make(map[trustState]time.Duration)
	for i := range 2 * buckets {
		state := states[i/2]
		count[state] += span / buckets / 2
		if i == 2*buckets-1 && len(samples) > 0 {
			state = samples[len(samples)-1].trust
		}
		class := state.class()
		if n := len(s.Parts); n > 0 && s.Parts[n-1].Class == class {
			s.Parts[n-1].Width++
		} else {
			s.Parts = append(s.Parts, stripPart{X: i, Width: 1, Class: class})
		}
	}
	s.Label = fmt.Sprintf("trust over the last hour: trusted for %s, not trusted at some time in %s, neither for %s",
		minutes(count[trusted]), minutes(count[untrusted]), minutes(count[unknown]))
	return s
}

func (t trustState) class() string {
	switch t {
	case trusted:
		return good
	case untrusted:
		return bad
	case unknown:
	}
	return "none"
}

func minutes(d time.Duration) string { return strconv.FormatFloat(d.Minutes(), 'f', -1, 64) + " min" }

// The ways in which figures are said.

func seconds(v float64) string {
	return short(time.Duration(v * float64(time.Second))).String()
}

func bytes(v float64) string { return humanize.IBytes(uint64(max(v, 0))) }

func count(v float64) string { return humanize.Comma(int64(v)) }

func perSecond(v float64) string {
	switch {
	case v == 0:
		return "0/s"
	case v < 10:
		return strconv.FormatFloat(v, 'f', 1, 64) + "/s"
	}
	return humanize.Comma(int64(v)) + "/s"
}
