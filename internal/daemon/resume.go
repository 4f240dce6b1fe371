package daemon

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pglogrepl"
	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/pgsnap"
	"github.com/awa-counterd/awa-counterd/internal/resume"
	"github.com/awa-counterd/awa-counterd/reconcile"
)

// openStream makes or resumes publication and slot and begins to stream. stored is nil when the
// books have to be scanned.
func (s *session) openStream(ctx context.Context) (pglogrepl.LSN, *checkpoint.Stored, error) {
	f, err := s.inspectForResume(ctx)
	if err != nil {
		return 0, nil, err
	}
	s.identity = f.Identity
	s.store = checkpoint.NewStore(s.keeper, string(s.layout.Schema), s.instance, f.Identity)
	if f.Stored != nil && f.Stored.Slot != s.slot && !s.d.opts.DryRun {
		if err := dropUnread(ctx, s.control, s.log, f.Stored.Slot, string(s.layout.Schema)); err != nil {
			s.d.warnOnce(err)
		}
	}
	var position pglogrepl.LSN
	if reason := resume.RescanReason(f); reason != "" {
		s.log.Info("scanning afresh", zap.String("reason", reason))
		if f.Stored != nil {
			s.pruned = f.Stored.Pruned // history, whatever becomes of the books
		}
		f.Stored = nil
		if position, err = s.recreateSlot(ctx, f.Slot != nil); err != nil {
			return 0, nil, err
		}
		// The new slot's beginning may lie past what IDENTIFY_SYSTEM said before it was made.
		if _, err := s.identify(ctx); err != nil {
			return 0, nil, err
		}
	} else {
		position = f.Stored.Position
		if s.d.opts.Failover && !f.Slot.Failover {
			if err := s.carryToStandbys(ctx); err != nil {
				return 0, nil, err
			}
		}
		s.log.Info("resuming from the checkpoint", zap.Stringer("position", position),
			zap.Duration("age", f.Stored.Age.Round(time.Millisecond)), zap.Int("groups", len(f.Stored.Groups)))
	}
	s.d.super.Alive()
	d := decoder.New(awa.NewCatalog(s.layout), applier.MessagePrefix)
	ctx, cancel := context.WithTimeout(ctx, statementTimeout+answerWithin)
	defer cancel()
	if err := s.stream.Start(ctx, s.slot, names(s.pubs), position, d); err != nil {
		return 0, nil, err
	}
	return position, f.Stored, nil
}

func (s *session) carryToStandbys(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout+answerWithin)
	defer cancel()
	return s.stream.CarryToStandbys(ctx, s.slot)
}

func (s *session) start(ctx context.Context, position pglogrepl.LSN, stored *checkpoint.Stored) (applier.Start, error) {
	start := applier.Start{Position: position, Pruned: s.pruned}
	var err error
	if stored != nil {
		s.resumes = true
		start.Resumes, start.Groups, start.Unseen = true, stored.Groups, stored.Unseen
		start.Uncounted, start.Pruned = stored.Uncounted, stored.Pruned
	} else if start.Uncounted, err = checkpoint.LoadUncounted(ctx, s.control, string(s.layout.Schema)); err != nil {
		return start, err
	}
	var snapshot, next string // our own id is the newest there is
	if err := s.control.QueryRow(ctx, `select pg_current_snapshot()::text, pg_current_xact_id()::text`).Scan(&snapshot, &next); err != nil {
		return start, fmt.Errorf("read a snapshot: %w", err)
	}
	if start.Snapshot, err = pgsnap.Parse(snapshot); err != nil {
		return start, err
	}
	if stored == nil {
		// What a new slot does not stream was committed before it; but a commit may have been in the
		// WAL by then and visible to nobody yet (applier.Start).
		xid, err := strconv.ParseUint(next, 10, 64)
		if err != nil {
			return start, fmt.Errorf("read a transaction id: %w", err)
		}
		start.Unseen = start.Snapshot.Unseen(xid)
	}
	if start.MarkerSet, err = s.markerIsSet(ctx); err != nil {
		return start, err
	}
	s.scanner, err = reconcile.NewScanner(context.WithoutCancel(ctx), s.d.opts.Source, s.layout, 2, reconcile.ScanTimeout)
	return start, err
}
