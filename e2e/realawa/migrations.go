package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
)

// attempts is a migration beside live workers, played without and with a sidecar that waits for it.
type attempts struct {
	Control, With []migration // one a migration
}

// migrateName is what the part is called, and kept under.
const migrateName = "migrate"

const gentle = 10 // jobs a second, where every call deadlocks under the load of the table

// migrations plays -part migrate: only what happens up to the migration's end, time and again.
func (o *options) migrations(ctx context.Context, v venvs) error {
	s := store(o.results)
	var all attempts
	if !o.again {
		if err := s.load(migrateName, &all); err != nil {
			return err
		}
	}
	p := basic(migrateName, "0.6.0b1", "0.6.9", "old", stands, o.seed) // where it is to turn, nothing comes in meanwhile
	p.Rates = rates{Leader: gentle, Old: gentle}
	for _, release := range []string{p.Old, p.New} {
		if err := v.obtain(ctx, release); err != nil {
			return err
		}
	}
	for len(all.With) < o.times {
		p.Seed = o.seed + uint64(len(all.With))
		for _, h := range []struct {
			binary string
			into   *[]migration
		}{{"", &all.Control}, {o.daemon, &all.With}} {
			if h.binary == "" && len(all.Control) > len(all.With) {
				continue // it was broken off between the two
			}
			m, err := migrateAlone(ctx, &p, v, h.binary, o)
			if err != nil {
				return fmt.Errorf("migration %d: %w", len(*h.into)+1, err)
			}
			*h.into = append(*h.into, m)
			if err := s.save(migrateName, &all); err != nil {
				return err
			}
		}
	}
	fmt.Println(strings.Join(all.lines(), "\n"))
	return nil
}

// migrateAlone is the beginning of a play.
func migrateAlone(ctx context.Context, p *plan, v venvs, binary string, o *options) (m migration, err error) {
	bin, err := cluster.Obtain(ctx, os.Stderr)
	if err != nil {
		return m, err
	}
	y, err := newPlay(ctx, bin, p, v, binary, o)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, y.close()) }()
	if err := y.before(ctx); err != nil {
		return m, err
	}
	return y.fleet.migrate(ctx)
}

// lines is the comparison.
func (a *attempts) lines() []string {
	out := []string{"| | migrations | calls that deadlocked | migrations with one at least | through beside live workers | seconds, median, worst |", "|---|---|---|---|---|---|"}
	for _, h := range []struct {
		name string
		all  []migration
	}{{"without awa-counterd", a.Control}, {"with awa-counterd", a.With}} {
		var dead, some, alive int
		var took []float64
		for _, m := range h.all {
			dead += m.Deadlocks
			if m.Deadlocks > 0 {
				some++
			}
			if m.Fleet == live {
				alive++
			}
			took = append(took, m.Seconds)
		}
		if len(took) == 0 {
			continue
		}
		slices.Sort(took)
		out = append(out, fmt.Sprintf("| %s | %d | %d of %d | %d | %d | %s, %s |", h.name, len(h.all), dead, dead+len(h.all), some, alive,
			seconds(took[len(took)/2]), seconds(took[len(took)-1])))
	}
	return out
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
	out, err := exec.CommandContext(ctx, f.venvs.cli(f.plan.New), "--database-url", f.url+"&application_name=migrator", "migrate").CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
