package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// dice are drawn by faults that run side by side.
type dice struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (d *dice) IntN(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.IntN(n)
}

func (d *dice) Int64N(n int64) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.Int64N(n)
}

func (d *dice) shuffle(faults []fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.r.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
}

func (a *env) faults() []fault {
	all := slices.Concat(daemonFaults(), serverFaults(), networkFaults(), catalogFaults())
	if a.o.shape == fleet.Ledger {
		all = append(all, ledgerFaults()...)
	}
	return slices.DeleteFunc(all, func(f fault) bool { return !strings.Contains(f.name, a.o.only) })
}

// runSchedule is the run: every fault singly with a standby, deaths without one, then mixed faults, then calm.
func (a *env) runSchedule(ctx context.Context) error {
	if err := a.open(ctx); err != nil {
		return err
	}
	if err := a.eachFault(ctx); err != nil {
		return err
	}
	if err := a.mixedFaults(ctx); err != nil {
		return err
	}
	if err := a.undisturbed(ctx); err != nil {
		return err
	}
	return a.stopAndCheckLeftovers(ctx)
}

func (a *env) open(ctx context.Context) error {
	old := a.layout().Writer(false)
	old.Silent = true
	for i, q := range queues {
		err := fleet.Do(ctx, a.pool, func(tx pgx.Tx) error {
			return old.Insert(ctx, tx, fleet.Key{Slot: int32(i), Queue: q, Priority: 1}, 20_000, "failed", "")
		})
		if err != nil {
			return err
		}
	}
	if err := a.startWriters(ctx); err != nil {
		return err
	}
	if err := a.setDaemons(2); err != nil {
		return err
	}
	return a.trusted(ctx)
}

func (a *env) eachFault(ctx context.Context) error {
	faults := a.faults()
	a.rng.shuffle(faults)
	for _, f := range faults {
		if err := a.inject(ctx, f); err != nil {
			return err
		}
	}
	if err := a.setDaemons(1); err != nil {
		return err
	}
	for range 4 {
		for _, f := range daemonFaults()[:2] {
			if err := a.inject(ctx, f); err != nil {
				return err
			}
		}
	}
	return a.compareCounters(ctx)
}

const mixedRounds = 6 // of the short run

func (a *env) mixedFaults(ctx context.Context) error {
	began := time.Now()
	length := time.Duration(a.o.minutes * float64(time.Minute))
	for i := 0; ; i++ {
		left := length - time.Since(began)
		behind := int64(a.o.kills) - a.tally.kills.Load()
		if (length == 0 && i >= mixedRounds) || (length > 0 && left <= 0 && behind <= 0) {
			return a.compareCounters(ctx)
		}
		if err := a.setDaemons(1 + a.rng.IntN(3)); err != nil {
			return err
		}
		var err error
		// Kills are due in step with the time.
		if due := float64(a.o.kills) * min(1, float64(time.Since(began))/float64(max(length, 1))); float64(a.tally.kills.Load()) < due {
			err = a.inject(ctx, killOneAfterTheOther())
		} else {
			err = a.inject(ctx, a.drawFaults()...)
		}
		if err != nil {
			return err
		}
		if i%12 == 11 {
			if err := a.compareCounters(ctx); err != nil {
				return err
			}
		}
	}
}

// killOneAfterTheOther kills leader after leader, each some instant after it began.
func killOneAfterTheOther() fault {
	return fault{name: "leader killed, one after the other", inject: func(ctx context.Context, a *env) error {
		for range 20 {
			if err := pause(ctx, a.between(20*time.Millisecond, 900*time.Millisecond)); err != nil {
				return err
			}
			victim := a.anyDaemon().current()
			over := a.observer.openWindow("killed")
			victim.Kill()
			over()
			a.tally.kills.Add(1)
		}
		return nil
	}}
}

// drawFaults picks one fault that needs the stage for itself, or up to three that do not.
func (a *env) drawFaults() []fault {
	var picked []fault
	for range 1 + a.rng.IntN(3) {
		faults := a.faults()
		total := 0
		for _, f := range faults {
			total += f.weight
		}
		n := a.rng.IntN(max(total, 1))
		for _, f := range faults {
			if n -= f.weight; n >= 0 || f.weight == 0 {
				continue
			}
			if slices.ContainsFunc(picked, func(p fault) bool { return p.name == f.name }) {
				break // some faults make objects that can be made once only
			}
			if f.alone {
				return []fault{f}
			}
			picked = append(picked, f)
			break
		}
	}
	return picked
}

// inject injects faults side by side and waits until it is all over.
func (a *env) inject(ctx context.Context, faults ...fault) error {
	if err := pause(ctx, a.between(50*time.Millisecond, 700*time.Millisecond)); err != nil {
		return err
	}
	began := time.Now()
	errs := make([]error, len(faults))
	var wg sync.WaitGroup
	var names []string
	for i, f := range faults {
		names = append(names, f.name)
		wg.Go(func() {
			err := f.inject(ctx, a)
			switch {
			case err == nil:
				a.tally.injected(f.name)
			case !errors.Is(err, errNoLeader):
				errs[i] = fmt.Errorf("%s: %w", f.name, err)
			}
		})
	}
	wg.Wait()
	name := strings.Join(names, " + ")
	if err := errors.Join(errs...); err != nil {
		return err
	}
	took := time.Since(began)
	if err := a.trusted(ctx); err != nil {
		return fmt.Errorf("after %s: %w", name, err)
	}
	fmt.Printf("chaos: %s  %d daemons  fault %.1fs, trusted again after %.1fs  %s\n", time.Since(a.tally.began).Round(time.Second), len(a.supervisors),
		took.Seconds(), (time.Since(began) - took).Seconds(), name)
	return a.checkPromises(name)
}

// checkPromises fails as soon as a sample, a log line or a writer says that a promise is broken.
func (a *env) checkPromises(after string) error {
	a.observer.mu.Lock()
	dishonest, first := a.observer.watch.Dishonest, a.observer.watch.First
	a.observer.mu.Unlock()
	if dishonest > 0 {
		return fmt.Errorf("after %s: %d trusted samples with a drift older than %s, the first: %+v", after, dishonest, maxStaleness, first)
	}
	if said := a.mismatchLogs(); len(said) > 0 {
		return fmt.Errorf("after %s: %s", after, said[0])
	}
	if errs := a.fleet.Errors(); len(errs) > 0 {
		return fmt.Errorf("after %s: writers failed: %v", after, errs)
	}
	return nil
}

// mismatchLogs are log lines that say that books and database disagreed.
func (a *env) mismatchLogs() (out []string) {
	for _, m := range a.supervisors {
		said, _ := m.ledger.Said(0)
		for _, e := range said {
			for _, bad := range []string{"the books disagreed", "rows below 0", "found less than 0 rows", "added a different number", "panic:"} {
				if strings.Contains(e.Text(), bad) && !a.observer.expected(e.At()) {
					out = append(out, fmt.Sprintf("daemon %s: %v", m.name, e))
				}
			}
		}
	}
	return out
}

// compareCounters stops the writers, looks whether every counter is right, and goes on.
func (a *env) compareCounters(ctx context.Context) error {
	if err := a.stopWriters(ctx); err != nil {
		return err
	}
	return a.startWriters(ctx)
}

// undisturbed lets one daemon work undisturbed, for its memory.
func (a *env) undisturbed(ctx context.Context) error {
	if a.o.minutes == 0 {
		return nil
	}
	if err := a.setDaemons(1); err != nil {
		return err
	}
	if err := a.trusted(ctx); err != nil {
		return err
	}
	pid := a.supervisors[0].current().PID()
	if err := pause(ctx, time.Duration(a.o.minutes*float64(time.Minute))/5); err != nil {
		return err
	}
	a.observer.mu.Lock()
	a.tally.calm = slices.Clone(a.observer.memory[pid])
	a.observer.mu.Unlock()
	return a.checkPromises("the calm")
}

// setDaemons hires and dismisses until there are n daemons.
func (a *env) setDaemons(n int) error {
	for len(a.supervisors) < n {
		if err := a.addDaemon(); err != nil {
			return err
		}
	}
	for len(a.supervisors) > n {
		last := a.supervisors[len(a.supervisors)-1]
		a.observer.mu.Lock()
		a.supervisors = a.supervisors[:len(a.supervisors)-1]
		a.observer.mu.Unlock()
		last.stopForGood()
	}
	return nil
}

// stopAndCheckLeftovers stops everything and looks for what is left behind.
func (a *env) stopAndCheckLeftovers(ctx context.Context) error {
	if err := a.stopWriters(ctx); err != nil {
		return err
	}
	if err := a.checkPromises("the end"); err != nil {
		return err
	}
	if err := a.checkStandbyBound(); err != nil {
		return err
	}
	if w := &a.observer.watch; w.Sparse > w.Samples/2 {
		return fmt.Errorf("%d of %d samples came too late after the one before to judge by", w.Sparse, w.Samples)
	}
	if all := cluster.Deadlocks(a.cluster.Log(), "awa-counterd"); len(all) > 0 {
		kept := filepath.Join(os.TempDir(), "chaos-server.log")
		return errors.Join(fmt.Errorf("the daemon was in %d deadlocks, the first: %s (the server's log is kept in %s)", len(all), all[0], kept),
			os.WriteFile(kept, []byte(a.cluster.Log()), 0o600))
	}
	if err := a.setDaemons(0); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, a.o.binary, "teardown", "--database-url", "postgres://"+role+"@"+a.server()+"/postgres?sslmode=disable")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("teardown: %w", err)
	}
	// The backend of the teardown itself ends a moment after the process.
	for began := time.Now(); ; {
		left, err := a.left(ctx)
		if err != nil || left == "" {
			return err
		}
		if time.Since(began) > 10*time.Second {
			return fmt.Errorf("left behind: %s", left)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// left names what is there of awa-counterd's in the database; "" for nothing.
func (a *env) left(ctx context.Context) (left string, err error) {
	err = a.pool.QueryRow(ctx, `select concat_ws(', ',
		(select string_agg('slot ' || slot_name, ', ') from pg_replication_slots),
		(select string_agg('connection ' || application_name, ', ') from pg_stat_activity where usename = 'counterd'),
		(select string_agg('advisory lock of ' || pid, ', ') from pg_locks where locktype = 'advisory'),
		(select string_agg('publication ' || pubname, ', ') from pg_publication),
		(select string_agg('temporary ' || relname, ', ') from pg_class where relpersistence = 't' and relowner = 'counterd'::regrole),
		(select string_agg('prepared ' || gid, ', ') from pg_prepared_xacts),
		(select 'schema' from pg_namespace where nspname = 'awa_counterd'))`).Scan(&left)
	return left, err
}

// bounded: with a standby beside it, no marker stands longer without a voucher than the standby's bound.
func (a *env) checkStandbyBound() error {
	const bound = 2*maxStaleness + 2*time.Second // docs/operations.md, and what a busy machine adds
	a.observer.mu.Lock()
	defer a.observer.mu.Unlock()
	for _, kind := range []string{"killed", "stopped", "cut off", "half-open"} {
		if s := a.observer.closed[kind+", a standby beside"]; s.worst > bound {
			return fmt.Errorf("a marker stood %s without a voucher (%s, a standby beside); the bound is %s", s.worst, kind, bound)
		}
	}
	return nil
}

// printLogs shows what the daemons said last.
func (a *env) printLogs() {
	for _, m := range a.supervisors {
		said, n := m.ledger.Said(0)
		for _, e := range said[max(0, n-25):] {
			fmt.Fprintf(os.Stderr, "daemon %s: %v\n", m.name, e)
		}
	}
}
