package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pglogrepl"
	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/corrections"
	"github.com/awa-counterd/awa-counterd/internal/failpoint"
	"github.com/awa-counterd/awa-counterd/internal/pg"
	"github.com/awa-counterd/awa-counterd/internal/pgsnap"
	"github.com/awa-counterd/awa-counterd/internal/resume"
	"github.com/awa-counterd/awa-counterd/reconcile"
	"github.com/awa-counterd/awa-counterd/replication"
)

// claimLead begins the lead: from here on, whatever an earlier instance still sends is refused.
func (s *session) claimLead(ctx context.Context) (applier.Start, error) {
	var none applier.Start
	if err := s.ensureSchema(ctx); err != nil {
		return none, err
	}
	var err error
	if s.instance, err = newInstance(); err != nil {
		return none, err
	}
	schema := string(s.layout.Schema)
	if leader, known, err := checkpoint.ReadLeader(ctx, s.control, schema); err != nil {
		return none, err
	} else if known && leader.Leaving {
		return none, errLeadRequested
	} else {
		s.holding = leader.Finishing // a standby that takes over in the middle of it must not correct either
	}
	s.d.last = s.instance
	host, _ := os.Hostname()
	claim := checkpoint.Leader{Instance: s.instance, Host: host, PID: os.Getpid(), Version: s.d.opts.Version, DryRun: s.d.opts.DryRun, Bound: s.d.opts.MaxStaleness}
	if err := checkpoint.Claim(ctx, s.control, schema, claim); err != nil {
		return none, err
	}
	failpoint.Reach(failpoint.Claimed)
	s.d.super.Alive()
	if err := s.d.noteLead(ctx, s.control, s.layout.Schema); err != nil {
		return none, err
	}
	if err := s.openWriters(ctx); err != nil {
		return none, err
	}
	if err := s.clearMarker(ctx); err != nil {
		return none, err
	}
	position, stored, err := s.openStream(ctx)
	if err != nil {
		return none, err
	}
	if !s.layout.HasMarker {
		s.log.Warn("this awa has no trust marker: the daemon corrects the counters, but readers do not use them")
	}
	return s.start(ctx, position, stored)
}

func (s *session) ensureSchema(ctx context.Context) error {
	if !s.d.opts.NoSetup {
		return checkpoint.Ensure(ctx, s.control, string(s.layout.Schema))
	}
	there, err := checkpoint.Exists(ctx, s.control)
	if err == nil && !there {
		err = pg.Refuse("let a DBA run the statements that awa-counterd setup --print-sql prints, or leave out --no-setup", "schema %s is missing", checkpoint.SchemaName)
	}
	return err
}

func (s *session) openWriters(ctx context.Context) error {
	short := pg.Session{Role: "corrections", LockTimeout: 250 * time.Millisecond, StatementTimeout: statementTimeout, Async: true}
	var err error
	if s.writes, err = s.open(ctx, short); err != nil {
		return err
	}
	short.Role = "marker"
	if s.markers, err = s.open(ctx, short); err != nil {
		return err
	}
	if s.keeper, err = s.open(ctx, pg.Session{Role: "checkpoint", LockTimeout: 5 * time.Second, StatementTimeout: statementTimeout, Async: true}); err != nil {
		return err
	}
	if s.recalls, err = checkpoint.Remembers(ctx, s.control); err != nil {
		return err
	}
	sql := corrections.OfLeader(s.layout, s.recalls)
	if s.d.opts.DryRun {
		sql = corrections.OfDryRun(s.layout)
	}
	s.writer = corrections.NewWriter(s.writes, sql, s.instance)
	if m := s.d.opts.Meter; m != nil {
		s.writer.Took = m.Corrected
	}
	s.marker = corrections.NewWriter(s.markers, sql, s.instance)
	return nil
}

// clearMarker is the first thing that a session writes.
func (s *session) clearMarker(ctx context.Context) error {
	if !s.layout.HasMarker || s.d.opts.Trust == applier.TrustOff {
		return nil
	}
	const reason = "found set, and no daemon vouches for the counters yet"
	for {
		s.d.super.Alive()
		set, err := s.markerIsSet(ctx)
		if err == nil && !set {
			s.settleMarker(ctx)
		}
		if err != nil || !set {
			return err
		}
		err = s.marker.SetMarker(ctx, applier.SetMarker{Reason: reason})
		switch {
		case err == nil:
			s.log.Warn("trust: marker cleared", zap.String("reason", reason))
			return nil
		case !pg.IsBusy(err):
			return err
		}
	}
}

func (s *session) markerIsSet(ctx context.Context) (bool, error) {
	var set bool
	if err := s.control.QueryRow(ctx, `select `+s.layout.MarkerIsSet()).Scan(&set); err != nil {
		return false, fmt.Errorf("read the marker: %w", err)
	}
	return set, nil
}

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
		if _, err := s.stream.Identify(ctx); err != nil {
			return 0, nil, err
		}
	} else {
		position = f.Stored.Position
		if s.d.opts.Failover && !f.Slot.Failover {
			if err := s.stream.CarryToStandbys(ctx, s.slot); err != nil {
				return 0, nil, err
			}
		}
		s.log.Info("resuming from the checkpoint", zap.Stringer("position", position),
			zap.Duration("age", f.Stored.Age.Round(time.Millisecond)), zap.Int("groups", len(f.Stored.Groups)))
	}
	s.d.super.Alive()
	d := decoder.New(awa.NewCatalog(s.layout), applier.MessagePrefix)
	if err := s.stream.Start(ctx, s.slot, names(s.pubs), position, d); err != nil {
		return 0, nil, err
	}
	return position, f.Stored, nil
}

// state is what the books rest on beside relations: how awa's tables are published, and what was done to them.
func (s *session) state(published string) string { return published + "; " + s.layout.State }

// inspectForResume gathers what decides between resuming and scanning afresh.
func (s *session) inspectForResume(ctx context.Context) (resume.Found, error) {
	var f resume.Found
	var err error
	s.d.liveWhile(func() { s.stream, err = replication.Open(ctx, s.d.opts.Source.ReplicationConfig()) })
	if err != nil {
		return f, s.d.opts.Source.ExplainConnect(err)
	}
	system, err := s.stream.Identify(ctx)
	if err != nil {
		return f, err
	}
	s.chooseNames(system.Database)
	s.d.super.Alive()
	published, err := s.ensurePublications(ctx)
	if err != nil {
		return f, err
	}
	// We hold the leader lock, so a daemon that still reads the slot is a dead one.
	if err := replication.Evict(ctx, s.control, s.slot); err != nil {
		return f, err
	}
	slot, err := replication.ReadSlot(ctx, s.control, s.slot)
	switch {
	case errors.Is(err, replication.ErrNoSlot):
	case err != nil:
		return f, err
	default:
		if err := slot.CheckUsable(system.Database); err != nil {
			return f, err
		}
		f.Slot = &slot
	}
	s.d.super.Alive()
	if f.Stored, err = checkpoint.Load(ctx, s.control, string(s.layout.Schema)); err != nil {
		return f, err
	}
	s.d.super.Alive()
	if err := s.control.QueryRow(ctx, `select `+s.layout.RowEstimate()).Scan(&f.Rows); err != nil {
		return f, fmt.Errorf("estimate the rows: %w", err)
	}
	f.End, f.Broken, f.Most = system.End, s.d.broken, s.d.opts.MaxRetained
	f.Fleeting = s.d.opts.Temporary
	if f.Stored != nil && f.Slot != nil && f.Slot.Synced && f.Stored.SystemIdentifier == system.ID && f.Stored.Timeline != system.Timeline {
		if f.Left, err = s.stream.Left(ctx, system.Timeline, f.Stored.Timeline); err != nil {
			return f, err
		}
	}
	f.Identity = checkpoint.Identity{
		Slot: s.slot, Publications: published.OIDs, PublicationState: s.state(published.State), SystemIdentifier: system.ID, Timeline: system.Timeline, Relations: s.layout.OIDs(), Shape: s.layout.Fingerprint(),
	}
	return f, nil
}

// chooseNames settles slot and publications.
func (s *session) chooseNames(database string) {
	schema := string(s.layout.Schema)
	if s.slot = s.d.opts.Slot; s.slot == "" {
		s.slot = replication.SlotName(database, schema)
	}
	name := s.d.opts.Publication
	if name == "" {
		name = replication.PublicationName(schema)
	}
	s.pubs = replication.Needed(name, s.layout)
	s.d.adoptLayout(s.layout)
	delete(s.d.past, s.layout.Schema)
	s.d.left.slot = s.slot
}

func names(pubs []replication.Publication) (out []string) {
	for _, p := range pubs {
		out = append(out, p.Name)
	}
	return out
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
