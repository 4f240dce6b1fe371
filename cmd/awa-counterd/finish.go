package main

import (
	"context"
	"fmt"
	"time"

	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/provision"
	"github.com/awa-counterd/awa-counterd/internal/status"
	"github.com/awa-counterd/awa-counterd/reconcile"
)

type finishCmd struct {
	database `embed:""`
	objects  `embed:""`

	Role        string        `placeholder:"NAME" env:"-" help:"Revoke only what setup granted to this role. Default: what it granted to any role."`
	QuietPeriod time.Duration `default:"10m" help:"Time without uncounted writes that finish waits for."`
	Timeout     time.Duration `default:"1h" env:"-" help:"How long finish waits for that; then it gives up and says why."`
}

// Validate is called by the flag parser.
func (c *finishCmd) Validate() error {
	if c.QuietPeriod < time.Second || c.Timeout < time.Second {
		return fmt.Errorf("--quiet-period=%s and --timeout=%s: use at least 1s", c.QuietPeriod, c.Timeout)
	}
	return c.validate()
}

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
	ours := func(ctx context.Context) (provision.Names, error) {
		return names(ctx, conn, l.Schema, provision.Names{Slot: c.Slot, Publication: c.Publication, Role: c.Role, KeepMarker: true})
	}
	var now provision.Names
	err = patiently(ctx, func() (err error) {
		now, err = ours(ctx)
		return err
	})
	if err != nil {
		return asLocked(err)
	}
	if err := patiently(ctx, func() error { return provision.Finishes(ctx, conn, l, now) }); err != nil {
		return asLocked(err)
	}
	w := waiting{conn: conn, layout: l, slot: now.Slot, open: func() (*reconcile.OneShot, error) {
		one, err := reconcile.NewOneShot(ctx, source, l)
		if err == nil {
			one.Waiting = func(unit string) { _, _ = fmt.Fprintf(s.err, "finish: %s\n", unit) }
		}
		return one, err
	}}
	defer func() { //nolint:contextcheck // has to work after ctx has ended
		if w.one != nil {
			w.one.Close()
		}
	}()
	if err := c.wait(ctx, s.err, &w); err != nil {
		return err
	}
	asks, held, err := newLease(ctx, source)
	if err != nil {
		return err
	}
	defer asks.close(context.WithoutCancel(ctx))
	h := handover{source: source, asks: asks, conn: conn, layout: l, names: ours, one: w.one, say: func(text string) { _, _ = fmt.Fprintln(s.out, text) }}
	h.unfinished = func(ctx context.Context) (reason string, ends ending, err error) {
		st, err := status.Read(ctx, conn, l, now.Slot, c.QuietPeriod)
		if err != nil {
			return "", byNobody, err
		}
		switch {
		case st.Passes(c.QuietPeriod):
			ends = byItself
		case st.OnlyDrift(c.QuietPeriod):
			ends = byMove
		}
		return st.Unfinished(c.QuietPeriod), ends, nil
	}
	if err := h.finish(held); err != nil {
		return asks.explain(held, err)
	}
	but := ""
	if h.left {
		but = ", but for what is named above"
	}
	_, err = fmt.Fprintf(s.out, "finished: the counters agree with a scan, the marker is set for good, and everything that awa-counterd created has been removed%s\n", but)
	return err
}
