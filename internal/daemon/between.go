package daemon

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/replication"
)

// leftovers is what the last session had, for the time in which there is none: what comes next may wait for a
// migration of awa's, or for a person.
type leftovers struct {
	layout *awa.Layout
	slot   string
	told   string // what was said last of a marker that cannot be cleared
	unread bool   // the marker was cleared last without a look at it
	marked bool   // the marker is set, or may be, and nobody vouches for it: clearing it has failed so far
}

// betweenSessions looks after what a session left, on a connection that has nothing else to do: a marker that nobody
// vouches for is cleared as far as this role may, and a replication slot that nobody reads keeps no more WAL
// than it may.
func (d *Daemon) betweenSessions(ctx context.Context, c *pgx.Conn, reason string) {
	if d.left.layout == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if d.left.layout.HasMarker && d.opts.Trust != applier.TrustOff {
		// A refusal at the first start ends the process: no other look follows.
		for !d.clearLeft(ctx, c, reason) && !d.started && ctx.Err() == nil {
			<-time.After(rowRetryPause)
		}
	}
	most := d.opts.MaxRetained
	slot, err := replication.ReadSlot(ctx, c, d.left.slot)
	if err != nil || slot.Active || most == 0 || slot.Retained <= most {
		return
	}
	if err := replication.Drop(ctx, c, d.left.slot); err == nil {
		d.log.Warn("dropped the replication slot, because the server kept too much WAL while no session read it; the next session scans all rows",
			zap.String("replication_slot", d.left.slot), zap.String("retained", compact(uint64(slot.Retained)))) //nolint:gosec // positive
	}
}

// findUnknownMarker finds a marker that nobody vouches for when a start fails before awa's tables could be looked at: by the
// schema's name, or, when even that cannot be had, by where a daemon led last.
func (d *Daemon) findUnknownMarker(ctx context.Context, c *pgx.Conn) *awa.Layout {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	schema, err := d.schema(ctx, c)
	if err != nil {
		if schema, err = awa.ParseSchema(checkpoint.LastLed(ctx, c)); err != nil {
			return nil
		}
	}
	l, err := awa.DiscoverMarker(ctx, c, schema)
	if err != nil {
		return nil
	}
	return l
}

// cannotClear says of a marker that it stands though nobody vouches for it, once as long as it is for the same reason.
func (d *Daemon) cannotClear(err error) {
	if text := err.Error(); text != d.left.told {
		d.left.told = text
		d.log.Warn("trust: no daemon vouches for the counters, and the marker cannot be cleared", zap.Error(err))
	}
}

// clearLeft reports whether it is over: false is a marker whose row somebody holds.
func (d *Daemon) clearLeft(ctx context.Context, c *pgx.Conn, reason string) (over bool) {
	// Briefly: rotations, prunes and migrations lock the same row, and the next look comes in a second.
	if _, err := c.Exec(ctx, `set lock_timeout = '300ms'`); err != nil {
		return true
	}
	defer func() { _, _ = c.Exec(ctx, `reset lock_timeout`) }()
	cleared, err := d.clearUnvouched(ctx, c, d.left.layout)
	switch {
	case pg.IsBusy(err):
		return false
	case err != nil:
		d.cannotClear(err)
		return true
	case cleared:
		reason = "no daemon vouches for the counters: " + reason
		d.saysCleared(reason)
		d.noteCleared(ctx, c, d.left.layout, reason)
	}
	d.left.marked = false
	return true
}

// clearAtEnd clears a marker that the last session has left, its own connections having ended, on a connection of its own.
func (d *Daemon) clearAtEnd(within time.Duration) {
	if d.left.layout == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	c, err := d.open(ctx, pg.Settings{Role: pg.ControlRole, LockTimeout: lockWait, StatementTimeout: statementTimeout})
	if err != nil {
		return
	}
	defer closeAll(c)
	for !d.clearLeft(ctx, c, "the daemon was stopped") && ctx.Err() == nil {
		<-time.After(rowRetryPause)
	}
}
