package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/term"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/belongings"
	"github.com/awa-counterd/awa-counterd/internal/pg"
	"github.com/awa-counterd/awa-counterd/internal/survey"
	"github.com/awa-counterd/awa-counterd/reconcile"
)

type finishCmd struct {
	database `embed:""`

	Slot        string        `placeholder:"NAME" help:"Replication slot; made from database and schema if not given."`
	Publication string        `placeholder:"NAME" help:"Publication; awa_counterd_SCHEMA if not given."`
	Role        string        `placeholder:"NAME" env:"-" help:"Role that the daemon runs as, to revoke its grants."`
	QuietPeriod time.Duration `default:"10m" help:"How long nobody may have written uncounted."`
	Timeout     time.Duration `default:"1h" env:"-" help:"How long to wait for that; then it refuses with the reason."`
}

// Validate is called by the flag parser.
func (c *finishCmd) Validate() error {
	if c.QuietPeriod < time.Second || c.Timeout < time.Second {
		return fmt.Errorf("--quiet-period=%s and --timeout=%s: use at least 1s", c.QuietPeriod, c.Timeout)
	}
	return c.validate()
}

// leaveWithin is how long a daemon may take to leave: it looks once a second, and stops within 10.
const leaveWithin = 20 * time.Second

// Run is called by the flag parser.
func (c *finishCmd) Run(ctx context.Context, s streams) error {
	source, conn, l, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if !l.HasMarker {
		return pg.Refuse("stop the daemon and run awa-counterd teardown", "this awa has no trust marker to set for good")
	}
	var name string
	if err := conn.QueryRow(ctx, `select current_database()`).Scan(&name); err != nil {
		return fmt.Errorf("name the database: %w", err)
	}
	names := belongings.Names{Slot: c.Slot, Publication: c.Publication, Role: c.Role, KeepMarker: true}.Default(name, l.Schema)
	if err := c.wait(ctx, s.err, conn, l, names.Slot); err != nil {
		return err
	}
	one, err := reconcile.NewOneShot(ctx, source, l)
	if err != nil {
		return err
	}
	defer one.Close() //nolint:contextcheck // has to work after ctx has ended
	if err := agree(ctx, one); err != nil {
		return err
	}
	if err := c.handOver(ctx, source, conn, l, one); err != nil {
		return err
	}
	plan, err := belongings.Teardown(ctx, conn, l, names)
	if err != nil {
		return err
	}
	err = belongings.Run(ctx, conn, plan, func(st belongings.Step) { _, _ = fmt.Fprintf(s.out, "removed: %s\n", st.What) })
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.out, "finished: the counters agree with a scan, the marker is set for good, and no trace of awa-counterd is left")
	return err
}

// wait goes on until nothing speaks against finishing. No daemon, no evidence: that is refused at once.
func (c *finishCmd) wait(ctx context.Context, w io.Writer, conn *pgx.Conn, l *awa.Layout, slot string) error {
	late := time.NewTimer(c.Timeout)
	defer late.Stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	f, ok := w.(*os.File)
	live := ok && term.IsTerminal(int(f.Fd()))
	last := ""
	for {
		st, err := survey.Read(ctx, conn, l, slot, c.QuietPeriod)
		if err != nil {
			return err
		}
		reason := st.Unfinished(c.QuietPeriod)
		if st.Leader == nil || !st.Leader.Alive {
			return pg.Refuse("awa-counterd reconcile --trust and awa-counterd teardown end an upgrade without a daemon", "not finished: %s", reason)
		}
		switch {
		case live:
			_, _ = fmt.Fprintf(w, "\r\x1b[K%s", reason)
		case reason != "" && last == "":
			_, _ = fmt.Fprintf(w, "finish: waiting: %s\n", reason)
		}
		if reason == "" {
			return nil
		}
		last = reason
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return pg.Refuse("run it again later, or with a longer --timeout", "not finished within %s: %s", c.Timeout, reason)
		case <-tick.C:
		}
	}
}

// agree demands that every group is right. A flush may be under way, so it looks more than once.
func agree(ctx context.Context, one *reconcile.OneShot) error {
	var last reconcile.Result
	for range 3 {
		var err error
		if last, err = one.Look(ctx, false, nil); err != nil {
			return err
		}
		if len(last.Drifts) == 0 {
			return nil
		}
	}
	return pg.Refuse("somebody writes uncounted; see awa-counterd status", "not finished: %d groups are wrong, the first on queue %s", len(last.Drifts), last.Drifts[0].Queue)
}

// handOver asks the daemons to leave, waits until they are gone, looks once more, and sets the marker.
// If anything is wrong by then, the marker is cleared and the daemons may come back.
func (c *finishCmd) handOver(ctx context.Context, source *pg.Source, conn *pgx.Conn, l *awa.Layout, one *reconcile.OneShot) error {
	schema := string(l.Schema)
	if err := checkpoint.AskToLeave(ctx, conn, schema, true); err != nil {
		return err
	}
	err := gone(ctx, conn, schema)
	if err == nil {
		err = agree(ctx, one)
	}
	if err == nil {
		err = one.Trust(ctx)
	}
	if err == nil {
		err = agree(ctx, one) // nobody slipped in between the look and the marker
	}
	if err == nil {
		return nil
	}
	if back := c.takeBack(context.WithoutCancel(ctx), source, l); back != nil {
		return fmt.Errorf("%w; and taking it back failed (%w): run awa-counterd distrust and start the daemon again", err, back)
	}
	return err
}

// takeBack undoes a hand-over, on a connection of its own: an interrupt may have cost the other one.
func (c *finishCmd) takeBack(ctx context.Context, source *pg.Source, l *awa.Layout) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := source.Connect(ctx, pg.Session{Role: "command", LockTimeout: 2 * time.Second})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, l.SetMarker(false, "true")); err != nil {
		return fmt.Errorf("clear the marker: %w", err)
	}
	return checkpoint.AskToLeave(ctx, conn, string(l.Schema), false)
}

// gone waits until nobody holds the leader lock, or waits for it.
func gone(ctx context.Context, conn *pgx.Conn, schema string) error {
	// Not a context's deadline: one that ran out in the middle of a query would take the connection along.
	late := time.NewTimer(leaveWithin)
	defer late.Stop()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		free, err := checkpoint.TryLead(ctx, conn, schema)
		switch {
		case err != nil:
			return err
		case free:
			return nil // and it is ours now, so nobody else can begin
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return pg.Refuse("stop it and run this again", "not finished: a daemon still runs %s after it was asked to leave", leaveWithin)
		case <-tick.C:
		}
	}
}
