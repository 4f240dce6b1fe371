package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// patience is how long a OneShot waits for locks of others, all in all.
type patience struct {
	bounded bool
	left    time.Duration
}

// Patient bounds the time for which o waits for locks from now on, all in all; what it does meanwhile does not count. Without
// a word it waits for as long as it takes.
func (o *OneShot) Patient(within time.Duration) { o.patience = patience{true, within} }

// A wait that takes longer than reportAfter is worth a word; between two tries whoever waits for us gets its turn.
const (
	reportAfter  = 3 * time.Second
	betweenTries = 100 * time.Millisecond
)

// waits tries something until nobody's lock is in its way.
func (o *OneShot) waits(ctx context.Context, what string, unit awa.Leaf, try func() error) error {
	began := time.Now()
	told := false
	for {
		tried := time.Now()
		err := try()
		if _, over := errors.AsType[*awa.LockedError](err); err == nil || over || !pg.IsBusy(err) || ctx.Err() != nil {
			return err
		}
		if err := o.rest(ctx, betweenTries); err != nil {
			return err
		}
		if o.left -= time.Since(tried); o.bounded && o.left <= 0 {
			return o.layout.Locked(ctx, o.writes, what, unit, time.Since(began), err)
		}
		if !told && o.Waiting != nil && time.Since(began) > reportAfter {
			told = true
			o.Waiting(fmt.Sprintf("%s is locked; waiting for it (%s)", what, err))
		}
	}
}

func (o *OneShot) rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// ringSlot names a unit for people.
func ringSlot(unit awa.Leaf) string {
	if unit.Slot == applier.NoLeaf {
		return "awa's counter table"
	}
	return fmt.Sprintf("ring slot %d", unit.Slot)
}
