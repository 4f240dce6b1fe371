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
	"github.com/awa-counterd/awa-counterd/internal/pg"
	"github.com/awa-counterd/awa-counterd/replication"
)

// ErrObjectsChanged says that the server-side objects that the books rest on are not what they were.
var ErrObjectsChanged = errors.New("what the stream depends on has changed")

// monitor looks once a second, or three times within the staleness bound, at what the stream cannot tell
// by itself: a publication that was altered, a slot that is lost, tables that were made anew. It
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
		slot, leader, err := s.observe(ctx)
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
		s.settleMarker(ctx)
		asked := checkpoint.WasRequested(ctx, s.control, string(s.layout.Schema))
		err = inform(ctx, results, func(now time.Time) {
			s.applyObservation(now, began, slot, leader)
			if asked {
				s.core.RequestCheckpoint(now)
			}
		})
		if err == nil {
			err = s.lookAfter(ctx, leader)
		}
		if err != nil && !pg.IsBusy(err) {
			return err
		}
	}
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

// lookAfter does what is due outside of the loop: the heartbeat, and what nobody works on any more.
func (s *session) lookAfter(ctx context.Context, leader checkpoint.Leader) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if leader.Instance == s.instance && leader.Heartbeat > s.d.opts.MaxStaleness/2 {
		// Tokens are the heartbeat; but one of them may wait behind corrections, and these for somebody's locks.
		if err := checkpoint.StampHeartbeat(ctx, s.control, string(s.layout.Schema), s.instance, leader.State); err != nil {
			return err
		}
	}
	return s.removeOrphans(ctx)
}

// observe is one look at everything the monitor looks at. It changes nothing.
func (s *session) observe(ctx context.Context) (slot replication.Slot, leader checkpoint.Leader, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if slot, err = s.checkObjects(ctx); err != nil {
		return slot, leader, err
	}
	if most := s.d.opts.MaxRetained; most > 0 && slot.Retained > most {
		return slot, leader, fmt.Errorf("%w: the server keeps %s of WAL for the replication slot", replication.ErrTooMuchWAL, compact(uint64(slot.Retained))) //nolint:gosec // positive
	}
	leader, _, err = checkpoint.ReadLeader(ctx, s.control, string(s.layout.Schema))
	return slot, leader, err
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

// checkRetainedWAL ends trust while more than half of the WAL is kept that may be: something holds the slot
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

func (s *session) checkObjects(ctx context.Context) (replication.Slot, error) {
	if err := s.sameTables(ctx); err != nil {
		return replication.Slot{}, err
	}
	published, err := published(ctx, s.control, s.pubs)
	switch {
	case err != nil:
		return replication.Slot{}, changed(err)
	case !slices.Equal(published.OIDs, s.identity.Publications):
		return replication.Slot{}, fmt.Errorf("%w: a publication was dropped and created again", ErrObjectsChanged)
	case s.state(published.State) != s.identity.PublicationState:
		return replication.Slot{}, fmt.Errorf("%w: a publication was altered", ErrObjectsChanged)
	}
	slot, err := replication.ReadSlot(ctx, s.control, s.slot)
	switch {
	case err != nil:
		return slot, changed(err)
	case slot.Lost():
		what, _ := slot.Loss()
		return slot, fmt.Errorf("%w: replication slot %s %s", ErrObjectsChanged, s.slot, what)
	}
	return slot, nil
}

// sameTables ends the session when awa's tables are not what it began with. awa's migrations take a lock of
// their own; workers take it for a moment at every start, to find that there is nothing to do, so one look
// that meets it says nothing yet.
func (s *session) sameTables(ctx context.Context) error {
	pid, err := awa.Migrator(ctx, s.control)
	if err != nil {
		return err
	}
	if pid != 0 && pid == s.migrator {
		return &migrating{pid}
	}
	s.migrator = pid
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
