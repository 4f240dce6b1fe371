package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/pg"
	"github.com/awa-counterd/awa-counterd/replication"
)

// ErrGroundLost says that the server-side objects that the books rest on are not what they were.
var ErrGroundLost = errors.New("the ground has changed under the stream")

// monitor looks once a second, or twice within the staleness bound, at what the stream cannot tell
// by itself: a publication that was altered, a slot that is lost, tables that were made anew. It
// uses the connection that holds the leader lock, so losing that ends the session as well.
func (s *session) monitor(ctx context.Context, results chan<- func(time.Time)) error {
	tick := time.NewTicker(min(s.d.opts.MaxStaleness/2, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		slot, leave, err := s.watched(ctx)
		if err != nil {
			if pg.IsBusy(err) {
				continue
			}
			return err
		}
		select {
		case results <- func(now time.Time) { s.heard(now, slot, leave) }:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// answerWithin bounds a look by our own clock: behind a half-open connection no timeout of the
// server's is ever heard of.
const answerWithin = 15 * time.Second

// watched is one look at everything the monitor looks at.
func (s *session) watched(ctx context.Context) (slot replication.Slot, leave bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if slot, err = s.inspect(ctx); err != nil {
		return slot, false, err
	}
	if most := s.d.opts.MaxRetained; most > 0 && slot.Retained > most {
		return slot, false, fmt.Errorf("%w: the slot keeps %s of WAL", replication.ErrRetained, compact(uint64(slot.Retained))) //nolint:gosec // positive
	}
	leader, known, err := checkpoint.ReadLeader(ctx, s.control, string(s.layout.Schema))
	return slot, known && leader.Leaving, err
}

// heard takes in what the monitor saw, on the loop's goroutine.
func (s *session) heard(now time.Time, slot replication.Slot, leave bool) {
	s.retained = slot.Retained
	s.guardWAL()
	if leave && !s.leaving {
		s.leaving = true
		s.log.Info("finishing: the last flush and checkpoint")
		s.core.Stop(now)
	}
}

// guardWAL ends trust while more than half of the WAL is kept that may be: something holds the slot
// back, and soon it may have to go.
func (s *session) guardWAL() {
	most := s.d.opts.MaxRetained
	suspicion := ""
	if most > 0 && s.retained > most/2 {
		suspicion = fmt.Sprintf("the slot keeps %s of WAL, past half of --max-retained-wal=%s",
			compact(uint64(s.retained)), compact(uint64(most))) //nolint:gosec // both are positive
	}
	if (suspicion != "") != s.guarded {
		s.guarded = suspicion != ""
		if s.guarded {
			s.log.Warn("WAL piles up behind the replication slot", zap.String("retained", compact(uint64(s.retained))), zap.String("limit", compact(uint64(most)))) //nolint:gosec // both are positive
		} else {
			s.log.Info("the replication slot keeps little WAL again", zap.String("retained", compact(uint64(s.retained)))) //nolint:gosec // positive
		}
	}
	s.core.Suspect(suspicion)
}

func (s *session) inspect(ctx context.Context) (replication.Slot, error) {
	layout, err := awa.Discover(ctx, s.control, s.layout.Schema)
	if err != nil {
		return replication.Slot{}, fmt.Errorf("%w: %w", ErrGroundLost, err)
	}
	if !slices.Equal(layout.OIDs(), s.identity.Relations) || layout.HasMarker != s.layout.HasMarker {
		return replication.Slot{}, fmt.Errorf("%w: awa's tables are not the ones that were there at the start", ErrGroundLost)
	}
	if err := layout.CheckIdentities(); err != nil {
		return replication.Slot{}, fmt.Errorf("%w: %w", ErrGroundLost, err)
	}
	published, err := s.pub.Check(ctx, s.control)
	switch {
	case err != nil:
		return replication.Slot{}, fmt.Errorf("%w: %w", ErrGroundLost, err)
	case published.OID != s.identity.PublicationOID:
		return replication.Slot{}, fmt.Errorf("%w: publication %s was made anew", ErrGroundLost, s.pub.Name)
	case published.State != s.identity.PublicationState:
		return replication.Slot{}, fmt.Errorf("%w: publication %s was altered", ErrGroundLost, s.pub.Name)
	}
	slot, err := replication.ReadSlot(ctx, s.control, s.slot)
	switch {
	case err != nil:
		return slot, fmt.Errorf("%w: %w", ErrGroundLost, err)
	case slot.Lost():
		return slot, fmt.Errorf("%w: slot %s has lost its WAL", ErrGroundLost, s.slot)
	}
	return slot, nil
}
