package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/wheels"
)

// attempts is a migration beside live workers, carried out without and with a daemon that waits for it.
type attempts struct {
	Pace          float64     `json:"pace"`
	At            time.Time   `json:"at"` // when the last one was made
	Commit        string      `json:"commit"`
	Control, With []migration // one a migration
}

// migrateName is what the part is called, and kept under.
const migrateName = "migrate"

// Under the load of the table each call deadlocks, with us and without, and nothing could make it worse: one transaction
// of a worker that takes two of awa's tables while a step runs is enough, and a step takes seconds. So the workers do
// everything -pace times less often here, and write a job now and then once there are rows: some half of the first calls
// should go through without us, and verdict complains where that is far from true.
const (
	calmJobs  = 20                     // a second and worker, until there are calmRows
	calmRows  = 20                     // of done_entries, before the migration
	calmEvery = 100 * time.Millisecond // times -pace: from one job to the next after that
)

// migrations does -part migrate: only what happens up to the migration's end, time and again.
func (o *options) migrations(ctx context.Context, v wheels.Dir) error {
	s := store(o.results)
	var all attempts
	if !o.again {
		if err := s.load(migrateName, &all); err != nil {
			return err
		}
	}
	commit, err := released(ctx, o.daemon)
	if err != nil {
		return err
	}
	if all.Pace != o.pace || all.Commit != commit { // figures of another load, or of another product, are no part of these
		all = attempts{Pace: o.pace, Commit: commit}
	}
	p := basic(migrateName, "0.6.0b1", "0.6.9", "old", stands, o.seed) // where it is to turn, nothing comes in meanwhile
	p.Rates, p.Pace = rates{Leader: calmJobs, Old: calmJobs}, o.pace
	for _, release := range []string{p.Old, p.New} {
		if err := v.Obtain(ctx, release); err != nil {
			return err
		}
	}
	for {
		binary, into := "", &all.Control
		if len(all.Control) > len(all.With) && o.only != "control" || o.only == "with" { // in turns, as the machine's mood has it
			binary, into = o.daemon, &all.With
		}
		if len(*into) >= o.times {
			break
		}
		p.Seed = o.seed + uint64(len(*into))
		m, err := migrateAlone(ctx, &p, v, binary, o)
		if err != nil {
			return fmt.Errorf("migration %d: %w", len(*into)+1, err)
		}
		*into, all.At = append(*into, m), time.Now()
		if err := s.save(migrateName, &all); err != nil {
			return err
		}
	}
	fmt.Println(strings.Join(all.lines(), "\n"))
	return all.verdict()
}

// migrateAlone is the beginning of a trial.
func migrateAlone(ctx context.Context, p *plan, v wheels.Dir, binary string, o *options) (m migration, err error) {
	bin, err := cluster.Obtain(ctx, os.Stderr)
	if err != nil {
		return m, err
	}
	tr, err := newTrial(ctx, bin, p, v, binary, o)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, tr.close()) }()
	if err := tr.before(ctx); err != nil {
		return m, err
	}
	tr.fleet.tell("calm")
	if err := pause(ctx, 3*time.Second); err != nil { // what is under way ends
		return m, err
	}
	m, err = tr.fleet.migrate(ctx)
	m.Ours = cluster.Deadlocks(tr.cluster.Log(), "awa-counterd")
	return m, err
}

// figures are what a half comes to.
type figures struct {
	migrations, calls, deadlocks, some, live, ours int
	took                                           []float64 // seconds, sorted
}

func figuresOf(all []migration) (f figures) {
	for _, m := range all {
		f.migrations, f.calls, f.deadlocks, f.ours = f.migrations+1, f.calls+m.Attempts, f.deadlocks+m.Deadlocks, f.ours+len(m.Ours)
		if m.Deadlocks > 0 {
			f.some++
		}
		if m.Fleet == live {
			f.live++
		}
		f.took = append(f.took, m.Seconds)
	}
	slices.Sort(f.took)
	return f
}

// lines is the comparison.
func (a *attempts) lines() []string {
	out := []string{"| | migrations | whose first call deadlocked | calls that deadlocked | through beside live workers | seconds, median, worst | deadlocks with a session of awa-counterd in the cycle |", "|---|---|---|---|---|---|---|"}
	for _, h := range []struct {
		name string
		all  []migration
	}{{"without awa-counterd", a.Control}, {"with awa-counterd", a.With}} {
		f := figuresOf(h.all)
		if f.migrations == 0 {
			continue
		}
		out = append(out, fmt.Sprintf("| %s | %d | %d | %d of %d | %d | %s, %s | **%d** |", h.name, f.migrations, f.some, f.deadlocks, f.calls, f.live,
			seconds(f.took[len(f.took)/2]), seconds(f.took[len(f.took)-1]), f.ours))
	}
	return out
}

// verdict is what speaks against us, or against the load.
func (a *attempts) verdict() error {
	without, with := figuresOf(a.Control), figuresOf(a.With)
	var bad []error
	for _, m := range a.With {
		if len(m.Ours) > 0 {
			bad = append(bad, fmt.Errorf("a session of awa-counterd was in %d deadlocks of a migration, the first: %s", with.ours, m.Ours[0]))
			break
		}
	}
	if without.migrations < fewMigrations || with.migrations < fewMigrations {
		return errors.Join(bad...) // too few for a rate
	}
	if share := float64(without.some) / float64(without.migrations); share < 0.2 || share > 0.8 {
		bad = append(bad, fmt.Errorf("%d of %d first calls deadlocked without us: under this load nothing is proved, try another -pace", without.some, without.migrations))
	}
	if p := byChance(without.some, without.migrations, with.some, with.migrations); p < 0.05 {
		bad = append(bad, fmt.Errorf("first calls deadlocked %d times of %d without us and %d of %d with us: by chance in %.1f %% of cases", without.some, without.migrations, with.some, with.migrations, 100*p))
	}
	return errors.Join(bad...)
}

// fewMigrations are too few to speak of a rate.
const fewMigrations = 10

// byChance is the probability that b of m or more are hit when, of a + b hits in n + m tries, each try was as likely as
// any other (Fisher's exact test, one-sided).
func byChance(a, n, b, m int) (p float64) {
	choose := func(n, k int) float64 {
		x, _ := math.Lgamma(float64(n + 1))
		y, _ := math.Lgamma(float64(k + 1))
		z, _ := math.Lgamma(float64(n - k + 1))
		return x - y - z
	}
	hits := a + b
	for k := b; k <= min(m, hits); k++ {
		if hits-k <= n {
			p += math.Exp(choose(m, k) + choose(n, hits-k) - choose(n+m, hits))
		}
	}
	return p
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Millisecond).String()
}

// What the old workers do while the new release migrates. An operator tries with everybody at work, and
// then, where steps go on to deadlock with busy workers, without them; or stops what comes in beforehand.
const (
	live    = "live"
	paused  = "paused"
	stopped = "stopped"
)

// impossible is why awa itself cannot be upgraded so.
type impossible string

func (i impossible) Error() string { return string(i) }

// refusal is how the server's message stands in what the CLI prints.
var refusal = regexp.MustCompile(`message: "([^"]*)"`)

// migrate calls the new release's `awa migrate` until it goes through, as an operator does: a step that
// deadlocks is rolled back, and said again it goes on from there.
func (f *fleet) migrate(ctx context.Context) (m migration, err error) {
	began := time.Now()
	defer func() { m.Seconds = time.Since(began).Seconds() }()
	m.Fleet = live
	if f.plan.Ring == turns {
		// What waits in the old way at this moment is never claimed afterwards, and stops the ring for good.
		m.Fleet = paused
		f.tell("pause")
		if err := pause(ctx, 1500*time.Millisecond); err != nil {
			return m, err
		}
	}
	for {
		m.Attempts++
		out, err := f.migrateOnce(ctx)
		if err == nil {
			break
		}
		if why := refusal.FindStringSubmatch(out); why != nil && !strings.Contains(why[1], "deadlock detected") {
			return m, impossible("awa migrate fails: " + why[1])
		}
		if !strings.Contains(out, "deadlock detected") {
			return m, fmt.Errorf("awa migrate of %s: %w: %s", f.plan.New, err, out)
		}
		m.Deadlocks++
		switch m.Attempts {
		case 3:
			m.Fleet = stopped
			f.stop("old-first", "old-second")
		case 8:
			return m, errors.New("awa migrate deadlocks without workers")
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return m, err
		}
	}
	if m.Fleet == stopped {
		for _, name := range []string{"old-first", "old-second"} {
			if err := f.start(ctx, name); err != nil {
				return m, err
			}
		}
	}
	f.tell("resume")
	return m, nil
}

func (f *fleet) migrateOnce(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, f.venvs.CLI(f.plan.New), "--database-url", f.url+"&application_name=migrator", "migrate").CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
