package main

import (
	"context"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/reconcile"
)

// driftError says that drift was found, or is left: exit code 3.
type driftError struct {
	groups    int
	misplaced int // counter rows
}

func (e *driftError) Error() string {
	if e.groups == 0 {
		return fmt.Sprintf("%d counter rows are not what awa itself would hold", e.misplaced)
	}
	return fmt.Sprintf("%d groups are wrong", e.groups)
}

// operation is what this command does with the counters. What a daemon has left in counter rows of its own is a trap once it has gone
// (docs/design.md §12, Leaving), so --check compares each counter row then; beside one they are in use.
func (c *reconcileCmd) operation(ctx context.Context, conn *pgx.Conn, l *awa.Layout) (awa.Operation, error) {
	if !c.Check {
		return awa.Corrects, nil
	}
	kept, err := daemonCorrects(ctx, conn, l)
	if err == nil && !kept {
		kept, err = goesOn(ctx, conn, l)
	}
	if err != nil {
		return 0, err
	}
	if kept {
		return awa.ComparesGroups, nil
	}
	return awa.ComparesRows, nil
}

// goesOn reports that readers do not use the counters until a daemon has gone on from what the last one left: one is being restarted, say.
func goesOn(ctx context.Context, conn *pgx.Conn, l *awa.Layout) (bool, error) {
	set, err := isMarked(ctx, conn, l)
	if err != nil || set {
		return false, err
	}
	return checkpointLeft(ctx, conn, string(l.Schema))
}

// daemonCorrects reports that a daemon leads and does not only look on, or that a finish is under way. A role that may not see what kind of
// daemon it is takes it for one that corrects.
func daemonCorrects(ctx context.Context, conn *pgx.Conn, l *awa.Layout) (bool, error) {
	led, err := checkpoint.Led(ctx, conn, string(l.Schema))
	if err != nil || !led {
		return false, err
	}
	leader, known, err := checkpoint.ReadLeaderIfAny(ctx, conn, string(l.Schema))
	if pg.IsDenied(err) {
		return true, nil
	}
	return !known || !leader.DryRun || leader.Finishing, err
}

// first is the look that the report is of. It corrects unless it only compares.
func (c *reconcileCmd) first(ctx context.Context, w io.Writer, conn *pgx.Conn, l *awa.Layout, one *reconcile.OneShot, does awa.Operation) (r reconcile.Result, err error) {
	progress := c.progress(ctx, w, conn, l)
	if does != awa.ComparesRows {
		if r, err = one.Run(ctx, does == awa.Corrects, progress); err != nil && does == awa.Corrects {
			err = fmt.Errorf("%w; the counters corrected so far are right; run it again for the rest", err)
		}
		return r, err
	}
	if r, err = one.Look(ctx, progress); err != nil {
		return r, err
	}
	now, err := c.operation(ctx, conn, l)
	if now != does { // a daemon has begun meanwhile, and so may what it corrected
		r.Uneven = nil
	}
	return r, err
}
