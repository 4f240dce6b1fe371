package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/corrections"
	"github.com/awa-counterd/awa-counterd/internal/pg"
	"github.com/awa-counterd/awa-counterd/internal/preflight"
	"github.com/awa-counterd/awa-counterd/reconcile"
	"github.com/awa-counterd/awa-counterd/replication"
)

// session is one lead: its connections, its stream and its Core.
type session struct {
	d        *Daemon
	log      *zap.Logger
	instance string
	layout   *awa.Layout
	control  *pgx.Conn // holds the leader lock; monitors
	writes   *pgx.Conn
	markers  *pgx.Conn
	keeper   *pgx.Conn
	writer   *corrections.Writer
	marker   *corrections.Writer
	store    *checkpoint.Store
	scanner  *reconcile.Scanner
	stream   *replication.Stream
	pubs     []replication.Publication
	slot     string
	identity checkpoint.Identity
	core     *applier.Core
	pruned   time.Time // when a pre-#290 leader emptied a ring slot last, as a checkpoint said
	retained int64     // bytes of WAL, as last read
	lastSlot replication.Slot
	guarded  bool // they are past the soft limit
	resumes  bool // from a checkpoint
	recalls  bool // writes the history of the marker
	dry      dryRun
	status   ticker
	leaving  bool  // finish has asked us to
	holding  bool  // finish moves counters about
	migrator int32 // the process that the last look found holding the lock of awa's migrations; 0 is none
}

// session runs one lead from connecting to its end. ctx ends it gracefully.
func (d *Daemon) session(ctx context.Context) error {
	// What is under way at the end of ctx is finished, not cut off; work bounds it.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s := &session{d: d, log: d.log}
	defer s.close() //nolint:contextcheck // has to work after ctx has ended
	if err := s.connect(ctx); err != nil {
		s.clearMarkerBeforeStart(err) //nolint:contextcheck // has to work after ctx has ended
		return err
	}
	if err := d.lead(ctx, s.control, s.layout); err != nil {
		s.clearMarkerBeforeStart(err) //nolint:contextcheck // has to work after ctx has ended
		return err
	}
	start, err := s.claimLead(ctx)
	if err != nil {
		s.clearMarkerBeforeStart(err) //nolint:contextcheck // has to work after ctx has ended
		return err
	}
	now := time.Now()
	s.core, err = applier.New(d.coreConfig(s.instance, s.layout), start, now)
	if err != nil {
		return err
	}
	s.core.HoldCorrections(s.holding)
	d.started = true
	d.log.Info("leading", zap.String("schema", string(s.layout.Schema)), zap.String("shape", s.layout.Describe()),
		zap.Int("leaves", len(s.layout.Leaves)), zap.String("slot", s.slot), zap.String("publication", s.pubs[0].Name), zap.String("instance", s.instance))
	d.report(Leading, s.core.State(now))
	if d.opts.DryRun {
		s.beginDryRun()
	}
	err = s.migrated(s.loop(ctx, work)) //nolint:contextcheck // has to work after ctx has ended
	if d.opts.DryRun {
		s.reportDryRun(time.Now())
	}
	if !intended(err) && (!isDeposed(err) || s.unclaimed()) { //nolint:contextcheck // has to work after ctx has ended
		s.clearMarkerAfterFailure(err) //nolint:contextcheck // has to work after ctx has ended
	}
	return err
}

// migrated finds out whether a session ended because awa's migrations changed the tables under it: whatever
// failed then (a statement, a message of the stream) is no fault.
func (s *session) migrated(err error) error {
	if err == nil || intended(err) || errors.Is(err, errMigrated) || isDeposed(err) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	pid, e := awa.Migrator(ctx, s.control)
	if e != nil {
		// That connection went with the session. What the stream says of awa's tables is as good; whether it can be read on
		// with another layout is not known, so err stays to be told.
		if errors.Is(err, awa.ErrLayoutChanged) {
			return fmt.Errorf("%w (%w)", errMigrated, err)
		}
		return err
	}
	layout, e := awa.Discover(ctx, s.control, s.layout.Schema)
	if pid != 0 || (e == nil && layout.Fingerprint() != s.layout.Fingerprint()) {
		return fmt.Errorf("%w (%s)", errMigrated, err.Error())
	}
	return err
}

// clearMarkerAfterFailure clears the marker when a session fails, if a connection is left to do it with: what comes
// next may take long, or may wait for a person. The next session clears it again, first thing.
func (s *session) clearMarkerAfterFailure(reason error) {
	if !s.layout.HasMarker || s.d.opts.Trust == applier.TrustOff || !s.core.MarkerSet() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.marker.SetMarker(ctx, applier.SetMarker{Reason: reason.Error()})
	if err != nil && (!errors.Is(err, corrections.ErrNotLeading) || s.unclaimed()) {
		// That connection is dead; or a table was renamed; or somebody has dropped our schema under us, or deleted the
		// leader's row, and the guard with it. As long as this one lives the lead is ours, so it was no finish.
		again, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		var cleared bool
		if cleared, err = clearByOID(again, s.control, s.layout); cleared {
			s.d.noteCleared(again, s.control, s.layout, reason.Error())
		}
	}
	if err != nil {
		s.log.Debug("the marker could not be cleared at the end of the session", zap.Error(err))
		return
	}
	s.log.Warn("trust: marker cleared", zap.String("reason", reason.Error()))
}

// unclaimed reports that nobody is known to lead, though this session holds the lock: a hand has deleted the leader's row.
func (s *session) unclaimed() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, known, err := checkpoint.ReadLeaderIfAny(ctx, s.control, string(s.layout.Schema))
	return err == nil && !known
}

// clearMarkerBeforeStart looks after what there is when a session cannot begin: what keeps it from that may take a person to
// mend.
func (s *session) clearMarkerBeforeStart(reason error) {
	if intended(reason) {
		return
	}
	switch {
	case s.layout != nil:
		s.d.adoptLayout(s.layout)
	case s.d.left.layout == nil:
		s.d.left.layout = s.d.findUnknownMarker(context.Background(), s.control)
	}
	s.d.betweenSessions(context.Background(), s.control, reason.Error())
}

const statementTimeout = 30 * time.Second

// connect opens the control connection and checks whether anything can work at all.
func (s *session) connect(ctx context.Context) error {
	var err error
	s.control, err = s.open(ctx, pg.Session{Role: pg.ControlRole, LockTimeout: 5 * time.Second, StatementTimeout: statementTimeout})
	if err != nil {
		return s.d.opts.Source.ExplainConnect(err)
	}
	if err := preflight.Server(ctx, s.d.target(s.control)); err != nil {
		return err
	}
	if s.layout, err = s.d.layout(ctx, s.control); err != nil {
		return err
	}
	if _, err := s.d.leader(ctx, s.control, s.layout); err != nil {
		return err
	}
	return s.d.checkTables(ctx, s.control, s.layout)
}

func (s *session) open(ctx context.Context, session pg.Session) (c *pgx.Conn, err error) {
	s.d.liveWhile(func() { c, err = s.d.opts.Source.Connect(ctx, session) })
	return c, err
}

func (s *session) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if s.stream != nil {
		s.stream.Close()
	}
	if s.scanner != nil {
		s.scanner.Close()
	}
	// The leader lock goes last: only then may another instance begin.
	for _, c := range []*pgx.Conn{s.writes, s.markers, s.keeper, s.control} {
		if c != nil {
			_ = c.Close(ctx)
		}
	}
}
