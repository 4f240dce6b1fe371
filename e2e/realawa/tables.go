package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
)

type printer func(format string, args ...any)

// pair is what the cells of two releases add up to.
type pair struct {
	old, new string
	cells    []cell
}

func pairs(cells []cell) (all []pair) {
	for _, c := range cells {
		if c.Control.Impossible != "" {
			continue
		}
		if n := len(all); n == 0 || all[n-1].old != c.Plan.Old || all[n-1].new != c.Plan.New {
			all = append(all, pair{old: c.Plan.Old, new: c.Plan.New})
		}
		all[len(all)-1].cells = append(all[len(all)-1].cells, c)
	}
	return all
}

// add sums something up over both halves of the cells.
func (p *pair) add(what func(r *result) int64) (without, with int64) {
	for _, c := range p.cells {
		without += what(c.Control)
		with += what(c.With)
	}
	return without, with
}

// openTable says what a cell has against it.
func openTable(p printer, cells []cell) {
	title := "\n## Not right\n\n"
	for _, c := range cells {
		if c.With == nil {
			continue
		}
		for _, problem := range append(append([]string(nil), c.Control.Problems...), c.With.Problems...) {
			p("%s- %s: %s (`%s`)", title, c.Plan.name(), problem, c.Plan.replay())
			title = ""
		}
	}
}

func prunesTable(p printer, cells []cell) {
	p("\n## Prunes, folds and the ledger, without awa-counterd and with it\n\nSums over the rows of a pair above. *In the way*: failed prunes by a new leader while a session of the daemon's was seen to block it, and samples (one in %s)", waitsEvery)
	p("in which any session of awa's waited for one of the daemon's. *Snapshot*: samples in which a session of the daemon's held one; up to 0.6.9, a fold that finds one gives way.\n")
	p("| old | new | prunes that failed: old leaders | new leaders | prunes made | in the way | folds made | turns of the ring with old and new workers | pending ledger rows (p95, worst cell) | snapshot |\n|---|---|---|---|---|---|---|---|---|---|")
	for _, r := range pairs(cells) {
		fo, fow := r.add(func(x *result) int64 { return int64(x.Prunes.FailedOld) })
		fn, fnw := r.add(func(x *result) int64 { return int64(x.Prunes.FailedNew) })
		made, madeW := r.add(func(x *result) int64 { return x.Stream.OldPrunes + x.Stream.NewPrunes })
		_, way := r.add(func(x *result) int64 { return int64(x.Prunes.WeBlocked) })
		_, waited := r.add(func(x *result) int64 { return int64(x.Prunes.Waits) })
		folds, foldsW := r.add(func(x *result) int64 { return x.Stream.Folds })
		_, looks := r.add(func(x *result) int64 { return int64(x.Prunes.Looks) })
		_, pinned := r.add(func(x *result) int64 { return int64(x.Prunes.Pinned) })
		var laps, lapsW float64
		var pending, pendingW int64
		for _, c := range r.cells {
			laps, lapsW = laps+c.Control.MixLaps, lapsW+c.With.MixLaps
			pending, pendingW = max(pending, c.Control.Watch.Pending), max(pendingW, c.With.Watch.Pending)
		}
		p("| %s | %s | %d, %d | %d, %d | %d, %d | **%d**; %d of %s | %d, %d | %.1f, %.1f | %s, %s | %.1f %% |", r.old, r.new, fo, fow, fn, fnw, made, madeW, way, waited,
			humanize.Comma(looks), folds, foldsW, laps, lapsW, humanize.Comma(pending), humanize.Comma(pendingW), 100*float64(pinned)/float64(max(1, looks)))
	}
}

func naiveTable(p printer, cells []cell) {
	p("\n## What +1 and −1 would have come to\n\nA simpler consumer of the same stream begins with a right count, adds 1 for each row inserted, and takes 1 away for each row deleted. *Wrong by,")
	p("alone*: the sum over all queues of its errors when all is quiet. *On top of awa's*: the same, if it added its counts to awa's counters.")
	p("The worst row of each pair.\n")
	p("| old | new | prunes that it cannot see | wrong by, alone | wrong by, on top of awa's |\n|---|---|---|---|---|")
	for _, r := range pairs(cells) {
		var made, alone, onTop int64
		for _, c := range r.cells {
			made = max(made, c.Control.Stream.OldPrunes+c.Control.Stream.NewPrunes)
			alone, onTop = max(alone, c.Control.Naive), max(onTop, c.Control.Doubled)
		}
		p("| %s | %s | %d | %s | %s |", r.old, r.new, made, humanize.Comma(alone), humanize.Comma(onTop))
	}
}

// kindsTable names awa's own troubles, so that nobody blames them on us.
func kindsTable(p printer, cells []cell) {
	p("\n## Errors of awa's workers by kind\n\nFrom the server's log, failed prunes left out, summed over the rows of a pair: without awa-counterd, with it. N stands for what differs from one message to the next.\n")
	p("| old | new | jobs | kind | without | with |\n|---|---|---|---|---|---|")
	for _, r := range pairs(cells) {
		jobs, jobsW := r.add(func(x *result) int64 { return int64(x.jobs()) })
		without, with := make(map[string]int), make(map[string]int)
		for _, c := range r.cells {
			sum(without, c.Control.Errors)
			sum(with, c.With.Errors)
		}
		both := maps.Clone(without)
		sum(both, with)
		for _, kind := range mostOf(both, 8) {
			p("| %s | %s | %s, %s | %s | %d | %d |", r.old, r.new, humanize.Comma(jobs), humanize.Comma(jobsW), strings.ReplaceAll(kind, "|", `\|`), without[kind], with[kind])
		}
	}
}

// manyCases is from how many cases on, in both halves of all runs, a kind of errors is compared.
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

// risen says which of the kinds of errors that are frequent enough to be compared has risen most, by medians, and which are new.
func risen(cells []cell, all map[string]int) string {
	most, worst, fresh := 0.0, "", []string(nil)
	for _, kind := range mostOf(all, len(all)) {
		without := 0
		for _, c := range cells {
			without += c.Control.Errors[kind]
		}
		if without == 0 {
			fresh = append(fresh, fmt.Sprintf("%s (%d)", kind, all[kind]))
		}
		if all[kind] < manyCases {
			continue
		}
		before, after := medians(cells, func(r *result) float64 { return r.per1000(r.Errors[kind]) })
		by := after/before - 1
		if before == 0 && after > 0 {
			by = math.Inf(1)
		}
		if by > most {
			most, worst = by, kind
		}
	}
	text := fmt.Sprintf("\nNo kind with %d cases or more rose", manyCases)
	switch {
	case math.IsInf(most, 1):
		text = fmt.Sprintf("\nOf the kinds with %d cases or more, `%s` rose most, from a median of 0", manyCases, worst)
	case worst != "":
		text = fmt.Sprintf("\nOf the kinds with %d cases or more, `%s` rose most, by %.0f %%", manyCases, worst, 100*most)
	}
	if len(fresh) == 0 {
		return text + ". No kind came with awa-counterd only."
	}
	return text + ". With awa-counterd only came: " + strings.Join(fresh, "; ") + "."
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

// errorsTable is -part errors: the medians of paired runs.
func errorsTable(p printer, cells []cell) {
	p("\n## Errors, in paired runs\n\nThe same pair %d times with other seeds: medians of errors per 1,000 jobs, and figures of the ledger and its folds.%s\n", len(cells), audited(cells))
	p("| kind | without | with | times, without | with |\n|---|---|---|---|---|")
	all := make(map[string]int)
	for _, c := range cells {
		sum(all, c.Control.Errors)
		sum(all, c.With.Errors)
	}
	times := func(of func(r *result) int) (without, with int) {
		for _, c := range cells {
			without, with = without+of(c.Control), with+of(c.With)
		}
		return without, with
	}
	figure := func(name, format string, of func(r *result) float64, more ...string) {
		without, with := medians(cells, of)
		p("| %s | "+format+" | "+format+" | %s |", name, without, with, strings.Join(append(more, "", "")[:2], " | "))
	}
	line := func(kind string, of func(r *result) int) {
		without, with := times(of)
		figure(kind, "%.2f", func(r *result) float64 { return r.per1000(of(r)) }, fmt.Sprint(without), fmt.Sprint(with))
	}
	line("all", func(r *result) int { return r.failures() })
	line("failed prunes of old leaders", func(r *result) int { return r.Prunes.FailedOld })
	line("failed prunes of new leaders", func(r *result) int { return r.Prunes.FailedNew })
	for _, kind := range mostOf(all, 8) {
		line(kind, func(r *result) int { return r.Errors[kind] })
	}
	figure("jobs handled", "%.0f", func(r *result) float64 { return float64(r.jobs()) })
	line("folds made", func(r *result) int { return int(r.Stream.Folds) })
	figure("samples in which a fold would be skipped because of somebody's snapshot", "%.1f %%", func(r *result) float64 {
		return 100 * float64(r.Prunes.Horizon) / float64(max(1, r.Prunes.Looks))
	})
	figure("ledger rows pending, p95", "%.0f", func(r *result) float64 { return float64(r.Watch.Pending) })
	p("%s", risen(cells, all))
}
