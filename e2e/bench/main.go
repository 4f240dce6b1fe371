package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == plainLoop { // the peer of that name is this program itself
		exit(runLoop(context.Background(), os.Args[2:]))
	}
	var names []string
	for _, p := range parts() {
		names = append(names, p.name)
	}
	l := &lab{}
	o := orders{}
	flag.StringVar(&l.daemon, "daemon", "bin/awa-counterd", "the binary to measure")
	flag.StringVar(&o.parts, "part", "all", "what to measure: all, or some of "+strings.Join(names, ","))
	flag.IntVar(&o.rounds, "rounds", -1, "rounds of each part, with those that are kept already; each part's own number if below 0; 0 only writes the reports")
	flag.Float64Var(&l.scale, "scale", 1, "a share of the real size; below 1 nothing is written into docs")
	flag.StringVar(&l.results, "results", "tmp/bench", "directory where the rounds are kept")
	flag.DurationVar(&o.within, "within", 0, "begin no round later than that; what is missing then is for the next run. 0: no bound")
	flag.BoolVar(&o.again, "again", false, "measure again what is kept already")
	flag.StringVar(&o.report, "report", "", "file to write the report of all parts to, its pictures beside it; if empty, those parts that have no report of their own are printed")
	flag.StringVar(&o.pages, "pages", "", "directory to write the reports of single parts into; they are printed besides")
	flag.StringVar(&o.profile, "profile", "", "do nothing but take processor profiles of the daemon, into this directory; what such a run measures is kept apart")
	flag.StringVar(&o.profiles, "profiles", "", "run a round of each part with processor profiles, too, after all the others, into this directory; kept apart as well")
	flag.StringVar(&o.older, "older", "", "an older binary, of which -profiles takes profiles to compare with")
	flag.BoolVar(&l.tcp, "tcp", false, "over loopback TCP instead of the Unix socket")
	flag.StringVar(&l.limit, "gomemlimit", "", "GOMEMLIMIT of the daemon in parts size, memory and resume; that of the unit in deploy/ if empty")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	exit(o.run(ctx, l))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// orders are what the command line asks for.
type orders struct {
	parts         string
	rounds        int
	again         bool
	within        time.Duration
	report, pages string

	profile  string // take profiles into this directory, and do nothing else; "" for not
	profiles string // take them besides; "" for not
	older    string // a binary to compare profiles with; "" for none
}

// chosen are the parts asked for.
func (o orders) chosen() (all []part, err error) {
	if o.parts == "all" {
		return parts(), nil
	}
	for name := range strings.SplitSeq(o.parts, ",") {
		i := slices.IndexFunc(parts(), func(p part) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no part %q", name)
		}
		all = append(all, parts()[i])
	}
	return all, nil
}

func (o orders) run(ctx context.Context, l *lab) error {
	chosen, err := o.chosen()
	if err != nil {
		return err
	}
	if l.scale <= 0 || l.scale > 1 {
		return fmt.Errorf("-scale=%g is out of range: use a number above 0, up to 1", l.scale)
	}
	if l.limit == "" {
		if l.limit, err = shipped(); err != nil {
			return err
		}
	}
	for _, binary := range []*string{&l.daemon, &o.older} {
		if *binary == "" {
			continue
		}
		if *binary, err = filepath.Abs(*binary); err != nil {
			return err
		}
	}
	if o.profile != "" {
		l = l.profiling(l.daemon, o.profile, profiledResults)
	}
	if l.bin, err = cluster.Obtain(ctx, os.Stderr); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(l.bin, "pg_recvlogical")); err != nil {
		return fmt.Errorf("the peer is missing: %w (the distribution's client package brings it)", err)
	}
	if l.server, err = version(ctx, l.bin); err != nil {
		return err
	}
	if o.within > 0 {
		l.until = time.Now().Add(o.within)
	}
	if err := o.measureAll(ctx, l, chosen); err != nil {
		return err
	}
	if err := o.profileAll(ctx, l, chosen); err != nil {
		return err
	}
	return o.write(l, chosen)
}

// measureAll measures the parts one after the other, each once.
func (o orders) measureAll(ctx context.Context, l *lab, chosen []part) error {
	measured := make(map[string]bool)
	for _, p := range chosen {
		for _, name := range p.sources() {
			if measured[name] {
				continue
			}
			measured[name] = true
			source := p
			if name != p.name {
				source = named(name)
			}
			if err := o.measure(ctx, l, source); err != nil {
				return fmt.Errorf("part %s: %w", name, err)
			}
		}
	}
	return nil
}

// over reports that the time is up in which a round may begin.
func (l *lab) over() bool { return !l.until.IsZero() && time.Now().After(l.until) }

func named(name string) part {
	all := parts()
	return all[slices.IndexFunc(all, func(p part) bool { return p.name == name })]
}

func version(ctx context.Context, bin string) (string, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask the server's version: %w", err)
	}
	return strings.Replace(strings.TrimSpace(string(out)), "postgres (PostgreSQL)", "PostgreSQL", 1), nil
}

// measure runs the rounds that are missing of a part.
func (o orders) measure(ctx context.Context, l *lab, p part) (err error) {
	rounds := o.rounds
	if rounds < 0 {
		rounds = p.rounds
	}
	if rounds == 0 {
		return nil
	}
	t, err := recall(l.results, p.name)
	if err != nil {
		return err
	}
	now, err := l.origin(l.options(p.name))
	if err != nil {
		return err
	}
	if len(t.Rounds) >= rounds && !o.again && t.Origin.measures(now) {
		l.tell("%s: all of %d rounds are kept already (-again measures again)", p.name, rounds)
		return nil
	}
	if len(t.Rounds) > 0 && (o.again || t.Origin != now) {
		l.tell("%s: %d rounds of before are left out: %s", p.name, len(t.Rounds), differing(t.Origin, now))
		t.Rounds = nil
	}
	t.Part, t.Origin = p.name, now
	if l.over() {
		l.tell("%s: %d of %d rounds are kept; the time is up", p.name, len(t.Rounds), rounds)
		return nil
	}
	if l.profile != nil {
		if err := l.profile.begin(p.name); err != nil {
			return err
		}
	}
	if missing := rounds - len(t.Rounds); l.scale == 1 && p.rounds > 0 {
		l.tell("%s: %d rounds, some %s", p.name, missing, inMinutes(p.about*time.Duration(missing)/time.Duration(p.rounds)))
	}
	b := &bed{lab: l}
	defer func() { err = errors.Join(err, b.close()) }()
	began := time.Now()
	one, err := p.begin(ctx, b)
	if err != nil {
		return err
	}
	l.tell("%s: made ready in %s", p.name, time.Since(began).Round(time.Second))
	for n := len(t.Rounds); n < rounds && !l.over(); n++ {
		r := roundResult{At: time.Now().UTC(), Load: loadAverage()}
		if err := one(ctx, n, &r); err != nil {
			return fmt.Errorf("round %d: %w", n+1, err)
		}
		r.Took = time.Since(r.At).Seconds()
		if l.profile != nil {
			if err := l.profile.shares(ctx, &r); err != nil {
				return err
			}
		}
		l.tell("%s: round %d took %s, and began at a load of %.1f", p.name, n+1, time.Since(r.At).Round(time.Second), r.Load)
		t.Rounds = append(t.Rounds, r)
		if err := t.keep(l.results); err != nil {
			return err
		}
	}
	return nil
}

// differing says why rounds cannot be mixed.
func differing(a, b origin) string {
	switch {
	case a.Binary != b.Binary:
		return "another binary"
	case a.Scale != b.Scale:
		return "another size"
	case a.Server != b.Server, a.Machine != b.Machine, a.Go != b.Go:
		return "another server, machine or Go"
	case a.Options != b.Options:
		return "other options"
	case a.Commit != b.Commit:
		return "another commit"
	}
	return "measuring again"
}
