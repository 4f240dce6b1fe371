package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// manyCases is from how many cases on, in all runs without the daemon or in all runs with it, a kind of errors is compared.
const manyCases = 20

// medians are those of a figure over the runs without awa-counterd, and over those with it.
func medians(cells []cell, of func(r *result) float64) (without, with float64) {
	var a, b []float64
	for _, c := range cells {
		a, b = append(a, of(c.Control)), append(b, of(c.With))
	}
	slices.Sort(a)
	slices.Sort(b)
	return a[len(a)/2], b[len(b)/2]
}

// killedWorker ends what the server logs of a session whose worker the test has killed, when it next writes to it: whether it does is
// a matter of the moment, and no error of awa's. The table has it, and nothing is concluded from it.
const killedWorker = "connection to client lost"

func ofKilledWorker(kind string) bool { return strings.HasSuffix(kind, killedWorker) }

// rise is what became of errors beside the daemon.
type rise struct {
	worst string   // the kind that rose most, of those that are frequent enough to be compared; "": none rose
	by    float64  // by how much of its median without the daemon; infinite where that is 0
	fresh []string // kinds that came with the daemon only, and how often
	known []string // those of them that awa has without it elsewhere
}

// times sums a figure over the runs without awa-counterd, and over those with it.
func times(cells []cell, of func(r *result) int) (without, with int) {
	for _, c := range cells {
		without, with = without+of(c.Control), with+of(c.With)
	}
	return without, with
}

// failedNew is a kind that paired runs say little of, however long they are: old workers lead in them, so it comes in the half minute after
// these have left, and mostly after finish. What becomes of it newPrunes tells.
const failedNew = "failed prunes of new leaders"

// share is of prunes that were tried.
type share struct{ failed, tried int64 }

func (s share) percent() float64 { return 100 * float64(s.failed) / float64(max(1, s.tried)) }

// newPrunes are those of new leaders, in all trials of the same product as these, whatever they were for.
func newPrunes(cells, every []cell) (without, with share) {
	for _, c := range every {
		if c.With == nil || c.With.Commit != cells[0].With.Commit {
			continue
		}
		for s, r := range map[*share]*result{&without: c.Control, &with: c.With} {
			s.failed += int64(r.Prunes.FailedNew)
			s.tried += int64(r.Prunes.FailedNew) + r.Stream.NewPrunes
		}
	}
	return without, with
}

// overall is how often a kind came by the job in all runs together.
func overall(cells []cell, kind string) (without, with float64) {
	jobs, jobsWith := times(cells, (*result).jobs)
	n, nWith := times(cells, func(r *result) int { return r.kinds()[kind] })
	return float64(n) / float64(max(1, jobs)), float64(nWith) / float64(max(1, jobsWith))
}

// rose is by how much of the former figure the latter is higher.
func rose(before, after float64) float64 {
	switch {
	case after <= before:
		return 0
	case before == 0:
		return math.Inf(1)
	}
	return after/before - 1
}

// compare compares the halves of paired runs. A kind that comes in one of few runs comes in either half by chance: it is new if no trial
// without the daemon has it, whatever it was for.
func compare(cells, every []cell) (r rise) {
	all := kindsOf(cells)
	awas := make(map[string]bool)
	for _, c := range every {
		for kind := range c.Control.kinds() {
			awas[kind] = true
		}
	}
	for _, kind := range mostOf(all, len(all)) {
		if ofKilledWorker(kind) {
			continue
		}
		without, with := times(cells, func(r *result) int { return r.kinds()[kind] })
		if said := fmt.Sprintf("%s (%d)", kind, all[kind]); without == 0 && awas[kind] && all[kind] < manyCases {
			r.known = append(r.known, said)
		} else if without == 0 {
			r.fresh = append(r.fresh, said)
		}
		if max(without, with) < manyCases || kind == failedNew {
			continue
		}
		before, after := medians(cells, func(r *result) float64 { return r.per1000(r.kinds()[kind]) })
		by := rose(before, after)
		if before == 0 && after == 0 { // most runs have none of it
			by = rose(overall(cells, kind))
		}
		if by > r.by {
			r.by, r.worst = by, kind
		}
	}
	return r
}

// kindsOf sums the errors of both halves.
func kindsOf(cells []cell) map[string]int {
	all := make(map[string]int)
	for _, c := range cells {
		sum(all, c.Control.kinds())
		sum(all, c.With.kinds())
	}
	return all
}

// kinds are the errors of awa's workers, failed prunes among them.
func (r *result) kinds() map[string]int {
	all := make(map[string]int, len(r.Errors)+2)
	sum(all, r.Errors)
	for kind, n := range map[string]int{"failed prunes of old leaders": r.Prunes.FailedOld, failedNew: r.Prunes.FailedNew} {
		if n > 0 {
			all[kind] = n
		}
	}
	return all
}

func (r rise) String() string {
	text := fmt.Sprintf("No kind with %d cases or more in either half rose", manyCases)
	switch {
	case math.IsInf(r.by, 1):
		text = fmt.Sprintf("Of the kinds with %d cases or more in either half, `%s` rose most, from a median of 0", manyCases, r.worst)
	case r.worst != "":
		text = fmt.Sprintf("Of the kinds with %d cases or more in either half, `%s` rose most, by %.0f %%", manyCases, r.worst, 100*r.by)
	}
	if len(r.fresh) == 0 {
		text += ". No kind came with awa-counterd only."
	} else {
		text += ". With awa-counterd only came: " + strings.Join(r.fresh, "; ") + "."
	}
	if len(r.known) > 0 {
		text += " In these runs with it only, and elsewhere without it as well: " + strings.Join(r.known, "; ") + "."
	}
	return text
}

// Bounds of what may become of awa's workers beside the daemon.
const (
	mostRise  = 0.5 // of a frequent kind of errors
	mostTimes = 1.2 // the ledger rows that are pending, and the folds that are skipped
)

func pendingRows(r *result) float64 { return float64(r.Watch.Pending) }

// skipped is of the looks at which somebody had a snapshot, without the test's own sessions where they were told apart: these are there in
// both halves, and would make any ratio look better than it is.
func skipped(r *result) float64 {
	n := r.Prunes.Horizon
	if r.Prunes.Others != nil {
		n = *r.Prunes.Others
	}
	return 100 * float64(n) / float64(max(1, r.Prunes.Looks))
}

// told reports that the test's own sessions were told apart in all of them.
func told(cells []cell) bool {
	return !slices.ContainsFunc(cells, func(c cell) bool { return c.Control.Prunes.Others == nil || c.With.Prunes.Others == nil })
}

// beyond lists what paired runs have against the daemon.
func beyond(cells, every []cell) (problems []string) {
	r := compare(cells, every)
	if r.by >= mostRise || len(r.fresh) > 0 {
		problems = append(problems, r.String())
	}
	for name, of := range map[string]func(*result) float64{"ledger rows pending": pendingRows, "samples in which a fold would be skipped": skipped} {
		if without, with := medians(cells, of); with > mostTimes*without {
			problems = append(problems, fmt.Sprintf("%s: a median of %.1f without awa-counterd, %.1f with it", name, without, with))
		}
	}
	if without, with := newPrunes(cells, every); without.failed+with.failed >= manyCases && rose(without.percent(), with.percent()) >= mostRise {
		problems = append(problems, fmt.Sprintf("of the prunes that new leaders tried %.1f %% failed without awa-counterd, %.1f %% with it", without.percent(), with.percent()))
	}
	slices.Sort(problems)
	return problems
}

// audited says how often the daemon audited, where that is one answer.
func audited(cells []cell) string {
	for _, c := range cells {
		if c.Plan.Audit != cells[0].Plan.Audit || c.Plan.Audit == 0 {
			return ""
		}
	}
	return fmt.Sprintf(" The daemon\ncompared all counters with a scan every %s.", cells[0].Plan.Audit)
}

// paired are the runs of -part errors with such a ring, of the product that was tried last, and as long as they are today.
func paired(cells []cell, ring string) (some []cell) {
	var last cell
	for _, c := range cells {
		if c.Plan.Part == "errors" && c.Plan.Ring == ring && c.Plan.Mix == pairedMix {
			some = append(some, c)
			if last.With == nil || c.With.At.After(last.With.At) {
				last = c
			}
		}
	}
	return slices.DeleteFunc(some, func(c cell) bool { return c.With.Commit != last.With.Commit })
}

// errorsTable is -part errors: the medians of paired runs, beside a ring that turns and beside one that stands.
func errorsTable(p printer, cells, every []cell) {
	p("\n## Errors, in paired runs\n\nThe same pair again and again with other seeds: medians of errors per 1,000 jobs, and figures of the ledger and its folds.%s", audited(cells))
	for _, ring := range []string{turns, stands} {
		some := paired(cells, ring)
		if len(some) == 0 {
			p("\nBeside a ring that %s they were not measured.", ring)
			continue
		}
		p("\n### A ring that %s, %d runs of %s\n", ring, len(some), pairedMix)
		errorsRows(p, some)
		p("\nMade %s.", some[len(some)-1].made())
		without, with := newPrunes(some, every)
		p("\n%s%s come in the half minute after the last old worker has left, so these runs say little of them. In all trials of this product that are kept,\n%d of %d prunes that they tried failed without awa-counterd (%.1f %%), and %d of %d with it (%.1f %%).",
			strings.ToUpper(failedNew[:1]), failedNew[1:], without.failed, without.tried, without.percent(), with.failed, with.tried, with.percent())
		if slices.ContainsFunc(slices.Collect(maps.Keys(kindsOf(some))), ofKilledWorker) {
			p("\n`%s` is what the server says of some sessions of workers that the test kills, in either half.", killedWorker)
		}
		problems, said := beyond(some, every), compare(some, every).String()
		if !slices.Contains(problems, said) {
			p("\n%s", said)
		}
		for _, problem := range problems {
			p("\n**Not kept**: %s", problem)
		}
	}
}

func errorsRows(p printer, cells []cell) {
	p("| kind | without | with | times, without | with |\n|---|---|---|---|---|")
	all := kindsOf(cells)
	figure := func(name, format string, of func(r *result) float64, more ...string) {
		without, with := medians(cells, of)
		p("| %s | "+format+" | "+format+" | %s |", name, without, with, strings.Join(append(more, "", "")[:2], " | "))
	}
	line := func(kind string, of func(r *result) int) {
		without, with := times(cells, of)
		figure(kind, "%.2f", func(r *result) float64 { return r.per1000(of(r)) }, fmt.Sprint(without), fmt.Sprint(with))
	}
	line("all, failed prunes left out", func(r *result) int { return r.failures() })
	for _, kind := range mostOf(all, 10) {
		line(kind, func(r *result) int { return r.kinds()[kind] })
	}
	figure("jobs handled", "%.0f", func(r *result) float64 { return float64(r.jobs()) })
	line("folds made", func(r *result) int { return int(r.Stream.Folds) })
	name := "samples in which a fold would be skipped because of somebody's snapshot"
	if told(cells) {
		name += ", the test's own sessions left out"
	}
	figure(name, "%.1f %%", skipped)
	figure("ledger rows pending, p95", "%.0f", pendingRows)
}

// errorsKept is an error where paired runs of one kind of ring are missing, or have something against the daemon.
func (s store) errorsKept(rings []string) error {
	cells, err := s.all()
	if err != nil {
		return err
	}
	var bad []error
	for _, ring := range []string{turns, stands} {
		if !chosen(rings, ring) {
			continue
		}
		some := paired(cells, ring)
		if len(some) < pairedRuns {
			bad = append(bad, fmt.Errorf("errors beside a ring that %s: only %d of %d paired runs of one commit are kept", ring, len(some), pairedRuns))
			continue
		}
		for _, problem := range beyond(some, cells) {
			bad = append(bad, fmt.Errorf("errors beside a ring that %s: %s", ring, problem))
		}
	}
	return errors.Join(bad...)
}
