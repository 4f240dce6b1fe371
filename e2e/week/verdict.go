package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/report"
)

// What a week may cost. Nights are compared: the third, when everything has warmed up, with the last.
const (
	mostMoreMemory   = 16 << 20          // bytes, beside a quarter
	mostMore         = 3                 // goroutines and files
	mostConnections  = 16                // of two daemons: seven each, and one that looks
	mostRetained     = 64 << 20          // bytes of WAL at night
	mostMoreTables   = 1 << 20           // bytes, beside a half
	dayBudget        = 1 << 20           // bytes that a quiet day may log at the default level
	intervalsADay    = 24 * 60 * 60 / 10 // of the status line, at its default
	firstNight       = 3
	nightsAWeek      = 7
	quietLinesANight = 4 // beside the status line
)

// finding is one judgement.
type finding struct {
	what   string
	ok     bool
	detail string
}

func (w *world) findings() (all []finding) {
	add := func(what string, ok bool, detail string, args ...any) {
		all = append(all, finding{what, ok, fmt.Sprintf(detail, args...)})
	}
	if len(w.nights) < nightsAWeek {
		add("the week was lived to its end", false, "%d nights", len(w.nights))
		return all
	}
	a, b := &w.nights[firstNight-1], &w.nights[nightsAWeek-1]
	was, is := median(a.memory), median(b.memory)
	add("memory of a daemon", is <= was+was/4+mostMoreMemory, "%s, then %s", size(was), size(is))
	was, is = median(a.goroutines), median(b.goroutines)
	add("goroutines of a daemon", is <= was+mostMore, "%d, then %d", was, is)
	was, is = median(a.files), median(b.files)
	add("open files of a daemon", is <= was+mostMore, "%d, then %d", was, is)
	var connections, retained int64
	unset := 0
	for _, n := range w.nights {
		connections, retained, unset = max(connections, slices.Max(n.connections)), max(retained, median(n.retained)), unset+n.unset
	}
	add("connections of both, at most", connections <= mostConnections, "%d", connections)
	add("WAL kept at night, at most", retained <= mostRetained, "%s", size(retained))
	was, is = median(a.tables), median(b.tables)
	add("tables of schema awa_counterd", is <= was+was/2+mostMoreTables, "%s, then %s", size(was), size(is))
	add("the marker at night", unset == 0, "not set in %d of %d samples", unset, nightsAWeek*samplesANight)
	all = append(all, w.logFindings()...)
	return all
}

// logFindings judge what was logged: how much in a quiet day, how often each thing was said, and whether a password was.
func (w *world) logFindings() []finding {
	var quiet logged
	var lasted time.Duration
	for _, n := range w.nights {
		l := n.after.since(n.before)
		quiet.lines, quiet.bytes = quiet.lines+l.lines, quiet.bytes+l.bytes
		quiet.statusLines, quiet.statusBytes = quiet.statusLines+l.statusLines, quiet.statusBytes+l.statusBytes
		lasted += n.lasted
	}
	perLine := float64(quiet.statusBytes) / float64(max(quiet.statusLines, 1))
	intervals := max(lasted.Seconds()/w.statusInterval().Seconds(), 1)
	linesADay := float64(quiet.statusLines) / intervals * intervalsADay
	others := float64(quiet.bytes-quiet.statusBytes) / nightsAWeek // as if every night were a day's worth of other things
	day := int64(perLine*linesADay + others)
	all := []finding{
		{"a quiet day's log, at the default interval and level", day <= dayBudget, fmt.Sprintf("%s of %s: %.0f status lines of %.0f bytes, and %s of others", size(day), size(dayBudget), linesADay, perLine, size(int64(others)))},
		{"lines beside the status line in quiet nights", quiet.lines-quiet.statusLines <= quietLinesANight*nightsAWeek, fmt.Sprintf("%d in %s", quiet.lines-quiet.statusLines, lasted.Round(time.Second))},
	}
	often := w.repeated()
	all = append(all, finding{"each thing that happened is said once", len(often) == 0, strings.Join(often, "; ")})
	var leaks int
	for _, d := range w.daemons {
		leaks += len(d.log.errs)
	}
	return append(all, finding{"no password in a log", leaks == 0, fmt.Sprint(leaks)})
}

// often are messages that tell of a thing each time that it happens, and it may happen often: the marker is set and cleared, and
// queues fall quiet and are written again.
func often(message string) bool {
	return strings.HasPrefix(message, "trust: marker ") || strings.Contains(message, "queue=")
}

// repeated are messages that one daemon gave twice or more while the same thing was going on.
func (w *world) repeated() (out []string) {
	for _, d := range w.daemons {
		for s, n := range d.log.said {
			if n > 1 && !often(s.message) {
				out = append(out, fmt.Sprintf("%s: daemon %d said %d times: %s", s.phase, d.number, n, s.message))
			}
		}
	}
	slices.Sort(out)
	return out
}

// lines counts those of both daemons while something went on, status lines left out.
func (w *world) lines(phase string) (sum int) {
	for _, d := range w.daemons {
		for s, n := range d.log.said {
			if s.phase == phase {
				sum += n
			}
		}
	}
	return sum
}

// judge is what was broken.
func (w *world) judge() error {
	var errs []error
	for _, f := range w.findings() {
		if !f.ok {
			errs = append(errs, fmt.Errorf("%s: %s", f.what, f.detail))
		}
	}
	return errors.Join(errs...)
}

func (w *world) report(ctx context.Context) string {
	var b strings.Builder
	commit, server, err := report.Origin(ctx, w.pool)
	if err != nil {
		server = err.Error()
	}
	fmt.Fprintf(&b, "# A week in %s\n\nMade by `make week` on %s, commit %s, %s.\n%s\n\n", w.o.length, time.Now().UTC().Format(time.DateOnly), commit, server, report.Machine())
	fmt.Fprintf(&b, "%.0f times the pace of life, so the status line came every %s while something was wrong, and audits and checkpoints in step. A leader and a standby;\n"+
		"%d operations of old and new binaries on %d groups, with a burst of up to 20 times the mean each day.\n", w.pace(), w.statusInterval(), w.done, w.groups)
	if w.o.length < 10*time.Minute {
		b.WriteString("\n**So short a run shows that the program works; its nights are too short to judge by.**\n")
	}
	b.WriteString("\n| judged | kept | found |\n|---|---|---|\n")
	for _, f := range w.findings() {
		kept := "yes"
		if !f.ok {
			kept = "**no**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", f.what, kept, f.detail)
	}
	b.WriteString("\n| night | memory of a daemon | goroutines | files | connections of both | WAL kept | our tables | logged, lines beside the status line |\n|---|---|---|---|---|---|---|---|\n")
	for _, n := range w.nights {
		l := n.after.since(n.before)
		fmt.Fprintf(&b, "| %d | %s | %d | %d | %d | %s | %s | %d |\n", n.number, size(median(n.memory)), median(n.goroutines), median(n.files), median(n.connections),
			size(median(n.retained)), size(median(n.tables)), l.lines-l.statusLines)
	}
	b.WriteString("\n| day | what happened | last seen without the marker after | lines that both logged about it, the marker's too |\n|---|---|---|---|\n")
	for _, e := range w.events {
		fmt.Fprintf(&b, "| %d | %s | %s | %d |\n", e.day, e.what, e.again.Round(10*time.Millisecond), w.lines(phase(e.day, e.what)))
	}
	return b.String()
}
