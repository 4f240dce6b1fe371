package daemon

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/corrections"
	"github.com/awa-counterd/awa-counterd/internal/failpoint"
	"github.com/awa-counterd/awa-counterd/internal/pg"
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
		s.log.Warn("awa has no trust marker here; counters are kept right, and readers never told so")
	}
	return s.start(ctx, position, stored)
}

func (s *session) ensureSchema(ctx context.Context) error {
	if !s.d.opts.NoSetup {
		return checkpoint.Ensure(ctx, s.control, string(s.layout.Schema))
	}
	there, err := checkpoint.Exists(ctx, s.control)
	if err == nil && !there {
		err = pg.Refuse("have a DBA run what awa-counterd setup --print-sql prints, or leave out --no-setup", "schema %s is missing", checkpoint.SchemaName)
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
	const reason = "found set, and nobody vouches for the counters yet"
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
			s.d.saysCleared(reason)
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
