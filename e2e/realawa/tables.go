package main

import (
	"fmt"
	"maps"
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

// openTable says what a cell has against it. Of a long run that this machine has not tried, what was said stays with its row.
func openTable(p printer, cells []cell, before former) {
	var lines []string
	for line := range strings.Lines(before.section("Not right")) {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "- "), ":")
		long := strings.HasPrefix(name, "long-") || strings.HasPrefix(name, "pair20000-")
		if long && !slices.ContainsFunc(cells, func(c cell) bool { return c.Plan.name() == name }) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	for _, c := range cells {
		problems := slices.Clone(c.Control.Problems)
		if c.With != nil {
			problems = append(problems, c.With.Problems...)
		}
		for _, problem := range problems {
			lines = append(lines, fmt.Sprintf("- %s: %s (`%s`)", c.Plan.name(), problem, c.Plan.replay()))
		}
	}
	if len(lines) > 0 {
		p("\n## Not right\n\n%s", strings.Join(lines, "\n"))
	}
}

func prunesTable(p printer, cells []cell) {
	p("\n## Prunes, folds and the ledger, without awa-counterd and with it\n\nSums over the rows of a pair above. *In the way*: failed prunes by a new leader behind a session of the daemon's, and samples (one in %s)", waitsEvery)
	p("in which any session of awa's waited for one of the daemon's. A prune counts when a sample saw that, or when, by the server's log, which has the time of each")
	p("statement of the daemon's, one was at work on the leaf or on counter rows when the prune began to wait. *Snapshot*: samples in which a session of the daemon's held one; up to 0.6.9, a fold that finds one gives way.\n")
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
		p("| %s | %s | %d, %d | %d, %d | %d, %d | **%d**%s; %d of %s | %d, %d | %.1f, %.1f | %s, %s | %.1f %% |", r.old, r.new, fo, fow, fn, fnw, made, madeW, way, r.logged(), waited,
			humanize.Comma(looks), folds, foldsW, laps, lapsW, humanize.Comma(pending), humanize.Comma(pendingW), 100*float64(pinned)/float64(max(1, looks)))
	}
}

// logged says where the server's log was not asked who was in the way of a prune.
func (p *pair) logged() string {
	if slices.ContainsFunc(p.cells, func(c cell) bool { return !c.With.Prunes.Logged }) {
		return " by samples alone"
	}
	return ""
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
