package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ran is a run that went by its plan: drift grows by 100 jobs a second while no daemon runs.
func ran(plan schedule) (s series) {
	s.mark(plan.start, "start")
	s.mark(plan.kill, "kill")
	s.mark(plan.back, "return")
	for at := time.Duration(0); at <= plan.end; at += 100 * time.Millisecond {
		x := sample{at: at, off: 3, set: true, alive: true}
		switch {
		case at < plan.start:
			x = sample{at: at, off: int64(at.Seconds() * 100), set: true}
		case at >= plan.kill && at < plan.back:
			x = sample{at: at, off: int64((at - plan.kill).Seconds() * 100)}
		}
		s.add(x)
	}
	return s
}

func TestPicture(t *testing.T) {
	s := ran(newSchedule(40 * time.Second))
	picture := s.picture()
	fits(t, picture)
	var labels, daemon, marker string
	for line := range strings.SplitSeq(picture, "\n") {
		switch {
		case strings.Contains(line, "▼"):
			labels = line
		case strings.HasPrefix(line, "daemon"):
			daemon = line
		case strings.HasPrefix(line, "marker"):
			marker = line
		}
	}
	at := func(line, what string) int { return len([]rune(line[:strings.Index(line, what)])) }
	require.Equal(t, at(labels, "▼ start"), at(daemon, "█"), "the start is where the daemon runs first")
	require.Equal(t, at(labels, "▼ kill"), at(marker, "·"), "the marker is cleared by the hook")
	require.Less(t, at(labels, "▼ kill"), at(labels, "▼ return"))
	require.Equal(t, '·', []rune(daemon)[at(labels, "▼ kill")+1])
	require.Regexp(t, `(?m)^ +9[0-9]{2} ┤`, picture)
	require.Equal(t, plotted, strings.Count(daemon, "█")+strings.Count(daemon, "·"))
}

func TestPictureOfLittle(t *testing.T) {
	require.NotPanics(t, func() { (&series{}).picture() })
	one := series{samples: []sample{{off: 7}}}
	fits(t, one.picture())
	flat := series{samples: []sample{{}, {at: time.Second}}}
	fits(t, flat.picture())
	short := ran(newSchedule(time.Second)) // labels do not fit side by side
	fits(t, short.picture())
	for _, label := range []string{"▼ start", "▼ kill", "▼ return"} {
		require.Contains(t, short.picture(), label)
	}
}

func TestTold(t *testing.T) {
	s := ran(newSchedule(40 * time.Second))
	told := s.told()
	require.Len(t, told, 2)
	require.Contains(t, told[0], "Before the start, 0.0s to 9.9s without awa-counterd: the counters were wrong by 494 jobs on average, 990 at most; readers used the counters all the same")
	require.Contains(t, told[1], "After the kill, 25.0s to 29.9s without awa-counterd: the counters were wrong by 244 jobs on average, 490 at most; readers scanned")
	mean, most := wrong(s.used())
	require.Equal(t, []int64{3, 3}, []int64{mean, most})
}
