package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"
	"golang.org/x/term"

	"github.com/awa-counterd/awa-counterd/internal/awa"
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
	now, err := ours(ctx)
	if err != nil {
		return err
	}
	if err := provision.Finishes(ctx, conn, l, now); err != nil {
		return err
	}
	one, err := reconcile.NewOneShot(ctx, source, l)
	if err != nil {
		return err
	}
	defer one.Close() //nolint:contextcheck // has to work after ctx has ended
	one.Waiting = func(unit string) { _, _ = fmt.Fprintf(s.err, "finish: %s\n", unit) }
	if err := c.wait(ctx, s.err, conn, l, one, now.Slot); err != nil {
		return err
	}
	asks, held, err := newLease(ctx, source)
	if err != nil {
		return err
	}
	defer asks.close(context.WithoutCancel(ctx))
	h := handover{source: source, asks: asks, conn: conn, layout: l, names: ours, one: one, say: func(text string) { _, _ = fmt.Fprintln(s.out, text) }}
	h.unfinished = func(ctx context.Context) (string, bool, error) {
		st, err := status.Read(ctx, conn, l, now.Slot, c.QuietPeriod)
		if err != nil {
			return "", false, err
		}
		return st.Unfinished(c.QuietPeriod), st.Passes(c.QuietPeriod), nil
	}
	if err := h.finish(held); err != nil {
		return asks.explain(held, err)
	}
	_, err = fmt.Fprintln(s.out, "finished: the counters agree with a scan, the marker is set for good, and everything that awa-counterd created has been removed")
	return err
}

// wait goes on until nothing speaks against finishing. No daemon, no evidence: that is refused at once.
func (c *finishCmd) wait(ctx context.Context, w io.Writer, conn *pgx.Conn, l *awa.Layout, one *reconcile.OneShot, slot string) error {
	late := time.NewTimer(c.Timeout)
	defer late.Stop()
	one.Until = time.Now().Add(c.Timeout)
	defer func() { one.Until = time.Time{} }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	f, ok := w.(*os.File)
	live := ok && term.IsTerminal(int(f.Fd()))
	last := ""
	for {
		st, err := status.Read(ctx, conn, l, slot, c.QuietPeriod)
		if err != nil {
			return err
		}
		reason := st.Unfinished(c.QuietPeriod)
		if st.Leader == nil || !st.Leader.Alive {
			return pg.Refuse("awa-counterd reconcile --trust and awa-counterd teardown end an upgrade without a daemon", "not finished: %s", reason)
		}
		for _, look := range []func(context.Context, *reconcile.OneShot) (string, error){stale, wrong} {
			if reason == "" {
				if reason, err = look(ctx, one); pg.IsBusy(err) && time.Now().After(one.Until) {
					return c.late(err.Error())
				} else if err != nil {
					return err
				}
			}
		}
		switch {
		case live:
			_, _ = fmt.Fprintf(w, "\r\x1b[K%s", reason)
		case reason != "" && wordsOf(reason) != wordsOf(last):
			_, _ = fmt.Fprintf(w, "finish: waiting: %s\n", reason)
		}
		if reason == "" {
			for _, what := range status.Unseen(st.Known) { // now, while nothing is changed yet
				_, _ = fmt.Fprintf(w, "finish: %s\n", what)
			}
			return nil
		}
		last = reason
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return c.late(reason)
		case <-tick.C:
		}
	}
}

func (c *finishCmd) late(reason string) error {
	return pg.Refuse("run it again later, or with a longer --timeout", "not finished within %s: %s", c.Timeout, reason)
}

// stale says what awa has yet to drop from a ledger, where this role may not take it out.
func stale(ctx context.Context, one *reconcile.OneShot) (string, error) {
	u, err := one.Stale(ctx)
	if err != nil || u == nil || u.May {
		return "", err
	}
	return fmt.Sprintf("%s; finish can move them to the counters if you run: GRANT DELETE ON %s", u, u.Ledger), nil
}

// wordsOf is what stays of a reason while its figures change, and which queue was written last.
func wordsOf(reason string) string {
	words := strings.FieldsFunc(reason, func(r rune) bool { return unicode.IsDigit(r) || strings.ContainsRune(" ,;.", r) })
	slices.Sort(words)
	return strings.Join(words, " ")
}

// wrong says which counters are. Where a daemon corrects, that passes: awa's first new leader drops what an old one left in ledgers,
// one ring slot after the other.
func wrong(ctx context.Context, one *reconcile.OneShot) (string, error) {
	r, err := one.Run(ctx, false, nil)
	if err != nil || len(r.Drifts) == 0 {
		return "", err
	}
	return fmt.Sprintf("the counters of %d groups are wrong, the first on queue %s", len(r.Drifts), r.Drifts[0].Queue), nil
}

// agree demands that every group is right.
func agree(ctx context.Context, one *reconcile.OneShot) error {
	reason, err := wrong(ctx, one)
	if err == nil && reason != "" {
		err = pg.Refuse("old binaries may still be writing; see awa-counterd status", "not finished: %s", reason)
	}
	return err
}
