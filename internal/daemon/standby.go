package daemon

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/corrections"
)

// leading is connected, and its control connection holds the leader lock.
type leading struct{ connected }

// lead waits for the leader lock. Meanwhile it watches the leader's heartbeat, and clears a marker
// that nobody vouches for any more: a leader that hangs cannot do so itself.
func lead(ctx context.Context, c connected) (leading, error) {
	w := vigil{Daemon: c.d, conn: c.control, layout: c.layout}
	for {
		look, end := context.WithTimeout(ctx, answerWithin) // a server that is frozen hears no timeout of its own
		got, err := w.attempt(look)
		end()
		switch {
		case err != nil:
			return leading{}, err
		case got:
			return leading{c}, nil
		}
		c.d.left.marked = false // it is for the leader now, and for us while that one is silent
		select {
		case <-ctx.Done():
			return leading{}, errStopped
		case <-time.After(untilNextTry(w.deposed)):
		}
	}
}

// vigil is how a daemon stands by.
type vigil struct {
	*Daemon
	conn    *pgx.Conn
	layout  *awa.Layout
	told    bool // that it stands by
	deposed bool // the last attempt ended the leader's session
}

// attempt tries to lead, and else looks after who does. It is true when this daemon leads.
func (w *vigil) attempt(ctx context.Context) (leads bool, err error) {
	if got, err := w.tryLead(ctx, w.conn, w.layout); err != nil || got {
		return got, err
	}
	leader, err := w.leader(ctx, w.conn, w.layout)
	if err != nil {
		return false, err
	}
	if w.outdone(leader) {
		return false, errOutdone
	}
	w.started, w.worked = true, true
	known := leader.Instance != ""
	w.deposed = false
	if known && !leader.Leaving {
		if w.deposed, err = w.depose(ctx, w.conn, w.layout, leader); err != nil {
			return false, err
		}
	}
	if !w.told && !leader.Leaving {
		w.told = true
		w.log.Info("standing by: another daemon leads",
			zap.String("leader", leader.Process()), zap.Duration("heartbeat_age", leader.Heartbeat.Round(time.Millisecond)))
	}
	w.showStandby(string(w.layout.Schema), leader)
	silent := known && !leader.Leaving && !leader.Vouches() // at its end the marker is the finish's own
	if silent && w.opts.Trust != applier.TrustOff {         // every time: somebody may set it once more
		if err := w.clearOrphan(ctx, w.conn, w.layout, leader); err != nil {
			return false, err
		}
	}
	return false, nil
}

// outdone tells a dry run that somebody else leads, who does more.
func (d *Daemon) outdone(leader checkpoint.Leader) bool {
	own := leader.DryRun && leader.Instance == d.last
	return d.opts.DryRun && !leader.Leaving && !own
}

// untilNextTry has jitter, so that several standbys do not ask in step. Who was deposed may come back at once.
func untilNextTry(deposed bool) time.Duration {
	if deposed {
		return deposedPause
	}
	return standbyPause + rand.N(standbyJitter) //nolint:gosec // no secret
}

// depose ends the session of a leader that hangs, or of this daemon's own last session, whose connection the
// server may still believe in, or of one that only follows. The lock is free then.
func (d *Daemon) depose(ctx context.Context, c *pgx.Conn, l *awa.Layout, leader checkpoint.Leader) (did bool, err error) {
	if !leader.Hung() && !leader.DryRun && leader.Instance != d.last {
		return false, nil
	}
	if leader.Another && d.opts.NoSetup { // this daemon cannot make its own tables, and could not lead
		return false, nil
	}
	did, err = checkpoint.Depose(ctx, c, string(l.Schema), d.last)
	if pg.IsDenied(err) {
		d.cannotDepose(leader, err)
		return false, nil
	}
	switch {
	case did && leader.DryRun && leader.Instance != d.last:
		d.log.Warn("a dry run led; this daemon ended its session, and takes over", zap.String("leader", leader.Process()))
	case did:
		d.log.Warn("the leader was silent; this standby ended its session", zap.String("leader", leader.Process()),
			zap.Duration("heartbeat_age", leader.Heartbeat.Round(time.Millisecond)))
	}
	return did, err
}

// cannotDepose says once of a leader that this role may not end its session.
func (d *Daemon) cannotDepose(leader checkpoint.Leader, err error) {
	if !d.firstTime("depose " + leader.Instance) {
		return
	}
	who := zap.String("leader", leader.Process())
	if leader.DryRun {
		d.log.Warn("a dry run leads, and this role may not end its session: nothing is corrected until somebody stops it", who, zap.Error(err))
		return
	}
	d.log.Warn("the leader is silent, and this role may not end its session: end it by hand, and let both daemons use one role", who, zap.Error(err))
}

// tryLead tries the lock, but not while a finish wants it. Who has it looks again: everything that awa-counterd made may have been
// removed before, or somebody asked to leave.
func (d *Daemon) tryLead(ctx context.Context, c *pgx.Conn, l *awa.Layout) (bool, error) {
	leader, err := d.leader(ctx, c, l)
	if err != nil || leader.Leaving {
		return false, err
	}
	got, err := checkpoint.TryLead(ctx, c, string(l.Schema))
	if err != nil || !got {
		return false, err
	}
	if leader, err = d.leader(ctx, c, l); err != nil {
		return true, err
	}
	if leader.Leaving {
		return true, errLeadRequested
	}
	return true, d.recheckTables(ctx, c, l)
}

// recheckTables looks at awa's tables once more: who stood by may have done so for days.
func (d *Daemon) recheckTables(ctx context.Context, c *pgx.Conn, l *awa.Layout) error {
	now, err := d.discover(ctx, c)
	switch {
	case errors.Is(err, awa.ErrNotYet) || (err == nil && !now.Equivalent(l)):
		return fmt.Errorf("%w: awa's tables have changed since this daemon began to stand by", errMigrated)
	case err != nil:
		return d.asRefusal(ctx, c, err)
	}
	return nil
}

// leader reads who leads, or led last; nobody is the zero Leader. It is errRemoved when somebody was known to lead
// here and nobody is any more.
func (d *Daemon) leader(ctx context.Context, c *pgx.Conn, l *awa.Layout) (checkpoint.Leader, error) {
	leader, known, err := checkpoint.ReadLeaderIfAny(ctx, c, string(l.Schema))
	if err != nil {
		return leader, err
	}
	if known && leader.Another { // whoever leads next removes its tables, and has not left for good
		return leader, nil
	}
	if known {
		return leader, d.noteLead(ctx, c, l.Schema)
	}
	removed, err := d.everythingRemoved(ctx, c, l.Schema)
	if err == nil && removed {
		err = errRemoved
	}
	return checkpoint.Leader{}, err
}

// clearUnvouched clears the marker unless some leader is alive, who sees to it.
func (d *Daemon) clearUnvouched(ctx context.Context, c *pgx.Conn, l *awa.Layout) (bool, error) {
	leader, known, err := checkpoint.ReadLeaderIfAny(ctx, c, string(l.Schema))
	denied := pg.IsDenied(err)
	switch {
	case pg.IsBusy(err): // somebody holds the leader's table; that nobody leads shows by the locks as well
		if led, err := checkpoint.Led(ctx, c, string(l.Schema)); err != nil || led {
			return false, err
		}
		return d.clearByOID(ctx, c, l)
	case err != nil && !denied:
		return false, err
	}
	if known && (leader.Leaving || leader.Leads && leader.Vouches() && leader.Instance != d.last) {
		return false, nil
	}
	if !known && !denied {
		if removed, err := d.everythingRemoved(ctx, c, l.Schema); err != nil || removed {
			return false, err // a finish, and its marker
		}
	}
	return d.clearByOID(ctx, c, l)
}

// clearByOID clears the marker whatever the table that it is in is called by now. Where this role may write it and not read it, it
// is written unread at every look, and reported as cleared at the first.
func (d *Daemon) clearByOID(ctx context.Context, c *pgx.Conn, l *awa.Layout) (bool, error) {
	name := l.RingTable()
	if l.Ring != 0 { // 0 where a start failed before the tables were looked up
		now, err := l.RingName(ctx, c)
		if err != nil || now == "" {
			return false, err
		}
		name = now
	}
	return d.clearIn(ctx, c, name, "true")
}

// clearIn clears the marker in a table, on a condition.
func (d *Daemon) clearIn(ctx context.Context, c *pgx.Conn, ring, guard string, args ...any) (bool, error) {
	before := d.left.unread
	done, err := corrections.Clear(ctx, c, ring, guard, args...)
	if err != nil {
		return false, err
	}
	d.left.unread = done.Unread
	return done.Marker && (!done.Unread || !before), nil
}

// clearOrphan clears the marker unless the leader has come back to life in the meantime.
func (d *Daemon) clearOrphan(ctx context.Context, c *pgx.Conn, l *awa.Layout, leader checkpoint.Leader) error {
	now, err := awa.DiscoverMarker(ctx, c, l.Schema) // a migration may have brought it while we stood by
	if err != nil || !now.HasMarker {
		return err
	}
	cleared, err := d.clearIn(ctx, c, now.RingTable(), checkpoint.Unvouched(1, 2), string(l.Schema), leader.Instance)
	switch {
	case errors.Is(err, applier.ErrKept):
		d.cannotClear(err)
		return nil
	case pg.IsBusy(err): // the next attempt comes soon
		return nil
	case err != nil:
		return fmt.Errorf("a leader does not vouch for the marker: %w", err)
	}
	if cleared {
		reason := "the leader is silent, and no daemon vouches for the counters"
		if leader.DryRun {
			reason = "a dry run leads, and no daemon vouches for the counters"
		}
		d.saysCleared(reason, zap.Duration("heartbeat_age", leader.Heartbeat.Round(time.Millisecond)))
		d.noteCleared(ctx, c, l, reason)
	}
	return nil
}
