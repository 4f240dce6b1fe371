package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
)

// result is what came of one major.
type result struct {
	Major     string        `json:"major"`
	Server    string        `json:"server"`
	Command   string        `json:"command"` // what does the same again
	Commit    string        `json:"commit"`
	At        time.Time     `json:"at"`
	Tests     tests         `json:"tests"`
	Chaos     *chaos        `json:"chaos"` // nil: not asked for
	SuiteTook time.Duration `json:"suiteTook"`
	ChaosTook time.Duration `json:"chaosTook"`
}

func (r *result) green() bool {
	return r.Tests.Failed == 0 && len(r.Tests.Failures) == 0 && r.Tests.Passed > 0 && (r.Chaos == nil || r.Chaos.Failed == "")
}

// line is a result in one.
func (r *result) line() string {
	s := fmt.Sprintf("PostgreSQL %s: %d tests, %d passed, %d skipped, %d failed (%s)",
		r.Server, r.Tests.run(), r.Tests.Passed, r.Tests.skipped(), r.Tests.Failed, r.SuiteTook.Round(time.Second))
	if len(r.Tests.Failures) > 0 {
		s += ": " + strings.Join(r.Tests.Failures, ", ")
	}
	if r.Chaos != nil {
		s += fmt.Sprintf("; chaos: %s (%s)", r.Chaos, r.ChaosTook.Round(time.Second))
	}
	return s
}

// String is what the table says of a chaos run.
func (c *chaos) String() string {
	if c.Failed != "" {
		return "**failed**: " + c.Failed
	}
	return fmt.Sprintf("%d faults, %s kills, %s trusted samples of which %s lied, %s groups wrong", c.Faults, c.Kills, c.Trusted, c.Dishonest, c.Wrong)
}

func (o *options) load(major string) (*result, error) {
	b, err := os.ReadFile(o.file(major, ".json"))
	if err != nil {
		return nil, err
	}
	r := &result{}
	return r, json.Unmarshal(b, r)
}

func (o *options) save(r *result) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(o.file(r.Major, ".json"), b, 0o644)
}

// write makes the document of all results that are kept.
func (o *options) write() error {
	var all []*result
	for _, major := range cluster.Majors() {
		r, err := o.load(major)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	if o.report == "" {
		fmt.Print(document(all))
		return nil
	}
	if err := os.WriteFile(o.report, []byte(document(all)), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func document(all []*result) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# On each PostgreSQL\n")
	p("Made by `make matrix`, %d cores, %s: the e2e suite (`./e2e/...`) and the short chaos run, with the same seed on each, on", runtime.NumCPU(), runtime.Version())
	p("servers of that major version. What is skipped is named below, with the reason.\n")
	p("| PostgreSQL | tests | passed | skipped | failed | took | chaos | took | made |\n|---|---|---|---|---|---|---|---|---|")
	parts := make(map[string][]string) // majors of which a part was run, by the command
	for _, r := range all {
		chaos, took := "not run", ""
		if r.Chaos != nil {
			chaos, took = r.Chaos.String(), r.ChaosTook.Round(time.Second).String()
		}
		p("| %s | %d | %d | %d | **%d** | %s | %s | %s | %s, %s |", r.Server, r.Tests.run(), r.Tests.Passed, r.Tests.skipped(), r.Tests.Failed,
			r.SuiteTook.Round(time.Second), cell(chaos), took, r.At.Format(time.DateOnly), r.Commit)
		if r.Command != whole {
			parts[r.Command] = append(parts[r.Command], r.Major)
		}
	}
	if absent := missing(all); len(absent) > 0 {
		p("\n**Not run**: %s.", strings.Join(absent, ", "))
	}
	for _, command := range slices.Sorted(maps.Keys(parts)) {
		p("\n**A part only**, on %s: `%s`.", strings.Join(parts[command], ", "), command)
	}
	failures(p, all)
	skips(p, all)
	return b.String()
}

func missing(all []*result) []string {
	return slices.DeleteFunc(cluster.Majors(), func(major string) bool {
		return slices.ContainsFunc(all, func(r *result) bool { return r.Major == major })
	})
}

func failures(p func(string, ...any), all []*result) {
	title := "\n## Failed\n"
	for _, r := range all {
		if len(r.Tests.Failures) > 0 {
			if title != "" {
				p("%s", title)
				title = ""
			}
			p("- %s: `%s`", r.Major, strings.Join(r.Tests.Failures, "`, `"))
		}
	}
}

// skips has a row for each test and reason; the same on several majors is one row.
func skips(p func(string, ...any), all []*result) {
	type skip struct{ test, reason string }
	on := make(map[skip][]string)
	for _, r := range all {
		for test, reason := range r.Tests.Skips {
			// Majors differ in the directory and the number that a reason names.
			s := skip{test, strings.ReplaceAll(reason, "PostgreSQL "+r.Major, "PostgreSQL …")}
			on[s] = append(on[s], r.Major)
		}
	}
	if len(on) == 0 {
		p("\nNothing was skipped.")
		return
	}
	p("\n## Skipped\n\n| test | on | reason |\n|---|---|---|")
	keys := slices.SortedFunc(maps.Keys(on), func(a, b skip) int {
		return strings.Compare(a.test+" "+a.reason, b.test+" "+b.reason)
	})
	for _, s := range keys {
		slices.Sort(on[s])
		p("| `%s` | %s | %s |", s.test, strings.Join(on[s], ", "), cell(s.reason))
	}
}

// cell is text that does not end a cell of a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
