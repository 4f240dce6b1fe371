package main

import (
	"context"
	"time"

	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// hangs is what is said of a daemon that does not do what it was asked.
func hangs(problem string) func() error {
	return func() error { return pg.Refuse("stop it and run this again", "not finished: "+problem, answerWithin) }
}

// poll waits for a state, within a bound; then tooLate says why it gave up. Somebody's lock that is in the way is waited for until atWork. No
// context's deadline bounds it: one that ran out in the middle of a query would take the connection along.
func poll(ctx context.Context, within time.Duration, done func() (bool, error), tooLate func() error) error {
	var locked error
	late := time.NewTimer(within)
	defer late.Stop()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := done()
		locked = nil
		switch {
		case pg.IsBusy(err) && ctx.Err() == nil:
			locked = err
		case err != nil:
			return err
		case ok:
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			switch {
			case locked == nil:
				return tooLate()
			case within >= atWork:
				return locked
			}
			late.Reset(atWork - within)
			within = atWork
		case <-tick.C:
		}
	}
}

// atWork is how long finish waits for locks of others once it is at work: while daemons hold their corrections back, once more when they have
// left, and in each of its small steps.
const atWork = 30 * time.Second

// patiently does something, for atWork at most while somebody's lock is in the way.
func patiently(ctx context.Context, do func() error) error {
	return poll(ctx, atWork, func() (bool, error) { err := do(); return err == nil, err }, func() error { return nil })
}
