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
	"github.com/awa-counterd/awa-counterd/replication"
)

// session is a lead that runs: what its start has brought, its Core, and what it remembers while it runs.
type session struct {
	streaming
	core     *applier.Core
	resumes  bool  // from a checkpoint
	retained int64 // bytes of WAL, as last read
	lastSlot replication.Slot
	guarded  bool // they are past the soft limit
	dry      dryRun
	watch    looks
	status   ticker
	leaving  bool  // finish has asked us to
	holding  bool  // finish moves counters about
	migrator int32 // the process that the last look found holding the lock of awa's migrations; 0 is none
	lookout  lookout
}

// session runs one lead from connecting to its end. ctx ends it gracefully.
//
// Each phase of the start takes what the one before it returned, so none comes too early. What a phase has opened is closed
// at the end, last opened first; a phase that fails closes what it had opened itself.
func (d *Daemon) session(ctx context.Context) error {
	// What is under way at the end of ctx is finished, not cut off; work bounds it.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	control, err := d.connect(ctx)
	if err != nil {
		return err // there is no connection to clear a marker with
	}
	// The leader lock goes last: only then may another instance begin.
	defer closeAll(control) //nolint:contextcheck // has to work after ctx has ended
	layout, err := d.findTables(ctx, control)
	if err != nil {
		d.clearMarkerBeforeStart(control, nil, err) //nolint:contextcheck // has to work after ctx has ended
		return err
	}
	c, err := d.takeLead(ctx, control, layout)
	if err = d.leaveForGood(control, layout, err); err != nil { //nolint:contextcheck // has to work after ctx has ended
		d.clearMarkerBeforeStart(control, layout, err) //nolint:contextcheck // has to work after ctx has ended
		return err
	}
	defer c.close() //nolint:contextcheck // has to work after ctx has ended
	stream, err := d.openStream(ctx)
	if err != nil {
		d.clearMarkerBeforeStart(control, layout, err) //nolint:contextcheck // has to work after ctx has ended
		return err
	}
	defer stream.Close() //nolint:contextcheck // has to work after ctx has ended
	running, start, err := begin(ctx, c, stream)
	if err != nil {
		d.clearMarkerBeforeStart(control, layout, err) //nolint:contextcheck // has to work after ctx has ended
		return err
	}
	s, err := newSession(running, start)
	if err != nil {
		return err
	}
	return s.runToEnd(ctx, work)
}

// takeLead checks what this role may do, waits for the lead and claims it.
func (d *Daemon) takeLead(ctx context.Context, control *pgx.Conn, layout *awa.Layout) (claimed, error) {
	checked, err := d.check(ctx, control, layout)
	if err != nil {
		return claimed{}, err
	}
	leads, err := lead(ctx, checked)
	if err != nil {
		return claimed{}, err
	}
	return claim(ctx, leads)
}

// begin takes a claimed lead to a stream that runs, and says what its Core starts with.
func begin(ctx context.Context, c claimed, stream *replication.Stream) (streaming, applier.Start, error) {
	p, err := prepare(ctx, c, stream)
	if err != nil {
		return streaming{}, applier.Start{}, err
	}
	found, err := inspect(ctx, p)
	if err != nil {
		return streaming{}, applier.Start{}, err
	}
	at, from, err := resumeOrRecreate(ctx, p, found)
	if err != nil {
		return streaming{}, applier.Start{}, err
	}
	s, err := startStream(ctx, at, from.position)
	if err != nil {
		return streaming{}, applier.Start{}, err
	}
	start, err := readStart(ctx, s, from)
	return s, start, err
}

// newSession makes the Core of a lead.
func newSession(running streaming, start applier.Start) (*session, error) {
	now := time.Now()
	core, err := applier.New(running.d.coreConfig(running.instance, running.layout), start, now)
	if err != nil {
		return nil, err
	}
	core.HoldCorrections(running.finishing)
	s := &session{
		streaming: running, core: core, resumes: start.Resumes, holding: running.finishing,
		watch: looks{bound: running.d.opts.MaxStaleness, last: now},
	}
	s.writer.Sent = s.lookout.own.add
	return s, nil
}

// runToEnd keeps the counters right until the session ends.
func (s *session) runToEnd(ctx, work context.Context) error {
	s.d.started, s.d.worked = true, true
	s.d.log.Info("leading", zap.String("schema", string(s.layout.Schema)), zap.String("shape", s.layout.Describe()),
		zap.Int("leaves", len(s.layout.Leaves)), zap.String("replication_slot", s.slot), zap.String("publication", s.pubs[0].Name), zap.String("instance", s.instance))
	s.d.report(Leading, s.core.State(time.Now()))
	if s.d.opts.DryRun {
		s.beginDryRun()
	}
	s.d.left.marked = false
	err := s.migrated(s.loop(ctx, work)) //nolint:contextcheck // has to work after ctx has ended
	if s.d.opts.DryRun {
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
	ctx, cancel := context.WithTimeout(context.Background(), lastWordWithin)
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
	ctx, cancel := context.WithTimeout(context.Background(), lastWordWithin)
	defer cancel()
	err := s.marker.SetMarker(ctx, applier.SetMarker{Reason: reason.Error()})
	if err != nil && (!errors.Is(err, corrections.ErrNotLeading) || s.unclaimed()) {
		// That connection is dead; or a table was renamed; or somebody has dropped schema awa_counterd meanwhile, or deleted the
		// leader's row, and the guard with it. As long as this one lives the lead is ours, so it was no finish.
		again, cancel := context.WithTimeout(context.Background(), lastWordWithin)
		defer cancel()
		var cleared bool
		if cleared, err = s.d.clearByOID(again, s.control, s.layout); cleared {
			s.d.noteCleared(again, s.control, s.layout, reason.Error())
		}
	}
	if err != nil {
		s.d.left.marked = true
		s.log.Debug("the marker could not be cleared at the end of the session", zap.Error(err))
		return
	}
	s.d.saysCleared(reason.Error())
}

// unclaimed reports that nobody is known to lead, though this session holds the lock: a person has deleted the leader's row.
func (s *session) unclaimed() bool {
	ctx, cancel := context.WithTimeout(context.Background(), lastWordWithin)
	defer cancel()
	leader, known, err := checkpoint.ReadLeaderIfAny(ctx, s.control, string(s.layout.Schema))
	return err == nil && (!known || leader.Another)
}

// clearMarkerBeforeStart looks after what there is when a session cannot begin: what keeps it from that may take a person to
// mend. layout is nil where awa's tables were not found.
func (d *Daemon) clearMarkerBeforeStart(control *pgx.Conn, layout *awa.Layout, reason error) {
	if intended(reason) {
		return
	}
	switch {
	case layout != nil:
		d.adoptLayout(layout)
	case d.left.layout == nil:
		d.left.layout = d.findUnknownMarker(context.Background(), control)
	}
	d.betweenSessions(context.Background(), control, reason.Error())
}
