package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// section is a part of the report while it is written.
type section struct {
	text     strings.Builder
	pictures map[string]string // SVG by name
}

func (s *section) say(text string, args ...any) {
	fmt.Fprintf(&s.text, text+"\n", args...)
}

// row is a line of a table.
func (s *section) row(cells ...string) { s.say("| %s |", strings.Join(cells, " | ")) }

func (s *section) table(heads ...string) {
	s.say("")
	s.row(heads...)
	s.say("|%s", strings.Repeat("---|", len(heads)))
}

// picture puts an SVG into the section.
func (s *section) picture(name, alt, svg string) {
	if svg == "" {
		return
	}
	s.pictures[name] = svg
	s.say("\n![%s](benchmarks/%s.svg)", alt, name)
}

const manner = `Each figure is the median of the rounds. Bold is a ratio to a peer within the same round, on the same server, with the lowest and the highest behind
it: those last. Rates and times are this machine's, server and load generator on it too. The shape is awa's ledger (0.6) where nothing else is
said; 306 is that of change #306. What was tried for speed, and what did not pay: [speed.md](speed.md).
`

// write makes the reports from what is kept.
func (o orders) write(l *lab, chosen []part) error {
	into := ""
	if l.profile != nil { // what profiling costs is in its figures
		o.pages, o.report = "", ""
	}
	if l.scale == 1 {
		into = o.pages
	} else if o.pages != "" || o.report != "" {
		l.tell("bench: a run at -scale=%g is no measurement: nothing is written into files", l.scale)
	}
	var others []part
	for _, p := range chosen {
		t, err := recall(l.results, p.name)
		if err != nil {
			return err
		}
		if p.page == "" || len(t.Rounds) == 0 || t.Origin.Scale != l.scale {
			others = append(others, p)
			continue
		}
		if err := put(into, p.page, p.print(t)); err != nil {
			return err
		}
	}
	if o.report == "" || l.scale != 1 {
		if len(others) == 0 {
			return nil
		}
		text, _, err := whole(l, others)
		fmt.Print(text)
		return err
	}
	text, pictures, err := whole(l, parts())
	if err != nil {
		return err
	}
	if err := os.WriteFile(o.report, []byte(text), 0o644); err != nil {
		return err
	}
	beside := strings.TrimSuffix(o.report, filepath.Ext(o.report))
	for name, svg := range pictures {
		if err := os.MkdirAll(beside, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(beside, name+".svg"), []byte(svg), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// put prints the report of a part, and writes it into a directory if there is one.
func put(dir, name, text string) error {
	fmt.Println(text)
	if dir == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
}

// whole is the report of those parts of which something is kept at this size; of the others it has the names.
func whole(l *lab, all []part) (text string, pictures map[string]string, err error) {
	var b strings.Builder
	pictures = make(map[string]string)
	fmt.Fprintf(&b, "# Benchmarks\n\nMade by `make bench-all`.\n\n%s", manner)
	if l.scale != 1 {
		b.WriteString("\n" + small(l.scale))
	}
	judged, err := judge(l)
	if err != nil {
		return "", nil, err
	}
	b.WriteString(judged)
	var missing []part
	for _, p := range all {
		t, err := l.kept(p)
		if err != nil {
			return "", nil, err
		}
		if len(t.Rounds) == 0 || t.Origin.Scale != l.scale {
			missing = append(missing, p)
			continue
		}
		s := &section{pictures: pictures}
		p.show(s, t)
		spent, err := l.where(p, t)
		if err != nil {
			return "", nil, err
		}
		if spent != "" {
			s.say("\n%s", spent)
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n%s\n", p.title, strings.TrimSpace(s.text.String()), provenance(p, t))
	}
	if len(missing) > 0 {
		b.WriteString(unmeasured(missing))
	}
	return b.String(), pictures, nil
}

// small is what has to be said of a run at another size.
func small(scale float64) string {
	return fmt.Sprintf("**A run at %g of the real size: it shows that the parts work, and measures nothing.**\n\n", scale)
}

// unmeasured lists parts without figures; some have older ones in a report of their own.
func unmeasured(missing []part) string {
	s := &section{}
	measuring, profiling := planned(missing)
	s.say("\n## Not measured here yet\n\n`make bench-all PART=NAME` measures one. All of these take some %s, and their profiles %s, and as much again for those of before; the\n"+
		"times are added up from what a part waits for and writes. `ARGS=\"-within 1h\"` does what can be begun within an hour, and the next run goes on.", inMinutes(measuring), inMinutes(profiling))
	s.table("part", "what", "takes some", "an older report")
	for _, p := range missing {
		older := ""
		if _, err := os.Stat(filepath.Join("docs", "reports", p.page)); p.page != "" && err == nil {
			older = fmt.Sprintf("[%s](reports/%s)", p.page, p.page)
		}
		about := "–" // what it shows is of other parts
		if p.about > 0 {
			about = inMinutes(p.about)
		}
		s.row(inPart(p.name), p.title, about, older)
	}
	return s.text.String()
}

// inMinutes is a time as one plans with it.
func inMinutes(d time.Duration) string {
	d = d.Round(time.Minute)
	if d < time.Hour {
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

// kept are the rounds that a part shows. Those of several parts are put side by side if they were measured alike.
func (l *lab) kept(p part) (*taken, error) {
	var all *taken
	for _, name := range p.sources() {
		t, err := recall(l.results, name)
		switch {
		case err != nil:
			return nil, err
		case all == nil || len(all.Rounds) == 0:
			all = t
			continue
		case t.Origin != all.Origin:
			continue
		}
		for i, r := range t.Rounds {
			if i == len(all.Rounds) {
				all.Rounds = append(all.Rounds, roundResult{At: r.At, Load: r.Load})
			}
			all.Rounds[i].Figures = append(all.Rounds[i].Figures, r.Figures...)
			all.Rounds[i].Took += r.Took
		}
	}
	return all, nil
}

// provenance of a part's figures.
func provenance(p part, t *taken) string {
	at := t.Rounds[len(t.Rounds)-1].At.Format(time.DateOnly)
	took := 0.0
	for _, r := range t.Rounds {
		took += r.Took
	}
	rounds := fmt.Sprintf("%d rounds", len(t.Rounds))
	if len(t.Rounds) == 1 {
		rounds = "one round"
	}
	text := fmt.Sprintf("\nPart `%s`, %s (%s in all) on %s, commit %s: %s; %s; %s. ", p.name, rounds,
		(time.Duration(took) * time.Second).String(), at, t.Origin.Commit, t.Origin.Machine, t.Origin.Server, t.Origin.Go)
	return text + fmt.Sprintf("The highest load average that a round began with: %.1f.", t.busiest())
}

// head is the beginning of a report of one part.
func head(t *taken, title, target string) string {
	text := fmt.Sprintf("# %s\n\nMade by `make %s` on %s, commit %s, %s.\n%s\n%s\n\n", title, target,
		t.Rounds[len(t.Rounds)-1].At.Format(time.DateOnly), t.Origin.Commit, t.Origin.Go, t.Origin.Machine, t.Origin.Server)
	if t.Origin.Scale != 1 {
		text += small(t.Origin.Scale)
	}
	return text
}
