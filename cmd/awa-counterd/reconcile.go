package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/provision"
	"github.com/awa-counterd/awa-counterd/internal/status"
	"github.com/awa-counterd/awa-counterd/reconcile"
)

type reconcileCmd struct {
	database `embed:""`

	Check   bool          `env:"-" help:"Compare only; change nothing." xor:"mode"`
	Trust   bool          `help:"Correct the counters, then set the trust marker if no uncounted write was seen." env:"-" xor:"mode"`
	Observe time.Duration `default:"30s" env:"-" help:"With --trust: how long to watch for new drift."`
	JSON    bool          `env:"-" help:"Print the report as JSON."`
}

// Validate is called by the flag parser.
func (c *reconcileCmd) Validate() error {
	if c.Observe < time.Second || c.Observe > 24*time.Hour {
		return fmt.Errorf("--observe=%s is out of range: use 1s to 24h", c.Observe)
	}
	return c.validate()
}

// Run is called by the flag parser.
func (c *reconcileCmd) Run(ctx context.Context, s streams) (err error) {
	source, conn, l, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	does, err := c.operation(ctx, conn, l)
	if err != nil {
		return err
	}
	if err := provision.Reconciles(ctx, conn, l, does, c.Trust && l.HasMarker); err != nil {
		return err
	}
	one, err := reconcile.NewOneShot(ctx, source, l)
	if err != nil {
		return err
	}
	defer one.Close() //nolint:contextcheck // has to work after ctx has ended
	one.Waiting = func(unit string) { _, _ = fmt.Fprintf(s.err, "reconcile: %s\n", unit) }
	keepsAway, ctx, err := newLease(ctx, source)
	if err != nil {
		return err
	}
	defer keepsAway.close(context.WithoutCancel(ctx))
	defer func() { err = keepsAway.explain(ctx, err) }()
	one.StillAlone = keepsAway.leads(l)
	if one.Alone, err = c.noDaemonLeads(ctx, l, keepsAway); err != nil {
		return err
	}
	r := reconcileReport{Schema: string(l.Schema), Mode: c.mode(), Started: time.Now().UTC()}
	first, err := c.first(ctx, s.err, conn, l, one, does)
	if err != nil {
		return err
	}
	r.fill(first)
	if !c.Check {
		left, err := one.Run(ctx, false, nil)
		if err != nil {
			return err
		}
		r.Left = len(left.Drifts)
		stale, err := one.Stale(ctx)
		if err != nil {
			return err
		}
		if stale != nil {
			r.Notes = append(r.Notes, c.staleLedgerNote(stale, one.Alone))
		}
	}
	var refusal error
	if c.Trust {
		refusal, err = c.trust(ctx, s.err, conn, l, one, keepsAway, &r)
		if err != nil {
			return err
		}
	}
	if r.marked, err = isMarked(ctx, conn, l); err != nil {
		return err
	}
	r.Seconds = time.Since(r.Started).Seconds()
	r.Next = r.next(l)
	if err := r.print(s.out, c.JSON); err != nil {
		return err
	}
	switch {
	case refusal != nil:
		return refusal
	case c.Check && r.Wrong+r.Misplaced > 0:
		return &driftError{r.Wrong, r.Misplaced}
	case r.Left > 0:
		return &driftError{groups: r.Left}
	}
	return nil
}

// modeCheck is a report's Mode of a run that only looks.
const modeCheck = "check"

func (c *reconcileCmd) mode() string {
	switch {
	case c.Check:
		return modeCheck
	case c.Trust:
		return "trust"
	}
	return "correct"
}

// noDaemonLeads reports that no daemon follows, nor will go on from a checkpoint. Then the lease has the leader lock, which keeps one
// from starting meanwhile: it stands by.
func (c *reconcileCmd) noDaemonLeads(ctx context.Context, l *awa.Layout, keepsAway *lease) (alone bool, err error) {
	if c.Check || !l.Shape.HasLedger() {
		return false, nil
	}
	err = keepsAway.do(func(conn *pgx.Conn) error {
		alone, err = lockOut(ctx, conn, string(l.Schema))
		return err
	})
	return alone, err
}

// lockOut takes the leader lock, unless a daemon leads or has left a checkpoint.
func lockOut(ctx context.Context, conn *pgx.Conn, schema string) (bool, error) {
	if there, err := checkpointLeft(ctx, conn, schema); err != nil || there {
		return false, err
	}
	leads, err := checkpoint.TryLead(ctx, conn, schema)
	if err != nil || !leads {
		return false, err
	}
	there, err := checkpointLeft(ctx, conn, schema) // by a daemon that has left in between
	if err == nil && there {
		err = checkpoint.ReleaseLead(ctx, conn, schema)
	}
	return !there, err
}

// checkpointLeft reports that there is a checkpoint, of whatever build's form: from there a daemon goes on.
func checkpointLeft(ctx context.Context, conn *pgx.Conn, schema string) (bool, error) {
	slot, err := checkpoint.SlotOfCheckpoint(ctx, conn, schema)
	if pg.IsDenied(err) {
		return true, nil // it cannot be known
	}
	return slot != "", err
}

// staleLedgerNote says why ledgers were left as they are.
func (c *reconcileCmd) staleLedgerNote(u *reconcile.StaleLedgers, alone bool) string {
	switch {
	case !alone:
		return u.String() + "; awa-counterd finish moves them to the counters; so does reconcile if no daemon runs and no checkpoint is left (awa-counterd teardown removes it)"
	case !u.May():
		return u.Barred("reconcile")
	}
	return u.String() + ": run it again"
}

// trust sets the marker when there is evidence that nobody writes uncounted: no live pre-#290
// runtime, and no new drift between two looks. Otherwise it says who does.
func (c *reconcileCmd) trust(ctx context.Context, w io.Writer, conn *pgx.Conn, l *awa.Layout, one *reconcile.OneShot, keepsAway *lease, r *reconcileReport) (refusal, err error) {
	if !l.HasMarker {
		return pg.Refuse("run awa's migrations first", "this awa has no trust marker"), nil
	}
	if _, err := one.Run(ctx, true, nil); err != nil { // from here on, any drift is new
		return nil, err
	}
	alone := one.Alone
	if alone { // to watch, nobody has to be kept away
		one.Alone = false
		err := keepsAway.do(func(conn *pgx.Conn) error { return checkpoint.ReleaseLead(ctx, conn, string(l.Schema)) })
		if err != nil {
			return nil, err
		}
	}
	timer := time.NewTimer(c.Observe)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
	}
	after, err := one.Run(ctx, false, nil)
	if err != nil {
		return nil, err
	}
	r.Left = len(after.Drifts)
	wrong := after.Drifts
	moved := 0
	if len(wrong) == 0 && l.Shape.HasBuckets() { // what was written of one job and taken back of another shows by bucket only
		again, err := one.Run(ctx, true, nil)
		if err != nil {
			return nil, err
		}
		wrong, moved = again.Drifts, again.UnevenRows()
	}
	who, known, err := whoIsOld(ctx, conn, l)
	if err != nil {
		return nil, err
	}
	var why []string
	if queues := queuesOf(wrong); len(queues) > 0 {
		why = append(why, fmt.Sprintf("new drift within %s on queue %s", c.Observe, strings.Join(queues, ", ")))
	}
	if moved > 0 {
		why = append(why, fmt.Sprintf("within %s %d counter rows turned wrong that add up to what is right", c.Observe, moved))
	}
	stale, err := one.Stale(ctx)
	if err != nil {
		return nil, err
	}
	if stale != nil {
		why = append(why, c.staleLedgerNote(stale, alone))
	}
	why = append(why, who...)
	unseen := status.Unseen(known)
	r.Notes = append(r.Notes, unseen...)
	if len(why) > 0 {
		if err := c.distrust(ctx, conn, l, r); err != nil {
			return nil, err
		}
		return pg.Refuse("stop the old writers, wait until awa's new leader has pruned, and run this again; or run awa-counterd run meanwhile", "the marker was not set: %s", strings.Join(why, "; ")), nil
	}
	for _, what := range unseen { // the report, which has them as well, comes afterwards
		_, _ = fmt.Fprintf(w, "reconcile: %s\n", what)
	}
	refusal, err = c.setMarker(ctx, conn, l, one, r)
	r.MarkerSet = refusal == nil && err == nil
	return refusal, err
}

// whoIsOld says who will make counters wrong that are right; known is whether live workers can be seen.
func whoIsOld(ctx context.Context, conn *pgx.Conn, l *awa.Layout) (who []string, known bool, err error) {
	old, err := readOldOnes(ctx, conn, l)
	if old.uncounted {
		who = append(who, status.DeletesUncounted)
	}
	if len(old.named) > 0 {
		who = append(who, old.called+" are live: "+strings.Join(old.named, ", "))
	}
	return who, old.known, err
}

// isMarked reports that the marker is set, whoever has set it. It is false where that cannot be read: the rest of the report is
// worth having without.
func isMarked(ctx context.Context, conn *pgx.Conn, l *awa.Layout) (set bool, err error) {
	err = conn.QueryRow(ctx, `select `+l.MarkerIsSet()).Scan(&set)
	switch {
	case pg.IsDenied(err), pg.IsBusy(err) && ctx.Err() == nil:
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read the marker: %w", err)
	}
	return set, nil
}

// setMarker sets the marker and looks once more, as finish does: a look goes from one table to the next, and somebody may have
// written behind it that nobody counted. What that finds, or cannot find out, clears the marker again, also after an interrupt.
func (c *reconcileCmd) setMarker(ctx context.Context, conn *pgx.Conn, l *awa.Layout, one *reconcile.OneShot, r *reconcileReport) (refusal, err error) {
	err = one.Trust(ctx)
	if _, answered := errors.AsType[*pgconn.PgError](err); answered {
		return nil, err // it is not set
	}
	var again reconcile.Result
	if err == nil {
		again, err = one.Look(ctx, nil)
	}
	var who []string
	if err == nil {
		who, _, err = whoIsOld(ctx, conn, l)
	}
	if err == nil && len(again.Drifts)+len(again.Uneven)+len(who) == 0 {
		r.remains = somethingRemains(ctx, conn, l)
		return nil, nil
	}
	if back := c.takeBack(context.WithoutCancel(ctx), l); back != nil {
		return nil, errors.Join(err, fmt.Errorf("the marker could not be cleared again: %w; run awa-counterd distrust", back))
	}
	if err != nil {
		return nil, err
	}
	r.Left = len(again.Drifts)
	if r.Left+len(again.Uneven) == 0 {
		return pg.Refuse("stop the old writers, and run this again; or run awa-counterd run meanwhile", "the marker was not set: %s", strings.Join(who, "; ")), nil
	}
	found := fmt.Sprintf("new drift was found behind the last look, on queue %s", strings.Join(queuesOf(again.Drifts), ", "))
	if r.Left == 0 {
		found = fmt.Sprintf("%d counter rows were found behind the last look that add up to what is right, on queue %s", again.UnevenRows(), again.Uneven[0].Queue)
	}
	return pg.Refuse("stop the old writers, and run this again; or run awa-counterd run meanwhile", "the marker was not set: %s", found), nil
}

// somethingRemains reports that a dead daemon has left something: the marker will not stand if that is removed after this. It is for a hint:
// where that cannot be read, the marker is set all the same.
func somethingRemains(ctx context.Context, conn *pgx.Conn, l *awa.Layout) bool {
	leader, known, err := checkpoint.ReadLeaderIfAny(ctx, conn, string(l.Schema))
	return err == nil && known && !leader.Leads
}

// takeBackWithin is how long the marker's row may be locked when it has to be cleared again.
const takeBackWithin = 30 * time.Second

// takeBack clears the marker on a connection of its own: an interrupt may have cost the other one. A daemon that leads sets it again
// when it can vouch for it.
func (c *reconcileCmd) takeBack(ctx context.Context, l *awa.Layout) error {
	ctx, cancel := context.WithTimeout(ctx, takeBackWithin)
	defer cancel()
	_, conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = clearMarker(ctx, conn, l, "awa-counterd reconcile --trust: it found an old binary at work, or new drift, behind its last look")
	return err
}

// distrust clears a marker that somebody else has set (awa's migrations do, whoever writes), now that it is known to be
// wrong to. Where a daemon leads, the marker is its own.
func (c *reconcileCmd) distrust(ctx context.Context, conn *pgx.Conn, l *awa.Layout, r *reconcileReport) error {
	leader, known, err := checkpoint.ReadLeaderIfAny(ctx, conn, string(l.Schema))
	switch {
	case pg.IsDenied(err): // a role that may not look at who leads leaves the marker to whoever may
		return nil
	case err != nil:
		return err
	case known && leader.Leads && leader.Vouches():
		return nil
	}
	done, err := clearMarker(ctx, conn, l, "awa-counterd reconcile --trust: it found reasons not to trust the counters")
	if done.Marker && !done.Unread {
		r.Notes = append(r.Notes, "somebody else had set the marker; it was cleared, and readers scan")
	}
	return err
}

func queuesOf(drifts []reconcile.Drift) (out []string) {
	for _, d := range drifts {
		if !slices.Contains(out, d.Queue) {
			out = append(out, d.Queue)
		}
	}
	slices.Sort(out)
	return out
}

// progress shows a bar on a terminal and a line a leaf elsewhere; both on standard error.
func (c *reconcileCmd) progress(ctx context.Context, w io.Writer, conn *pgx.Conn, l *awa.Layout) reconcile.Progress {
	if f, ok := w.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return func(leaf string, n, of int, rows int64) {
			_, _ = fmt.Fprintf(w, "reconcile: %d of %d: %s, %d rows so far\n", n, of, leaf, rows)
		}
	}
	estimate := int64(-1)
	_ = conn.QueryRow(ctx, `select `+l.RowEstimate()).Scan(&estimate)
	bar := progressbar.NewOptions64(max(estimate, 1), progressbar.OptionSetWriter(w), progressbar.OptionSetDescription("rows"),
		progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
	return func(leaf string, n, of int, rows int64) {
		bar.Describe(fmt.Sprintf("%d of %d: %s", n, of, leaf))
		bar.ChangeMax64(max(estimate, rows))
		_ = bar.Set64(rows)
		if n == of {
			_ = bar.Finish()
		}
	}
}

func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
