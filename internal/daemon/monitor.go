package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/replication"
)

// ErrObjectsChanged says that the server-side objects that the books rest on are not what they were.
var ErrObjectsChanged = errors.New("what the stream depends on has changed")

// monitor looks once a second, or three times within the staleness bound, at what the stream cannot tell
// by itself: a publication that was altered, a replication slot that is lost, tables that were created again. It
// uses the connection that holds the leader lock, so losing that ends the session as well.
func (s *session) monitor(ctx context.Context, results chan<- func(time.Time)) error {
	if err := checkpoint.Listen(ctx, s.control); err != nil {
		return err
	}
	if err := s.boundLooks(ctx); err != nil {
		return err
	}
	defer s.unboundLooks() //nolint:contextcheck // has to work after ctx has ended
	every := lookPause(s.d.opts.MaxStaleness)
	due := time.NewTimer(every)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-due.C:
		}
		began := time.Now()
		due.Reset(every)
		seen, err := s.observe(ctx)
		if pg.IsBusy(err) { // it was waited for, so the next one comes soon
			due.Reset(rowRetryPause)
			if err := inform(ctx, results, func(time.Time) { s.watch.missed(err) }); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		asking, done := unbroken(ctx)
		asked := checkpoint.WasRequested(asking, s.control, string(s.layout.Schema))
		done()
		err = inform(ctx, results, func(now time.Time) {
			s.applyObservation(now, began, seen.slot, seen.leader)
			if asked {
				s.core.RequestCheckpoint(now)
			}
		})
		if err == nil {
			err = s.lookAfter(ctx, seen)
		}
		if err != nil && !pg.IsBusy(err) {
			return err
		}
	}
}

// unbroken lets a statement that is under way when the session ends come to its own end, which takes moments: one that is broken off
// takes the connection with it, and that is the one by which a session clears its marker at the end when the others are of no use.
func unbroken(ctx context.Context) (context.Context, context.CancelFunc) {
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerWithin)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(lastWordWithin, cancel) })
	return whole, func() { stop(); cancel() }
}

// inform has the loop carry out something, and waits until it has: a loop that hangs must not be vouched for by the next look.
func inform(ctx context.Context, results chan<- func(time.Time), f func(time.Time)) error {
	heard := make(chan struct{})
	select {
	case results <- func(now time.Time) { f(now); close(heard) }:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-heard:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// observation is what one look has found.
type observation struct {
	slot   replication.Slot
	leader checkpoint.Leader
	quiet  bool // the catalog was left alone
}

// observe is one look at everything the monitor looks at, but for the catalog if that is known not to have changed. It changes nothing.
func (s *session) observe(ctx context.Context) (seen observation, err error) {
	ctx, cancel := unbroken(ctx)
	defer cancel()
	now := time.Now()
	g, err := s.glance(ctx)
	if err != nil {
		return seen, err
	}
	seen.quiet = s.lookout.quiet(now, g.snapshot)
	if err = s.nobodyMigrates(g.migrator); err != nil {
		return seen, err
	}
	if !seen.quiet {
		if err = s.checkCatalog(ctx); err != nil {
			return seen, err
		}
	}
	if seen.slot, err = s.checkSlot(g); err != nil {
		return seen, err
	}
	if most := s.d.opts.MaxRetained; most > 0 && seen.slot.Retained > most {
		return seen, fmt.Errorf("%w: the server keeps %s of WAL for the replication slot", replication.ErrTooMuchWAL, compact(uint64(seen.slot.Retained))) //nolint:gosec // positive
	}
	if seen.leader, _, err = checkpoint.ReadLeader(ctx, s.control, string(s.layout.Schema)); err != nil {
		return seen, err
	}
	if !seen.quiet {
		s.lookout.saw(now, g.snapshot)
	}
	return seen, nil
}

// lookAfter does what is due outside of the loop: the heartbeat, and after a whole look what others did to the marker and what nobody
// works on any more. What is put off there has the next look be a whole one.
func (s *session) lookAfter(ctx context.Context, seen observation) error {
	ctx, cancel := unbroken(ctx)
	defer cancel()
	err := s.stampHeartbeat(ctx, seen.leader)
	if seen.quiet {
		return err
	}
	settled := false
	if err == nil {
		settled = s.settleMarker(ctx)
		err = s.removeOrphans(ctx)
	}
	if err != nil || !settled {
		s.lookout.unsure()
	}
	return err
}

// stampHeartbeat is for when tokens, which are the heartbeat, do not come: one of them may wait behind corrections, and these for
// somebody's locks.
func (s *session) stampHeartbeat(ctx context.Context, leader checkpoint.Leader) error {
	if leader.Instance == s.instance && leader.Heartbeat > s.d.opts.MaxStaleness/2 {
		return checkpoint.StampHeartbeat(ctx, s.control, string(s.layout.Schema), s.instance, leader.State)
	}
	return nil
}

// applyObservation takes in what the monitor saw, on the loop's goroutine.
func (s *session) applyObservation(now, looked time.Time, slot replication.Slot, leader checkpoint.Leader) {
	s.watch.succeeded(looked)
	s.core.TablesUnchanged(looked)
	s.retained, s.lastSlot = slot.Retained, slot
	s.checkRetainedWAL()
	if leader.Finishing != s.holding {
		s.holding = leader.Finishing
		s.core.HoldCorrections(s.holding)
		s.log.Info("awa-counterd finish is running", zap.Bool("corrections_held_back", s.holding))
	}
	if leader.Leaving && !s.leaving {
		s.leaving = true
		s.log.Info("completing the last flush and checkpoint for awa-counterd finish")
		s.core.Stop(now)
	}
}

// checkRetainedWAL ends trust while more than half of the WAL is kept that may be: something holds the replication slot
// back, and soon it may have to go.
func (s *session) checkRetainedWAL() {
	most := s.d.opts.MaxRetained
	suspicion := ""
	if most > 0 && s.retained > most/2 {
		suspicion = fmt.Sprintf("the server keeps %s of WAL for the replication slot, more than half of --max-retained-wal=%s",
			compact(uint64(s.retained)), compact(uint64(most))) //nolint:gosec // both are positive
	}
	if (suspicion != "") != s.guarded {
		s.guarded = suspicion != ""
		if s.guarded {
			s.log.Warn("the server keeps more and more WAL for the replication slot", zap.String("retained", compact(uint64(s.retained))), zap.String("limit", compact(uint64(most)))) //nolint:gosec // both are positive
		} else {
			s.log.Info("the server keeps little WAL for the replication slot again", zap.String("retained", compact(uint64(s.retained)))) //nolint:gosec // positive
		}
	}
	s.core.SetOutsideDoubt(applier.DoubtRetained, suspicion)
}

// changed is for what a look finds wrong; a lock in its way is nothing wrong.
func changed(err error) error {
	if pg.IsBusy(err) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrObjectsChanged, err)
}

// checkCatalog ends the session when awa's tables or the publications are not what it began with.
func (s *session) checkCatalog(ctx context.Context) error {
	if err := s.sameTables(ctx); err != nil {
		return err
	}
	published, err := published(ctx, s.control, s.pubs)
	switch {
	case err != nil:
		return changed(err)
	case !slices.Equal(published.OIDs, s.identity.Publications):
		return fmt.Errorf("%w: a publication was dropped and created again", ErrObjectsChanged)
	case s.state(published.State) != s.identity.PublicationState:
		return fmt.Errorf("%w: a publication was altered", ErrObjectsChanged)
	}
	return nil
}

// checkSlot ends the session when the replication slot is lost.
func (s *session) checkSlot(g glance) (replication.Slot, error) {
	switch {
	case g.slotFailed != nil:
		return g.slot, changed(g.slotFailed)
	case g.slot.Lost():
		what, _ := g.slot.Loss()
		return g.slot, fmt.Errorf("%w: replication slot %s %s", ErrObjectsChanged, s.slot, what)
	}
	return g.slot, nil
}

// nobodyMigrates ends the session while awa's migrations run. They take a lock of their own; workers take it for a moment at every
// start, to find that there is nothing to do, so one look that meets it says nothing yet. pid is who holds it, 0 for nobody.
func (s *session) nobodyMigrates(pid int32) error {
	if pid != 0 && pid == s.migrator {
		return &migrating{pid}
	}
	s.migrator = pid
	return nil
}

// sameTables ends the session when awa's tables are not what it began with.
func (s *session) sameTables(ctx context.Context) error {
	if schema, err := s.d.schema(ctx, s.control); err != nil {
		return changed(err)
	} else if schema != s.layout.Schema {
		return fmt.Errorf("%w: awa's active schema is now %s, not %s", ErrObjectsChanged, schema, s.layout.Schema)
	}
	layout, err := awa.Discover(ctx, s.control, s.layout.Schema)
	if err != nil {
		return changed(err)
	}
	if err := layout.CheckLeaves(); err != nil {
		return changed(err)
	}
	if err := layout.CheckRowSecurity(ctx, s.control); err != nil {
		return fmt.Errorf("%w: %w", ErrObjectsChanged, s.d.asRefusal(ctx, s.control, err))
	}
	switch {
	case layout.Equivalent(s.layout):
	case layout.Fingerprint() == s.layout.Fingerprint() && slices.Equal(layout.OIDs(), s.layout.OIDs()):
		return fmt.Errorf("%w: awa's tables were altered, and some changes may not have been streamed", ErrObjectsChanged)
	case layout.Counters == s.layout.Counters && layout.Ring == s.layout.Ring && slices.Equal(layout.Slots(), s.layout.Slots()):
		return fmt.Errorf("%w: the shape of the counters changed from %s to %s", errMigrated, s.layout.Describe(), layout.Describe())
	default:
		return fmt.Errorf("%w: awa's tables were dropped and created again", ErrObjectsChanged)
	}
	return nil
}
