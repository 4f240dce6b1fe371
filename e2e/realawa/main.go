package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/awa-counterd/awa-counterd/e2e/wheels"
)

type options struct {
	selection
	parts   string
	daemon  string
	results string
	report  string
	only    string
	again   bool
	patient bool
	logs    string
	lanes   int
	times   int
	pace    float64
	skip    bool
}

func main() {
	o := options{}
	var old, release, leads, rings string
	flag.StringVar(&o.parts, "part", "pairs", "what to try, comma-separated: pairs, short, pair20000, long, errors, migrate; none: only write the report")
	flag.StringVar(&old, "old", "", "only these old releases")
	flag.StringVar(&release, "new", "", "only these new releases")
	flag.StringVar(&leads, "leads", "", "only with this side leading: old, new")
	flag.StringVar(&rings, "ring", "", "only with a ring that: turns, stands")
	flag.Uint64Var(&o.seed, "seed", 1, "the schedule")
	flag.StringVar(&o.daemon, "daemon", "bin/awa-counterd", "the binary")
	flag.StringVar(&o.results, "results", "tmp/realawa", "where finished cells are kept")
	flag.StringVar(&o.report, "report", "", "the document to write, docs/reports/compatibility.md for example")
	flag.StringVar(&o.only, "only", "", "try only this half of a cell, or of the migrations: control, with")
	flag.BoolVar(&o.again, "again", false, "try again what is there already")
	flag.IntVar(&o.lanes, "lanes", 1, "cells of part pairs at once; each takes a core")
	flag.BoolVar(&o.patient, "patient", false, "wait until awa itself takes the old runtimes for gone, instead of ageing their rows")
	flag.StringVar(&o.logs, "logs", "", "keep the logs of servers and daemons in this directory")
	flag.BoolVar(&o.skip, "may-skip", false, "when a release cannot be installed, say so and succeed")
	flag.Float64Var(&o.pace, "pace", 20, "of -part migrate: how many times less often than elsewhere the workers do anything")
	flag.IntVar(&o.times, "times", 20, "migrations of -part migrate")
	flag.Parse()
	o.old, o.new, o.leads, o.rings = list(old), list(release), list(leads), list(rings)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if absent, ok := errors.AsType[*wheels.AbsentError](err); ok && o.skip {
		fmt.Println("realawa: SKIPPED:", absent)
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "realawa: FAILED:", err)
		os.Exit(1)
	}
}

func list(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

func run(ctx context.Context, o options) error {
	v, err := wheels.Default()
	if err != nil {
		return err
	}
	if o.logs != "" {
		if err := os.MkdirAll(o.logs, 0o755); err != nil {
			return fmt.Errorf("-logs: %w", err)
		}
	}
	var bad []error
	for _, part := range list(o.parts) {
		if part == "none" {
			continue
		}
		if part == "migrate" {
			bad = append(bad, o.migrations(ctx, v))
			continue
		}
		o.part = part
		plans, err := o.plans()
		if err != nil {
			return err
		}
		bad = append(bad, o.tryCells(ctx, v, plans))
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if slices.Contains(strings.Split(o.parts, ","), "errors") {
		bad = append(bad, store(o.results).errorsKept(o.rings))
	}
	if o.report != "" {
		bad = append(bad, writeReport(store(o.results), o.report))
	}
	return errors.Join(bad...)
}

// tryCells tries some of them side by side. Releases are installed one after the other.
func (o *options) tryCells(ctx context.Context, v wheels.Dir, plans []plan) error {
	bad := make([]error, len(plans))
	var lanes errgroup.Group
	lanes.SetLimit(1)
	if o.part == "pairs" {
		lanes.SetLimit(max(1, o.lanes))
	}
	for i := range plans {
		if ctx.Err() != nil {
			break
		}
		p := &plans[i]
		if bad[i] = errors.Join(v.Obtain(ctx, p.Old), v.Obtain(ctx, p.New)); bad[i] != nil {
			continue
		}
		lanes.Go(func() error {
			bad[i] = o.tryCell(ctx, v, p)
			return nil
		})
	}
	_ = lanes.Wait()
	return errors.Join(bad...)
}

// tryCell tries what is missing of a cell. A problem of a trial is kept with it and said again every time.
func (o *options) tryCell(ctx context.Context, v wheels.Dir, p *plan) error {
	s := store(o.results)
	c := cell{}
	if !o.again {
		if err := s.load(p.name(), &c); err != nil {
			return err
		}
	}
	commit, err := released(ctx, o.daemon)
	if err != nil {
		return err
	}
	c.keeps(p, commit)
	halves := []struct {
		name, binary string
		into         **result
	}{{"control", "", &c.Control}, {"with", o.daemon, &c.With}}
	if p.withFirst() {
		slices.Reverse(halves)
	}
	var bad []error
	for _, h := range halves {
		if o.only != "" && o.only != h.name || c.Control != nil && c.Control.Impossible != "" {
			continue
		}
		if *h.into == nil {
			began := time.Now()
			r, err := try(ctx, p, v, h.binary, o)
			if err != nil {
				return fmt.Errorf("%s: %w\nreplay: %s", h.name, err, p.replay())
			}
			r.weigh(p, c.Control)
			*h.into = r
			if err := s.save(p.name(), &c); err != nil {
				return err
			}
			fmt.Printf("%s %s: %s\n", p.name(), h.name, r.line(time.Since(began)))
		}
		(*h.into).weigh(p, c.Control)
		for _, problem := range (*h.into).Problems {
			bad = append(bad, fmt.Errorf("%s %s: %s\nreplay: %s", p.name(), h.name, problem, p.replay()))
		}
	}
	return errors.Join(bad...)
}

// keeps leaves what is of this plan and of this product. Halves that are compared with one another are made one after the other.
func (c *cell) keeps(p *plan, commit string) {
	if c.Plan != *p { // kept from when it was another trial
		*c = cell{}
	}
	c.Plan = *p
	if c.With != nil && c.With.Commit != commit {
		c.With = nil
		if p.Part == "errors" {
			c.Control = nil
		}
	}
}

// line is a trial in one line, for those who watch.
func (r *result) line(took time.Duration) string {
	if r.Impossible != "" {
		return r.Impossible
	}
	text := fmt.Sprintf("%s; migrate %d× %s; %d jobs, %d rows uncounted; quiet: %d of %d groups wrong by %d; laps %.1f, then %.1f, operators on %d jobs: %d wrong; lying %.1f s; naive off by %d, doubled %d; errors %d, failed prunes %d+%d, folds %d, pending p95 %d",
		took.Round(time.Second), r.Migrate.Attempts, r.Migrate.Fleet, r.jobs(), r.Stream.RowsUncounted, r.Stopped.Wrong, r.Stopped.Groups, r.Stopped.Jobs,
		r.MixLaps, r.Laps, r.acted(), r.TwoLaps.Wrong, r.Watch.Lying, r.Naive, r.Doubled, r.failures(), r.Prunes.FailedOld, r.Prunes.FailedNew, r.Stream.Folds, r.Watch.Pending)
	if s := r.Daemon; s != nil {
		text += fmt.Sprintf("; killed %d×, %d dishonest, %.1f s in windows, oldest %.2f s, finish %d", s.Kills, r.Watch.Dishonest, r.Watch.Excused, r.Watch.Oldest, s.Finish)
	}
	return text
}
