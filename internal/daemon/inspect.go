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

// inspect reads what decides between resuming and scanning afresh. It makes and changes nothing.
func inspect(ctx context.Context, p prepared) (resume.Found, error) {
	var f resume.Found
	var err error
	if f.Slot, err = p.usableSlot(ctx); err != nil {
		return f, err
	}
	p.d.super.Alive()
	if f.Stored, err = checkpoint.Load(ctx, p.control, string(p.layout.Schema)); err != nil {
		return f, err
	}
	p.d.super.Alive()
	if err := p.control.QueryRow(ctx, `select `+p.layout.RowEstimate()).Scan(&f.Rows); err != nil {
		return f, fmt.Errorf("estimate the rows: %w", err)
	}
	system := p.system
	f.End, f.Broken, f.Most = system.End, p.d.broken, p.d.opts.MaxRetained
	f.Temporary = p.d.opts.Temporary
	if f.Stored != nil && f.Slot != nil && f.Slot.Synced && f.Stored.SystemIdentifier == system.ID && f.Stored.Timeline != system.Timeline {
		if f.Left, err = left(ctx, p.stream, system.Timeline, f.Stored.Timeline); err != nil {
			return f, err
		}
	}
	f.Identity = checkpoint.Identity{
		Slot: p.slot, Publications: p.published.OIDs, PublicationState: p.state(p.published.State), SystemIdentifier: system.ID, Timeline: system.Timeline, Relations: p.layout.OIDs(), Shape: p.layout.Fingerprint(),
	}
	return f, nil
}

// usableSlot reads the replication slot; nil when there is none.
func (p prepared) usableSlot(ctx context.Context) (*replication.Slot, error) {
	slot, err := replication.ReadSlot(ctx, p.control, p.slot)
	if errors.Is(err, replication.ErrNoSlot) {
		return nil, nil //nolint:nilnil // none is a state, not an error
	}
	if err == nil {
		err = slot.CheckUsable(p.system.Database)
	}
	return &slot, err
}

func left(ctx context.Context, stream *replication.Stream, current, older int32) (pglogrepl.LSN, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return stream.Left(ctx, current, older)
}

// state is what the books rest on beside relations: how awa's tables are published, and what was done to them.
func (c connected) state(published string) string { return published + "; " + c.layout.State }
