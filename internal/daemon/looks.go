package daemon

import (
	"context"
	"fmt"
	"time"

	"github.com/awa-counterd/awa-counterd/applier"
)

// looks remembers how the monitor's looks at awa's tables went. It belongs to the loop.
type looks struct {
	bound  time.Duration
	last   time.Time // the last one that succeeded began then
	reason error     // why the last one failed; nil if it did not
}

// succeeded takes in a look that began at that time.
func (l *looks) succeeded(began time.Time) { l.last, l.reason = began, nil }

// missed takes in one that somebody's lock was in the way of.
func (l *looks) missed(err error) { l.reason = err }

// until is when nobody can vouch for the tables any more, unless a look succeeds.
func (l *looks) until() time.Time { return l.last.Add(l.bound) }

// doubt is why nobody can; "" while a look has succeeded within the bound. One that is missed says nothing yet.
func (l *looks) doubt(now time.Time) string {
	if now.Before(l.until()) {
		return ""
	}
	if l.reason == nil {
		return fmt.Sprintf("awa's tables have not been looked at for %s", now.Sub(l.last).Round(10*time.Millisecond))
	}
	return fmt.Sprintf("awa's tables could not be looked at for %s: %s", now.Sub(l.last).Round(10*time.Millisecond), l.reason)
}

// checkLooks ends trust while it is not known what was done to awa's tables.
func (s *session) checkLooks(now time.Time) {
	s.core.SetOutsideDoubt(applier.DoubtUnlooked, s.watch.doubt(now))
}

// lookPause is from the beginning of one look to that of the next. A look that takes long, or is missed, leaves time for another one.
func lookPause(bound time.Duration) time.Duration { return min(bound/3, lookEvery) }

// longestLookWait bounds how long a look waits for one lock: with a look before it, one that is missed for it, and the next one,
// the bound is kept.
func longestLookWait(bound time.Duration) time.Duration { return min(bound/5, time.Second) }

// boundLooks has the looks wait for nobody for long.
func (c connected) boundLooks(ctx context.Context) error {
	return c.setLockTimeout(ctx, longestLookWait(c.d.opts.MaxStaleness))
}

// unboundLooks takes that back: at its end a session waits for the marker's row.
func (c connected) unboundLooks() {
	ctx, cancel := context.WithTimeout(context.Background(), lastWordWithin)
	defer cancel()
	_ = c.setLockTimeout(ctx, lockWait) // it fails where the connection has ended
}

func (c connected) setLockTimeout(ctx context.Context, d time.Duration) error {
	if _, err := c.control.Exec(ctx, fmt.Sprintf(`set lock_timeout = '%dms'`, d.Milliseconds())); err != nil {
		return fmt.Errorf("set the lock timeout: %w", err)
	}
	return nil
}
