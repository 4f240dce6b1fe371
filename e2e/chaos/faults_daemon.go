package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/awa-counterd/awa-counterd/internal/base/failpoint"
)

// fault is something that goes wrong. inject does it, and undoes it before it returns.
type fault struct {
	name   string
	weight int  // among mixed faults; 0: only singly
	alone  bool // must not run beside other faults
	inject func(ctx context.Context, a *env) error
}

func daemonFaults() []fault {
	out := []fault{
		{"leader killed at a random instant", 12, false, killed},
		{"all daemons killed at once", 3, false, killedAll},
		{"leader stopped for a second", 3, false, func(ctx context.Context, a *env) error { return stopped(ctx, a, time.Second) }},
		{"leader stopped for longer than wal_sender_timeout", 0, true, func(ctx context.Context, a *env) error { return stopped(ctx, a, 22*time.Second) }},
		{"leader out of memory", 1, false, outOfMemory},
		{"leader asked to stop", 2, false, asked},
	}
	for _, point := range failpoint.All() {
		out = append(out, fault{"leader killed: " + point, 3, true, func(ctx context.Context, a *env) error { return diedAt(ctx, a, point) }})
	}
	return out
}

func killed(ctx context.Context, a *env) error {
	m := a.leader()
	if m == nil {
		return errNoLeader
	}
	before := m.current()
	over := a.observer.openWindow("killed")
	defer over()
	began := time.Now()
	before.Kill()
	a.tally.kills.Add(1)
	if len(a.supervisors) == 1 {
		return nil
	}
	for ctx.Err() == nil && time.Since(began) < 20*time.Second {
		if l := a.leader(); l != nil && l.current() != before {
			a.tally.handover(time.Since(began))
			return nil
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("nobody took the lead within %s of the leader's death", time.Since(began))
}

func killedAll(ctx context.Context, a *env) error {
	defer a.observer.openWindow("all killed")()
	for _, m := range a.supervisors {
		m.hold()
		m.current().Kill()
		a.tally.kills.Add(1)
	}
	err := pause(ctx, a.between(100*time.Millisecond, 2*time.Second))
	for _, m := range a.supervisors {
		m.release()
	}
	return err
}

// diedAt kills the leader and has its successors die at a point, the nth time they come there.
func diedAt(ctx context.Context, a *env, point string) error {
	defer a.observer.openWindow("all killed, and again at a point")()
	if point == failpoint.Published || point == failpoint.SlotMade {
		if err := a.dropSlot(ctx); err != nil { // these are on the way to a new slot only
			return err
		}
	}
	n := 1
	if point == failpoint.Scanned || point == failpoint.Applied || point == failpoint.Persisted {
		n += a.rng.IntN(4)
	}
	if point == failpoint.MarkerDone || point == failpoint.MarkerWrite {
		n += a.rng.IntN(2) // setting it, or clearing it at the end of what follows
	}
	for _, m := range a.supervisors {
		m.dieAtNextStart(fmt.Sprintf("%s:%d", point, n))
		m.current().Kill()
		a.tally.kills.Add(1)
	}
	return a.diedAgain(ctx)
}

// diedAgain waits until one of the armed processes has died, or has lived for long enough: a marker
// that is set is cleared only when there is a reason.
func (a *env) diedAgain(ctx context.Context) error {
	first := a.tally.restarts.Load()
	began := time.Now()
	for time.Since(began) < 6*time.Second {
		if a.tally.restarts.Load() > first+int64(len(a.supervisors)) {
			a.tally.kills.Add(1)
			return nil
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func stopped(ctx context.Context, a *env, d time.Duration) error {
	return a.mute(func() error { return pause(ctx, d) })
}

// mute stops the leader while f runs.
func (a *env) mute(f func() error) error {
	m := a.leader()
	if m == nil {
		return errNoLeader
	}
	over := a.observer.openWindow("stopped")
	defer over()
	p := m.current()
	p.Signal(syscall.SIGSTOP)
	defer p.Signal(syscall.SIGCONT)
	return f()
}

// outOfMemory takes all memory that the leader does not have yet: its runtime gives up.
func outOfMemory(ctx context.Context, a *env) error {
	m := a.leader()
	if m == nil {
		return errNoLeader
	}
	over := a.observer.openWindow("out of memory")
	defer over()
	p := m.current()
	switch err := unix.Prlimit(p.PID(), unix.RLIMIT_AS, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}, nil); {
	case errors.Is(err, unix.ESRCH): // another fault was faster
		return errNoLeader
	case err != nil:
		return err
	}
	select {
	case <-p.Done():
	case <-time.After(3 * time.Second): // it needed no more; the kernel's way then
		p.Kill()
		a.tally.kills.Add(1)
	case <-ctx.Done():
	}
	return nil
}

func asked(ctx context.Context, a *env) error {
	m := a.leader()
	if m == nil {
		return errNoLeader
	}
	p := m.current()
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.Done():
		return nil
	case <-time.After(12 * time.Second):
		return fmt.Errorf("the leader did not stop within 12s of SIGTERM")
	case <-ctx.Done():
		return ctx.Err()
	}
}
