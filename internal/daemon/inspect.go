package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/resume"
	"github.com/awa-counterd/awa-counterd/replication"
)

// inspectForResume gathers what decides between resuming and scanning afresh.
func (s *session) inspectForResume(ctx context.Context) (resume.Found, error) {
	var f resume.Found
	var err error
	s.d.liveWhile(func() { s.stream, err = replication.Open(ctx, s.d.opts.Source.ReplicationConfig()) })
	if err != nil {
		return f, s.d.opts.Source.ExplainConnect(err)
	}
	system, err := s.identify(ctx)
	if err != nil {
		return f, err
	}
	s.chooseNames(system.Database)
	s.d.super.Alive()
	published, err := s.ensurePublications(ctx)
	if err != nil {
		return f, err
	}
	if f.Slot, err = s.takeSlot(ctx, system.Database); err != nil {
		return f, err
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
		if f.Left, err = s.left(ctx, system.Timeline, f.Stored.Timeline); err != nil {
			return f, err
		}
	}
	f.Identity = checkpoint.Identity{
		Slot: s.slot, Publications: published.OIDs, PublicationState: s.state(published.State), SystemIdentifier: system.ID, Timeline: system.Timeline, Relations: s.layout.OIDs(), Shape: s.layout.Fingerprint(),
	}
	return f, nil
}

// usableSlot reads the slot; nil when there is none.
func (s *session) usableSlot(ctx context.Context, database string) (*replication.Slot, error) {
	slot, err := replication.ReadSlot(ctx, s.control, s.slot)
	if errors.Is(err, replication.ErrNoSlot) {
		return nil, nil //nolint:nilnil // none is a state, not an error
	}
	if err == nil {
		err = slot.CheckUsable(database)
	}
	return &slot, err
}

func (s *session) left(ctx context.Context, current, older int32) (pglogrepl.LSN, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return s.stream.Left(ctx, current, older)
}

// state is what the books rest on beside relations: how awa's tables are published, and what was done to them.
func (s *session) state(published string) string { return published + "; " + s.layout.State }
