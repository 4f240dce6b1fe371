package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// columns is what every line fits into.
const columns = 80

// board shows what happens: redrawn in place on a terminal, a line now and then elsewhere.
type board struct {
	out    io.Writer
	live   bool
	period time.Duration
	phase  string
	headed bool // the header of the lines was written
}

func newBoard(out *os.File) *board {
	b := &board{out: out, live: term.IsTerminal(int(out.Fd())), period: 2 * time.Second}
	if b.live {
		b.period = 500 * time.Millisecond
	}
	return b
}

// view is what a board shows at one moment.
type view struct {
	at, of time.Duration
	queues []fleet.Sum
	set    bool // the trust marker
	alive  bool // the daemon
	status map[string]any
	news   []string
}

// tell begins a phase.
func (b *board) tell(at time.Duration, phase string) {
	b.phase = phase
	if !b.live {
		fmt.Fprintln(b.out, wrap(fmt.Sprintf("%6s  -- %s", seconds(at), phase), 12))
	}
}

func (b *board) draw(v view) error {
	var out string
	switch {
	case b.live:
		out = "\x1b[H\x1b[2J" + b.screen(v) // home, clear
	case !b.headed:
		b.headed = true
		out = header(v.queues) + row(v)
	default:
		out = row(v)
	}
	_, err := io.WriteString(b.out, out)
	return err
}

// screen is the whole board, for a terminal.
func (b *board) screen(v view) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleRounded)
	t.AppendHeader(table.Row{"queue", "finished jobs", "counter says", "drift"})
	for _, q := range v.queues {
		t.AppendRow(table.Row{shorten(q.Queue, 24), humanize.Comma(q.Rows), humanize.Comma(q.Counter), signed(q.Rows - q.Counter)})
	}
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 2, Align: text.AlignRight}, {Number: 3, Align: text.AlignRight}, {Number: 4, Align: text.AlignRight}})
	var s strings.Builder
	p := func(indent int, format string, args ...any) {
		s.WriteString(wrap(fmt.Sprintf(format, args...), indent) + "\n")
	}
	p(0, "awa-counterd demo, %s of %s", seconds(v.at), seconds(v.of))
	p(5, "Now: %s.\n", b.phase)
	s.WriteString(t.Render() + "\n")
	p(0, "drift = finished jobs - what the counter says\n")
	p(20, "%-20s%s", "awa-counterd", running(v))
	p(20, "%-20s%s", "readers are given", readers(v))
	if on, ok := v.status["uncounted_on"]; ok {
		p(20, "%-20s%v", "uncounted jobs", on)
	}
	if len(v.news) > 0 {
		p(0, "\nThe last lines of its log:")
	}
	for _, n := range v.news {
		p(4, "  %s", n)
	}
	return s.String()
}

func running(v view) string {
	switch {
	case !v.alive:
		return "not running"
	case v.status == nil:
		return "starting"
	}
	return fmt.Sprintf("running; %s corrections written so far", corrections(v.status))
}

func corrections(status map[string]any) string {
	n, _ := status["corrections"].(float64) // JSON has no integers
	return humanize.Comma(int64(n))
}

// readers says what programs that ask awa for a count are given.
func readers(v view) string {
	if v.set {
		return "the counters, which is fast: the trust marker is set"
	}
	said := "a scan of all rows, slow and right: the trust marker is not set"
	if why, ok := strings.CutPrefix(fmt.Sprint(v.status["trust"]), "no: "); ok && v.alive && why != "" {
		said += ", since awa-counterd is not sure yet (" + why + ")"
	}
	return said
}

// header explains the lines of a board that is no terminal.
func header(queues []fleet.Sum) string {
	return "\n" + wrap("A line says how many finished jobs the counter of each queue lacks (with a minus: has too many), and what"+
		" programs that ask awa for the count of a queue are given at that moment: the counter, if the trust marker is set; a scan of all rows, if not.", 0) +
		"\n\n" + line("time", names(queues), "readers get", "awa-counterd")
}

func row(v view) string {
	drifts := make([]string, len(v.queues))
	for i, q := range v.queues {
		drifts[i] = signed(q.Rows - q.Counter)
	}
	get, state := "a scan", "not running"
	if v.set {
		get = "the counter"
	}
	if v.alive {
		state = "running"
	}
	return line(seconds(v.at), drifts, get, state)
}

func names(queues []fleet.Sum) []string {
	all := make([]string, len(queues))
	for i, q := range queues {
		all[i] = shorten(q.Queue, 9)
	}
	return all
}

func line(at string, cells []string, get, state string) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%6s ", at)
	for _, c := range cells {
		fmt.Fprintf(&s, " %9s", c)
	}
	fmt.Fprintf(&s, "   %-11s  %s\n", get, state)
	return s.String()
}

// outcome is what the scan at the end found.
type outcome struct {
	waited time.Duration // since the workers stopped
	groups int
	wrong  []fleet.Wrong
	errors map[string]int // of workers
}

// end writes the picture, what it shows, and the verdict.
func (b *board) end(s *series, w *fleet.Watch, o outcome) error {
	var out strings.Builder
	p := func(indent int, format string, args ...any) {
		out.WriteString(wrap(fmt.Sprintf(format, args...), indent) + "\n")
	}
	p(0, "\nDrift over time: by how many jobs the counters of all queues were wrong, added up (a column is the mean of %s)", seconds(s.step()))
	out.WriteString("\n" + s.picture() + "\n\n")
	for _, l := range s.told() {
		p(2, "- %s", l)
	}
	used := s.used()
	mean, _ := wrong(used)
	p(2, "- With awa-counterd, while readers used the counters: they were wrong by %s jobs on average, and none for longer than %s. It promises at most %s (--max-staleness); of %d samples, %d were over that.",
		humanize.Comma(mean), rounded(w.Oldest), maxStaleness, len(used), w.Dishonest)
	p(9, "\nVerdict: %s after the last job, a scan of all rows was compared with all %d counters: %d wrong", rounded(o.waited), o.groups, len(o.wrong))
	for _, g := range o.wrong[:min(3, len(o.wrong))] {
		p(2, "wrong: queue %s, ring slot %d, priority %d, shard %d: %d jobs, the counter says %d", g.Queue, g.Slot, g.Priority, g.Shard, g.Rows, g.Counter)
	}
	for message, n := range o.errors {
		p(2, "a worker failed %d times: %s", n, message)
	}
	_, err := io.WriteString(b.out, out.String())
	return err
}

// wrap breaks a text into lines that fit; all but the first of a paragraph are indented.
func wrap(s string, indent int) string {
	var lines []string
	for paragraph := range strings.SplitSeq(s, "\n") {
		limit, margin := columns, ""
		for text.StringWidthWithoutEscSequences(paragraph) > limit {
			cut := len(text.Trim(paragraph, limit+1))
			if space := strings.LastIndexByte(paragraph[:cut], ' '); strings.TrimSpace(paragraph[:max(space, 0)]) != "" {
				cut = space
			} else {
				cut = len(text.Trim(paragraph, limit))
			}
			lines = append(lines, margin+strings.TrimRight(paragraph[:cut], " "))
			paragraph = strings.TrimLeft(paragraph[cut:], " ")
			limit, margin = columns-indent, strings.Repeat(" ", indent)
		}
		lines = append(lines, margin+paragraph)
	}
	return strings.Join(lines, "\n")
}

func shorten(s string, most int) string { return text.Snip(s, most, "…") }

func signed(n int64) string {
	if n > 0 {
		return "+" + humanize.Comma(n)
	}
	return humanize.Comma(n)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

func rounded(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
