package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/wheels"
)

const (
	rotateMS = 400 // a lap of sixteen slots takes 6.4 s
	soonMS   = 200
	neverMS  = 86_400_000
)

// Queues: some are worked on by both releases, the others by old workers to the last.
var (
	shared = []string{"billing", "email"}
	every  = append(append([]string(nil), shared...), "reports", "legacy")
)

// fleet is the workers of a trial, of both releases.
type fleet struct {
	venvs wheels.Dir
	plan  *plan
	url   string

	mu      sync.Mutex
	running map[string]*worker
	gone    []*worker
	starts  uint64
}

func (f *fleet) release(name string) string {
	if old(name) {
		return f.plan.Old
	}
	return f.plan.New
}

func old(name string) bool { return name[:3] == "old" }

// conf is what a member does. The lead goes to who asks for it often.
func (f *fleet) conf(name string) conf {
	c := conf{
		URL: f.url, Stands: f.plan.Ring == stands, Queues: shared, Produce: shared, Batch: 10, Tagged: 0.7, Cancel: 3, OperateMS: 400,
		Pool: 10, MaxWorkers: 16, RotateMS: rotateMS, ElectionMS: neverMS, RollupMS: 500,
	}
	c.PollMS = 50
	if f.plan.Ring == turns { // every claim locks leaves, and a prune waits for a lock for some ms only: gaps let it through
		// And a success without a row looks to an old leader like a job that waits.
		c.PollMS, c.Batch, c.OperateMS, c.Tagged = 150, 40, 1000, 1
	}
	if c.Pace = max(1, f.plan.Pace); c.Pace > 1 {
		c.OperateMS, c.CalmS = int(float64(c.OperateMS)*c.Pace), c.Pace*calmEvery.Seconds()
	}
	c.Bulk = !old(name) || f.plan.New == "0.6.0b2"
	leads := f.plan.Leads
	switch name {
	case "old-first": // alone at the beginning
		c.Migrate, c.Rate, c.ElectionMS = true, f.plan.Rates.Leader, soonMS
	case "old-second":
		c.Queues, c.Produce, c.Rate = every, every, f.plan.Rates.Old
		if leads == moves {
			c.ElectionMS = soonMS
		}
	case "new-first":
		c.Rate = f.plan.Rates.New
		if leads != "old" {
			c.ElectionMS = soonMS
		}
	case "new-last": // the one that takes the lead when the old ones go
		c.Queues, c.Produce, c.Rate, c.Batch, c.OperateMS, c.ElectionMS = every, every, 20, 10, 0, soonMS
	}
	return c
}

// start starts a member; one that was killed comes back under its name.
func (f *fleet) start(ctx context.Context, name string) error {
	f.mu.Lock()
	f.starts++
	c := f.conf(name)
	c.Seed = f.plan.Seed<<8 + f.starts
	c.Migrate = c.Migrate && f.starts == 1
	f.mu.Unlock()
	w, err := startWorker(ctx, f.venvs.Python(f.release(name)), name, c)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running[name] = w
	return nil
}

func (f *fleet) take(name string) *worker {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.running[name]
	if w != nil {
		delete(f.running, name)
		f.gone = append(f.gone, w)
	}
	return w
}

// stop lets members leave in their own time. One that hangs is killed, which real ones are, too.
func (f *fleet) stop(names ...string) {
	var all sync.WaitGroup
	for _, name := range names {
		if w := f.take(name); w != nil {
			all.Go(func() { _ = w.stop() })
		}
	}
	all.Wait()
}

// crash kills a member and starts it again.
func (f *fleet) crash(ctx context.Context, name string) error {
	w := f.take(name)
	if w == nil {
		return errors.New("no member of the fleet is called " + name)
	}
	w.kill()
	return f.start(ctx, name)
}

// tell gives a command to everybody.
func (f *fleet) tell(command string) {
	for _, w := range f.members() {
		w.tell(command)
	}
}

func (f *fleet) members() (all []*worker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.running {
		all = append(all, w)
	}
	return all
}

// close leaves no process behind.
func (f *fleet) close() {
	for _, w := range f.members() {
		w.kill()
	}
}

// tallies sums up what both releases say of themselves.
func (f *fleet) tallies() (olds, news tally) {
	f.mu.Lock()
	all := append([]*worker(nil), f.gone...)
	for _, w := range f.running {
		all = append(all, w)
	}
	f.mu.Unlock()
	for _, w := range all {
		if old(w.name) {
			olds.add(w.tally())
		} else {
			news.add(w.tally())
		}
	}
	return olds, news
}

// crashes kills one old and one new member on the way, in the order that the seed says. What a dead one
// was at is tried again, and that leaves what an old leader takes for pending; so where the ring is to
// turn, they die late.
func (f *fleet) crashes(ctx context.Context) error {
	r := rand.New(rand.NewPCG(f.plan.Seed, 11))
	names := []string{"old-second", "new-first"}
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	first, second := f.plan.Mix/4, f.plan.Mix/3
	if f.plan.Ring == turns {
		first, second = f.plan.Mix*3/4, f.plan.Mix/10
	}
	for i, after := range []time.Duration{first, second} {
		if pause(ctx, after) != nil {
			return nil
		}
		if err := f.crash(context.WithoutCancel(ctx), names[i]); err != nil {
			return fmt.Errorf("crash of %s: %w", names[i], err)
		}
	}
	return nil
}
