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
	"github.com/awa-counterd/awa-counterd/internal/base/pgsnap"
	"github.com/awa-counterd/awa-counterd/internal/resume"
)

// positioned is a lead with a replication slot that goes on where the books stand, or where a scan begins.
type positioned struct {
	prepared
	identity checkpoint.Identity // what the books rest on
	store    *checkpoint.Store
}

// streaming is a lead to which the server streams.
type streaming struct{ positioned }

// beginning is where the books begin.
type beginning struct {
	position pglogrepl.LSN
	stored   *checkpoint.Stored // nil: everything has to be scanned
	pruned   time.Time          // when a leader that does not count emptied a ring slot last, as a checkpoint said
}

// resumeOrRecreate goes on with the replication slot and the checkpoint that were found, or makes a new one
// for books that begin with a scan.
func resumeOrRecreate(ctx context.Context, p prepared, f resume.Found) (positioned, beginning, error) {
	s := positioned{prepared: p, identity: f.Identity, store: checkpoint.NewStore(p.keeper, string(p.layout.Schema), p.instance, f.Identity)}
	if err := s.dropFormer(ctx); err != nil {
		return s, beginning{}, err
	}
	if reason := resume.RescanReason(f); reason != "" {
		from, err := s.recreate(ctx, f, reason)
		return s, from, err
	}
	from, err := s.resume(ctx, f)
	return s, from, err
}

// dropFormer drops the replication slot and the publications that a daemon before this one had under other names.
func (s positioned) dropFormer(ctx context.Context) error {
	made, err := checkpoint.ReadMade(ctx, s.control, string(s.layout.Schema))
	if err != nil || s.d.opts.DryRun {
		return err
	}
	if err := s.dropUnused(ctx, made.Publications); err != nil || made.Slot == "" || made.Slot == s.slot {
		return err
	}
	if err := dropUnread(ctx, s.control, s.log, made.Slot, string(s.layout.Schema)); err != nil {
		s.d.warnOnce(err)
	}
	return nil
}

func (s positioned) recreate(ctx context.Context, f resume.Found, reason string) (beginning, error) {
	s.log.Info("scanning afresh", zap.String("reason", reason))
	var from beginning
	if f.Stored != nil {
		from.pruned = f.Stored.Pruned // history, whatever becomes of the books
	}
	var err error
	if from.position, err = s.recreateSlot(ctx, f.Slot != nil); err != nil {
		return from, err
	}
	// The new replication slot's beginning may lie past what IDENTIFY_SYSTEM said before it was made.
	_, err = identify(ctx, s.stream)
	return from, err
}

func (s positioned) resume(ctx context.Context, f resume.Found) (beginning, error) {
	from := beginning{position: f.Stored.Position, stored: f.Stored, pruned: f.Stored.Pruned}
	if s.d.opts.Failover && !f.Slot.Failover {
		if err := s.carryToStandbys(ctx); err != nil {
			return from, err
		}
	}
	s.log.Info("resuming from the checkpoint", zap.Stringer("position", from.position),
		zap.Duration("age", f.Stored.Age.Round(time.Millisecond)), zap.Int("groups", f.Stored.Groups.Len()))
	return from, nil
}

// startStream has the server stream from position.
func startStream(ctx context.Context, s positioned, position pglogrepl.LSN) (streaming, error) {
	s.d.super.Alive()
	d := decoder.New(awa.NewCatalog(s.layout), applier.MessagePrefix)
	ctx, cancel := context.WithTimeout(ctx, statementWithin)
	defer cancel()
	if err := s.stream.Start(ctx, s.slot, names(s.pubs), position, d); err != nil {
		return streaming{}, err
	}
	if !s.layout.HasMarker {
		s.log.Warn("this awa has no trust marker: the daemon corrects the counters, but readers do not use them")
	}
	return streaming{s}, nil
}

func (p prepared) carryToStandbys(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statementWithin)
	defer cancel()
	return p.stream.CarryToStandbys(ctx, p.slot)
}

// readStart reads what a Core starts with. It comes after the stream has begun, and changes nothing.
func readStart(ctx context.Context, s streaming, from beginning) (applier.Start, error) {
	start := applier.Start{Position: from.position, Pruned: from.pruned}
	stored := from.stored
	var err error
	if stored != nil {
		start.Resumes, start.Groups, start.Unseen = true, stored.Groups, stored.Unseen
		start.Uncounted, start.Quiet = stored.Uncounted, stored.Quiet
	} else if start.Uncounted, err = checkpoint.LoadUncounted(ctx, s.control, string(s.layout.Schema)); err != nil {
		return start, err
	}
	var snapshot, next string // the daemon's own id is the newest there is
	if err := s.control.QueryRow(ctx, `select pg_current_snapshot()::text, pg_current_xact_id()::text`).Scan(&snapshot, &next); err != nil {
		return start, fmt.Errorf("read a snapshot: %w", err)
	}
	if start.Snapshot, err = pgsnap.Parse(snapshot); err != nil {
		return start, err
	}
	if stored == nil {
		// What a new replication slot does not stream was committed before it; but a commit may have been in the
		// WAL by then and visible to nobody yet (applier.Start).
		xid, err := strconv.ParseUint(next, 10, 64)
		if err != nil {
			return start, fmt.Errorf("read a transaction id: %w", err)
		}
		start.Unseen = start.Snapshot.Unseen(xid)
	}
	start.MarkerSet, err = s.markerIsSet(ctx)
	return start, err
}
