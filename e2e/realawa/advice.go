package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// answer is what doctor or status said at a point of the upgrade.
type answer struct {
	Command string   `json:"command"`
	Point   string   `json:"point"`
	Exit    int      `json:"exit"`
	Unmet   []string `json:"unmet,omitempty"` // doctor: the checks that were not met
	Next    string   `json:"next,omitempty"`  // status: its last line
	Named   []string `json:"named,omitempty"` // status: queues with uncounted writes of kind rows within the quiet period
	Never   []string `json:"never,omitempty"` // of these, those on which the test's own slot has seen none
}

// The points at which an operator asks.
const (
	deployed  = "before the migration"
	together  = "side by side"
	lastOld   = "with one old worker left"
	departed  = "with the old workers gone"
	finishing = "before finish"
)

const (
	unmigrated = "awa's tables" // the one check of doctor's that is not met before awa's migration
	writing    = "pre-#290 writers still active on queue "
	pruning    = "a pre-#290 worker did awa's maintenance"
	safe       = "safe to finish"
)

const (
	namesWithin = 10 * time.Second // an old worker writes something at least
	safeWithin  = 30 * time.Second
)

// names reports that status told of an old binary, by what it wrote: rows on the queues that it names, or a prune.
func (a *answer) names() bool {
	if list, ok := strings.CutPrefix(a.Next, writing); ok {
		list, _, _ = strings.Cut(list, ";")
		return len(a.Named) > 0 && list == strings.Join(a.Named, ", ")
	}
	return strings.HasPrefix(a.Next, pruning)
}

// advised lists what the answers of a trial have against them.
func advised(all []answer) (problems []string) {
	say := func(bad bool, format string, args ...any) {
		if bad {
			problems = append(problems, fmt.Sprintf(format, args...))
		}
	}
	for i := range all {
		a := &all[i]
		say(a.Command == "status" && a.Exit != 0, "status exited %d %s: %s", a.Exit, a.Point, a.Next)
		say(len(a.Never) > 0, "status named %s %s, where no old binary wrote", strings.Join(a.Never, ", "), a.Point)
	}
	find := func(command, point string) *answer {
		if i := slices.IndexFunc(all, func(a answer) bool { return a.Command == command && a.Point == point }); i >= 0 {
			return &all[i]
		}
		return &answer{Exit: -1, Next: "nobody asked"}
	}
	if a := find("doctor", deployed); a.Exit != 3 || !slices.Equal(a.Unmet, []string{unmigrated}) {
		say(true, "doctor exited %d %s, not met: %s; it has to be %s alone", a.Exit, deployed, orNone(a.Unmet), unmigrated)
	}
	a := find("doctor", together)
	say(a.Exit != 0, "doctor exited %d %s, not met: %s", a.Exit, together, orNone(a.Unmet))
	for _, point := range []string{together, lastOld} {
		a := find("status", point)
		say(!a.names(), "status told of no old binary %s: %s", point, a.Next)
	}
	a = find("status", finishing)
	say(!strings.HasPrefix(a.Next, safe), "status did not say within %s that it is safe to finish: %s", safeWithin, a.Next)
	return problems
}

func orNone(what []string) string {
	if len(what) == 0 {
		return "none"
	}
	return strings.Join(what, ", ")
}

// pardoned are refusals of finish after which docs/what-if.md says to run it again although every old binary is gone: awa's first new
// leader folded at that moment, and dropped what an old one had left.
var pardoned = []string{"became wrong when the daemons had left", "changes of another generation"}

// finished lists what the tries of finish have against them.
func (s *daemonResult) finished() (problems []string) {
	if s.Finish != 0 {
		problems = append(problems, fmt.Sprintf("finish exited %d: %s", s.Finish, s.Said))
	}
	for _, said := range s.Refused {
		if s.Finish != 0 && said == s.Said || slices.ContainsFunc(pardoned, func(text string) bool { return strings.Contains(said, text) }) {
			continue
		}
		problems = append(problems, "finish had to be run again for a reason that the docs do not give: "+said)
	}
	if n := len(s.Refused); s.Tries > 1 && n < s.Tries-1 {
		problems = append(problems, fmt.Sprintf("finish was run %d times, and the reason is known of %d", s.Tries, n))
	}
	return problems
}

// doctor is what it finds.
func (d *daemon) doctor(ctx context.Context, point string) answer {
	code, out, errs := d.command(ctx, "doctor", "--json")
	a := answer{Command: "doctor", Point: point, Exit: code}
	var found struct {
		Checks []struct {
			Name    string `json:"check"`
			Verdict string `json:"verdict"`
		} `json:"checks"`
	}
	if json.Unmarshal([]byte(out), &found) != nil {
		a.Unmet = []string{lastLine(errs)}
		return a
	}
	for _, c := range found.Checks {
		if c.Verdict != "ok" {
			a.Unmet = append(a.Unmet, c.Name)
		}
	}
	return a
}

// status is what an operator reads: the next step, and the queues that old binaries wrote within quiet, newest first.
func (d *daemon) status(ctx context.Context, point string, quiet time.Duration) answer {
	code, out, errs := d.command(ctx, "status", "--json", "--quiet-period", quiet.String())
	a := answer{Command: "status", Point: point, Exit: code}
	var s struct {
		Next      string `json:"next_step"`
		Uncounted []struct {
			Queue string  `json:"queue"`
			Kind  string  `json:"kind"`
			Last  float64 `json:"last_ago"`
		} `json:"uncounted_writes"`
	}
	if code != 0 || json.Unmarshal([]byte(out), &s) != nil {
		a.Next = lastLine(errs)
		return a
	}
	a.Next = s.Next
	for _, u := range s.Uncounted {
		if u.Kind == "rows" && u.Last < quiet.Seconds() && !slices.Contains(a.Named, u.Queue) {
			a.Named = append(a.Named, u.Queue)
		}
	}
	return a
}

// asking is about how long it takes to ask, which a control waits for, so that errors compare.
const asking = 300 * time.Millisecond

// ask asks status until it says what is expected, or time is up, and keeps the last answer.
func (tr *trial) ask(ctx context.Context, point string, within time.Duration, expected func(*answer) bool) {
	if tr.daemon == nil {
		_ = pause(ctx, asking) // who goes on is told that time is up
		return
	}
	var a answer
	_ = tr.until(ctx, within, func() (bool, error) {
		a = tr.daemon.status(ctx, point, quiet)
		return expected(&a), nil
	})
	for _, q := range a.Named {
		if !tr.stream.wrote(q) {
			a.Never = append(a.Never, q)
		}
	}
	tr.res.Daemon.Asked = append(tr.res.Daemon.Asked, a)
}

// examine asks doctor.
func (tr *trial) examine(ctx context.Context, point string) {
	if tr.daemon != nil {
		tr.res.Daemon.Asked = append(tr.res.Daemon.Asked, tr.daemon.doctor(ctx, point))
	}
}
