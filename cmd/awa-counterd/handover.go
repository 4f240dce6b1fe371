package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/pg"
	"github.com/awa-counterd/awa-counterd/reconcile"
)

// handOver is the end of an upgrade (docs/design.md §12, Leaving): the daemon holds its corrections back and
// goes on following, while what it left in counter rows of its own goes to awa's; then the daemons leave, the
// counters are looked at once more, and the marker is set. All that it asks of daemons holds as long as conn
// lives, so that a finish that dies leaves everything as it was.
type handOver struct {
	source *pg.Source
	conn   *pgx.Conn // holds the lock of finish
	layout *awa.Layout
	one    *reconcile.OneShot
	say    func(string)
}

func (h *handOver) run(ctx context.Context) error {
	err := h.steps(ctx)
	if err == nil {
		return nil
	}
	if back := h.takeBack(context.WithoutCancel(ctx)); back != nil {
		return fmt.Errorf("%w; and taking it back failed (%w): run awa-counterd distrust and start the daemon again", err, back)
	}
	return err
}

func (h *handOver) steps(ctx context.Context) error {
	if err := h.redistribute(ctx); err != nil {
		return err
	}
	if err := checkpoint.AskToLeave(ctx, h.conn, string(h.layout.Schema), true); err != nil {
		return err
	}
	if err := h.gone(ctx); err != nil {
		return err
	}
	// Nobody corrects any more: what a daemon that had just taken over may have slipped in goes as well.
	if err := h.fresh(ctx); err != nil {
		return err
	}
	if _, err := h.move(ctx); err != nil {
		return err
	}
	if err := agree(ctx, h.one); err != nil {
		return err
	}
	if err := h.one.Trust(ctx); err != nil {
		return err
	}
	if err := h.fresh(ctx); err != nil {
		return err
	}
	return agree(ctx, h.one) // nobody slipped in between the look and the marker
}

// fresh refuses while a ledger has changes of another generation: the counters are right with them, and awa's
// next fold drops them.
func (h *handOver) fresh(ctx context.Context) error {
	stale, err := h.one.Stale(ctx)
	if err == nil && stale != "" {
		err = pg.Refuse("run it again; it waits for that", "not finished: %s", stale)
	}
	return err
}

// answerWithin is how long a daemon may take to do as it is asked: it looks once a second, and stops within 10.
const answerWithin = 20 * time.Second

// redistribute moves what corrections left in counter rows of our own to awa's. Meanwhile the daemon holds its
// corrections back, and sees each of ours: what goes wrong ends trust as ever.
func (h *handOver) redistribute(ctx context.Context) error {
	if !h.layout.Shape.HasBuckets() {
		return nil // corrections went to awa's own rows
	}
	err := poll(ctx, func() (bool, error) {
		leader, _, err := checkpoint.ReadLeader(ctx, h.conn, string(h.layout.Schema))
		return leader.Holds, err
	}, "the daemon did not hold its corrections back within %s of being asked")
	if err != nil {
		return err
	}
	if err := h.fresh(ctx); err != nil {
		return err
	}
	moved, err := h.move(ctx)
	if err != nil {
		return err
	}
	h.say(fmt.Sprintf("moved: what corrections had left, to %d counter rows of awa's own", moved))
	return agree(ctx, h.one)
}

// move redistributes every unit, and counts the counter rows that it rewrote.
func (h *handOver) move(ctx context.Context) (moved int, err error) {
	if !h.layout.Shape.HasBuckets() {
		return 0, nil // corrections went to awa's own rows
	}
	r, err := h.one.Look(ctx, true, nil)
	return r.Moved, err
}

// gone waits until nobody holds the leader lock; then it is ours, so nobody else can begin.
func (h *handOver) gone(ctx context.Context) error {
	return poll(ctx, func() (bool, error) {
		return checkpoint.TryLead(ctx, h.conn, string(h.layout.Schema))
	}, "a daemon still runs %s after it was asked to leave")
}

// poll waits for a state. No context's deadline bounds it: one that ran out in the middle of a query would take
// the connection along.
func poll(ctx context.Context, done func() (bool, error), problem string) error {
	late := time.NewTimer(answerWithin)
	defer late.Stop()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		switch ok, err := done(); {
		case err != nil:
			return err
		case ok:
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return pg.Refuse("stop it and run this again", "not finished: "+problem, answerWithin)
		case <-tick.C:
		}
	}
}

// takeBack undoes a hand-over, on a connection of its own: an interrupt may have cost the other one. The marker
// goes; a daemon that goes on sets it again when it can vouch for it.
func (h *handOver) takeBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := h.source.Connect(ctx, pg.Session{Role: "command", LockTimeout: 2 * time.Second})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, h.layout.SetMarker(false, "true")); err != nil {
		return fmt.Errorf("clear the marker: %w", err)
	}
	return checkpoint.AskToLeave(ctx, conn, string(h.layout.Schema), false)
}
