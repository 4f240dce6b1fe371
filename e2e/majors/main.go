package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/report"
)

type options struct {
	majors   []string
	run      string
	packages string
	parallel int
	chaos    bool
	only     string
	seed     uint64
	daemon   string
	results  string
	report   string
	again    bool
}

func main() {
	var o options
	var majors string
	flag.StringVar(&majors, "majors", strings.Join(cluster.Majors(), ","), "the major versions, comma-separated; an empty list only writes the report")
	flag.StringVar(&o.run, "run", "", "only the tests that this matches, as in go test; a report says so")
	flag.StringVar(&o.packages, "packages", "./e2e/...", "the packages to test")
	flag.IntVar(&o.parallel, "parallel", 6, "as in go test")
	flag.BoolVar(&o.chaos, "chaos", true, "the short chaos run as well")
	flag.StringVar(&o.only, "only", "", "inject only faults whose name contains this")
	flag.Uint64Var(&o.seed, "seed", 4, "of the chaos run")
	flag.StringVar(&o.daemon, "daemon", "bin/awa-counterd-failpoints", "the binary of the chaos run, built with -tags failpoints")
	flag.StringVar(&o.results, "results", "tmp/majors", "where results are kept, and what tests and daemons said")
	flag.StringVar(&o.report, "report", "", "the document to write, docs/reports/postgres.md for example; standard output if empty")
	flag.BoolVar(&o.again, "again", false, "run what is kept already as well")
	flag.Parse()
	o.majors = strings.FieldsFunc(majors, func(r rune) bool { return r == ',' || r == ' ' })
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := o.runAll(ctx, o.one)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "majors: FAILED:", err)
		os.Exit(1)
	}
}

// runAll goes on with the next major when one fails, or cannot be tried. What was run of one that is broken off is kept.
func (o *options) runAll(ctx context.Context, one func(ctx context.Context, major string) (*result, error)) error {
	for _, major := range o.majors {
		if !slices.Contains(cluster.Majors(), major) {
			return fmt.Errorf("PostgreSQL %s is none of those supported: %s", major, strings.Join(cluster.Majors(), ", "))
		}
	}
	if err := os.MkdirAll(o.results, 0o755); err != nil {
		return err
	}
	var bad []error
	for _, major := range o.majors {
		if kept, err := o.load(major); err == nil && o.keeps(kept) {
			fmt.Printf("majors: PostgreSQL %s is kept from %s, commit %s\n", major, kept.At.Format(time.DateOnly), kept.Commit)
			continue
		}
		r, err := one(ctx, major)
		if ctx.Err() != nil {
			return fmt.Errorf("PostgreSQL %s: %w; what is kept is not run again by the next run", major, errors.Join(err, ctx.Err()))
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("PostgreSQL %s: %w", major, err))
			continue
		}
		fmt.Println("majors:", r.line())
		if !r.green() {
			bad = append(bad, errors.New(r.line()))
		}
	}
	return errors.Join(append(bad, o.write())...)
}

// keeps reports a result that need not be made again: green, and of all that is asked for now.
func (o *options) keeps(r *result) bool {
	return !o.again && r.green() && (r.Command == o.command() || r.Command == whole) && (r.Chaos != nil || !o.chaos)
}

// resumes reports a result whose suite need not be run again, though the chaos run is missing: of this very command and commit.
func (o *options) resumes(kept, now *result) bool {
	return !o.again && o.chaos && kept.Chaos == nil && kept.green() && kept.Command == now.Command && kept.Commit == now.Commit && kept.Server == now.Server
}

// one runs everything on one major, and keeps it part by part.
func (o *options) one(ctx context.Context, major string) (*result, error) {
	bin, err := cluster.OfMajor(ctx, major, os.Stderr)
	if err != nil {
		return nil, err
	}
	r := &result{Major: major, Command: o.command(), At: time.Now().UTC(), Commit: report.CommitBut("docs/reports")}
	if r.Server, err = cluster.Version(ctx, bin); err != nil {
		return nil, err
	}
	if kept, err := o.load(major); err == nil && o.resumes(kept, r) {
		fmt.Printf("majors: PostgreSQL %s: the suite is kept, the chaos run is missing\n", major)
		r = kept
	} else if err := timed(&r.SuiteTook, func() error { return o.suite(ctx, r) }); err != nil {
		return nil, err
	} else if err := o.save(r); err != nil {
		return nil, err
	}
	if !o.chaos {
		return r, nil
	}
	if err := timed(&r.ChaosTook, func() error { return o.chaotic(ctx, r) }); err != nil {
		return nil, err
	}
	return r, o.save(r)
}

// timed does something, and notes how long it took.
func timed(took *time.Duration, do func() error) error {
	began := time.Now()
	err := do()
	*took = time.Since(began)
	return err
}

// whole is the command that leaves nothing out.
const whole = "make matrix"

// command is what does the same again.
func (o *options) command() string {
	parts := []string{"go run ./e2e/majors"}
	add := func(yes bool, format string, args ...any) {
		if yes {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(o.run != "", "-run '%s'", o.run)
	add(o.packages != "./e2e/...", "-packages %s", o.packages)
	add(!o.chaos, "-chaos=false")
	add(o.only != "", "-only '%s'", o.only)
	add(o.seed != 4, "-seed %d", o.seed)
	if len(parts) == 1 {
		return whole
	}
	return strings.Join(parts, " ")
}

// environ asks everything below us for a server of that major.
func environ(major string) []string {
	return append(os.Environ(), cluster.MajorVariable+"="+major)
}

func (o *options) file(major, kind string) string {
	return filepath.Join(o.results, major+kind)
}
