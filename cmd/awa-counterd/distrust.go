package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/corrections"
)

type distrustCmd struct {
	database `embed:""`

	AfterStop bool `env:"-" help:"For a supervisor's post-stop hook: leave the marker of a finished upgrade, or of another daemon that leads, as it is."`
	JSON      bool `env:"-" help:"Print the result as JSON."`
}

// Validate is called by the flag parser.
func (c *distrustCmd) Validate() error { return c.validate() }

type distrustReport struct {
	Schema   string `json:"schema"`
	Cleared  bool   `json:"cleared"`            // false: it was not set, or is not ours
	Finished bool   `json:"finished,omitempty"` // the marker is a finished upgrade's, and was left alone
	Vouched  bool   `json:"vouched,omitempty"`  // another daemon leads and vouches for the marker, which was left alone
	Unread   bool   `json:"unread,omitempty"`   // this role may not read the marker: it is cleared, whether it was set or not
	Leader   string `json:"leader,omitempty"`
}

// Run clears the marker. It is safe when nothing runs, and when it is not set: a supervisor's
// post-stop hook can always call it with --after-stop.
func (c *distrustCmd) Run(ctx context.Context, s streams) error {
	_, conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	l, err := c.marked(ctx, conn)
	if err != nil {
		return err
	}
	r := distrustReport{Schema: string(l.Schema)}
	if c.AfterStop {
		if r.Finished, err = finished(ctx, conn, string(l.Schema)); err != nil {
			return err
		}
		if !r.Finished {
			if r.Vouched, err = vouched(ctx, conn, string(l.Schema)); err != nil {
				return err
			}
		}
	}
	if l.HasMarker && !r.Finished && !r.Vouched {
		reason := "awa-counterd distrust"
		if c.AfterStop {
			reason += " --after-stop: the daemon had ended"
		}
		done, err := clearMarker(ctx, conn, l, reason)
		if err != nil {
			return err
		}
		r.Cleared, r.Unread = done.Marker, done.Unread
	}
	leader, known, err := checkpoint.ReadLeaderIfAny(ctx, conn, string(l.Schema))
	if err != nil {
		return err
	}
	if known && leader.Heartbeat < 10*time.Second {
		r.Leader = leader.Process()
	}
	return c.print(s, r)
}

// clearMarker clears the marker, however busy its row is. It has status say later who cleared it; the marker is cleared whether that
// can be written or not.
func clearMarker(ctx context.Context, conn *pgx.Conn, l *awa.Layout, reason string) (corrections.Cleared, error) {
	for {
		done, err := corrections.Clear(ctx, conn, l.RingTable(), "true")
		switch {
		case err == nil:
			if done.Marker && !done.Unread {
				remember(ctx, conn, string(l.Schema), reason)
			}
			return done, nil
		case !pg.IsBusy(err):
			return done, err
		}
	}
}

func remember(ctx context.Context, conn *pgx.Conn, schema, reason string) {
	there, err := checkpoint.Exists(ctx, conn)
	if err == nil && there {
		_ = checkpoint.NoteMarker(ctx, conn, schema, false, reason, "")
	}
}

// marked finds the marker, which can be cleared whatever else is wrong with awa's tables. Before awa's migration there
// is none, which is as good as one that is not set; a schema that awa is not in is a slip.
func (c *distrustCmd) marked(ctx context.Context, conn *pgx.Conn) (*awa.Layout, error) {
	schema, err := c.schema(ctx, conn)
	if err != nil {
		return c.layout(ctx, conn) // says what is wrong
	}
	l, err := awa.DiscoverMarker(ctx, conn, schema)
	if err != nil || l.HasMarker {
		return l, err
	}
	if _, err := c.layout(ctx, conn); err != nil && !errors.Is(err, awa.ErrNotYet) {
		return nil, err
	}
	return l, nil
}

// finishWithin is how long a finish that has asked every daemon to leave is waited for.
const finishWithin = 10 * time.Second

// finished tells a finished upgrade from a dead daemon: a finish leaves nothing that awa-counterd made. While one is at its end
// the marker is its own; should it die there, that shows within moments.
func finished(ctx context.Context, conn *pgx.Conn, schema string) (bool, error) {
	if others, err := checkpoint.ExistsInOtherForm(ctx, conn); err != nil || others {
		return false, err // the daemon that died was of another build: an upgrade may just have replaced the binary
	}
	late := time.After(finishWithin)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for quiet := 0; quiet < 2; { // the second look is after the lock of a finish was seen free: what it removes is gone
		leader, known, err := checkpoint.ReadLeaderIfAny(ctx, conn, schema)
		switch {
		case err != nil:
			return false, err
		case !known:
			return true, nil
		case !leader.Leaving:
			quiet++
			continue
		}
		quiet = 0
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-late:
			return true, nil
		case <-tick.C:
		}
	}
	return false, nil
}

const (
	// lateToken is how much later than its process's end a last sign of life of a daemon may be committed, at most.
	lateToken = 300 * time.Millisecond
	// vouchedWithin bounds the wait for a sign of life. A daemon with a --max-staleness of more than 20 s may have given none by then,
	// and sets its marker again after an audit.
	vouchedWithin = 5 * time.Second
)

// vouched tells a daemon that stood by, and has ended, from one that led: another one leads, and gives signs of life. One that came
// before now may be of the daemon that has ended; so a new one is waited for, but only while somebody has the leader lock.
func vouched(ctx context.Context, conn *pgx.Conn, schema string) (bool, error) {
	began := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		waited := time.Since(began)
		leader, known, err := checkpoint.ReadLeaderIfAny(ctx, conn, schema)
		switch {
		case err != nil:
			return false, err
		case !known || !leader.Leads || leader.DryRun:
			return false, nil
		case leader.Heartbeat+lateToken < waited:
			return leader.Vouches(), nil
		case waited > min(leader.Bound/2+2*time.Second, vouchedWithin): // one is given every quarter of the bound
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-tick.C:
		}
	}
}

func (c *distrustCmd) print(s streams, r distrustReport) error {
	if c.JSON {
		return json.NewEncoder(s.out).Encode(r)
	}
	text := "the marker was not set; readers scan"
	switch {
	case r.Unread:
		text = "the marker was cleared, if it was set, which this role may not read; readers scan"
	case r.Cleared:
		text = "the marker was cleared; readers scan"
	case r.Vouched:
		text = fmt.Sprintf("the marker was left as it is: another daemon leads (%s) and vouches for it", r.Leader)
	case r.Finished:
		text = "the marker was left as it is: awa-counterd is not installed here any more, or awa-counterd finish is just completing the upgrade"
	}
	if r.Leader != "" && !r.Finished && !r.Vouched {
		text += fmt.Sprintf("\na daemon is running (%s): it sets the marker again after a fresh audit; stop it, or run it with --trust off", r.Leader)
	}
	_, err := fmt.Fprintln(s.out, text)
	return err
}
