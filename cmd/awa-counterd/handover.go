package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/corrections"
	"github.com/awa-counterd/awa-counterd/internal/provision"
	"github.com/awa-counterd/awa-counterd/reconcile"
	"github.com/awa-counterd/awa-counterd/replication"
)

// handover is the end of an upgrade (docs/design.md §12, Leaving): the daemon holds its corrections back and
// goes on following, while what it left in counter rows of its own goes to awa's; then the daemons leave, the
// counters are looked at once more, and the marker is set. All that it asks of daemons holds as long as its lease,
// so that a finish that dies, or is stopped, leaves everything as it was.
type handover struct {
	source *pg.Source
	asks   *lease // has the lock of finish, and then the leader lock
	conn   *pgx.Conn
	layout *awa.Layout
	names  func(context.Context) (provision.Names, error) // what daemons work with
	ours   provision.Names                                // what they have left: known when all of them have
	one    *reconcile.OneShot
	say    func(string)

	// What the daemon knows against finishing, "" for nothing, and whether that passes by itself.
	unfinished func(context.Context) (reason string, passes bool, err error)
}

// finish does all of it. ctx is the lease's.
func (h *handover) finish(ctx context.Context) error {
	if err := h.begin(ctx); err != nil {
		return err
	}
	if err := h.run(ctx); err != nil {
		return err
	}
	return h.teardown(ctx)
}

// begin makes this the only finish.
func (h *handover) begin(ctx context.Context) error {
	return h.asks.do(func(c *pgx.Conn) error {
		alone, err := checkpoint.TryFinish(ctx, c, string(h.layout.Schema))
		if err == nil && !alone {
			err = pg.Refuse("wait until it has ended, or stop it", "not finished: another awa-counterd finish is running")
		}
		return err
	})
}

func (h *handover) run(ctx context.Context) error {
	err := h.steps(ctx)
	if err == nil {
		return nil
	}
	err = h.asks.explain(ctx, err)
	if back := h.takeBack(context.WithoutCancel(ctx)); back != nil {
		return fmt.Errorf("%w; finish could not clear the marker again (%w): a running daemon does that; if none runs, run awa-counterd distrust", err, back)
	}
	return err
}

func (h *handover) steps(ctx context.Context) error {
	if err := h.redistribute(ctx); err != nil {
		return err
	}
	if err := h.asks.do(func(c *pgx.Conn) error { return checkpoint.AskToLeave(ctx, c, string(h.layout.Schema)) }); err != nil {
		return err
	}
	if err := h.gone(ctx); err != nil {
		return err
	}
	var err error
	if h.ours, err = h.names(ctx); err != nil { // a daemon may have been started again with other ones since finish began
		return err
	}
	if err := h.drop(ctx); err != nil {
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

// drop ends what needs that nobody follows: changes of another generation leave the ledgers, which no stream
// tells of. So the replication slot goes first: a daemon that is started after all scans afresh. Nobody
// corrects any more either, and what one that had just taken over may have slipped in is moved as well.
func (h *handover) drop(ctx context.Context) error {
	stale, err := h.one.Stale(ctx)
	if err != nil {
		return err
	}
	if stale != nil {
		if err := replication.Drop(ctx, h.conn, h.ours.Slot); err != nil {
			return err
		}
		h.one.Alone, h.one.StillAlone = true, h.asks.leads(h.layout)
	}
	r, err := h.move(ctx)
	if err != nil {
		return err
	}
	if len(r.Drifts) > 0 { // nobody has seen who it was
		return pg.Refuse("old binaries may still be writing; see awa-counterd status",
			"not finished: the counters of %d groups became wrong when the daemons had left, the first on queue %s", len(r.Drifts), r.Drifts[0].Queue)
	}
	if r.Dropped > 0 {
		h.say(fmt.Sprintf("moved %d changes of other generations from the ledger to the counters; awa would have dropped them", r.Dropped))
	}
	return h.fresh(ctx)
}

// fresh refuses while a ledger has changes of another generation.
func (h *handover) fresh(ctx context.Context) error {
	stale, err := h.one.Stale(ctx)
	if err == nil && stale != nil {
		err = pg.Refuse("run it again", "not finished: %s", stale)
	}
	return err
}

// answerWithin is how long a daemon may take to do as it is asked: it looks once a second, and stops within 10.
const answerWithin = 20 * time.Second

// redistribute moves what corrections left in counter rows of the daemon's own to awa's. Meanwhile the daemon holds its
// corrections back, and sees each of finish's: what goes wrong ends trust as ever.
func (h *handover) redistribute(ctx context.Context) error {
	if !h.layout.Shape.HasBuckets() {
		return h.quiet(ctx) // corrections went to awa's own rows, and go on meanwhile
	}
	err := poll(ctx, func() (bool, error) {
		leader, _, err := checkpoint.ReadLeader(ctx, h.conn, string(h.layout.Schema))
		return leader.Holds, err
	}, hangs("finish asked the daemon to pause its corrections, and it did not within %s"))
	if err != nil {
		return err
	}
	moved := 0
	for tries := 1; ; tries++ {
		r, err := h.move(ctx)
		if err != nil {
			return err
		}
		moved += r.Moved
		reason, err := wrong(ctx, h.one)
		switch {
		case err != nil:
			return err
		case reason == "":
			h.say(fmt.Sprintf("moved the corrections to %d of awa's counter rows", moved))
			return h.quiet(ctx)
		case tries == moveTries:
			return pg.Refuse("run it again", "not finished: %s", reason)
		}
	}
}

// moveTries is how often what becomes wrong behind the move is moved as well: by awa's folds it does a few times after an old leader
// has gone, and never after.
const moveTries = 5

// quiet demands that what became wrong while the daemon held its corrections back, and has been moved, is nothing that it holds against
// finishing: no old binary wrote.
func (h *handover) quiet(ctx context.Context) error {
	var reason string
	refuse := func() error { return pg.Refuse("run it again", "not finished: %s", reason) }
	return poll(ctx, func() (bool, error) {
		var passes bool
		var err error
		if reason, passes, err = h.unfinished(ctx); err == nil && reason != "" && !passes {
			err = refuse()
		}
		return reason == "", err
	}, refuse)
}

// move redistributes every unit.
func (h *handover) move(ctx context.Context) (reconcile.Result, error) {
	if !h.layout.Shape.HasBuckets() {
		return reconcile.Result{}, nil // corrections went to awa's own rows
	}
	return h.one.Run(ctx, true, nil)
}

// gone waits until nobody holds the leader lock; then it is ours, so nobody else can begin.
func (h *handover) gone(ctx context.Context) error {
	return poll(ctx, func() (got bool, err error) {
		err = h.asks.do(func(c *pgx.Conn) error {
			got, err = checkpoint.TryLead(ctx, c, string(h.layout.Schema))
			return err
		})
		return got, err
	}, hangs("finish asked the daemons to give up the lead, and one still has it after %s"))
}

// hangs is what is said of a daemon that does not do what it was asked.
func hangs(problem string) func() error {
	return func() error { return pg.Refuse("stop it and run this again", "not finished: "+problem, answerWithin) }
}

// poll waits for a state, answerWithin at most; then tooLate says why it gave up. No context's deadline bounds it: one that ran out in
// the middle of a query would take the connection along.
func poll(ctx context.Context, done func() (bool, error), tooLate func() error) error {
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
			return tooLate()
		case <-tick.C:
		}
	}
}

// takeBack undoes a hand-over, on a connection of its own: an interrupt may have cost the other one. The marker
// goes; a daemon that goes on sets it again when it can vouch for it. What another finish asks for, or has finished, is left alone.
func (h *handover) takeBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := h.source.Connect(ctx, commandSettings())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	mine, err := checkpoint.MayTakeBack(ctx, conn, string(h.layout.Schema), h.asks.pid())
	if err != nil || !mine {
		return err
	}
	if _, err := corrections.Clear(ctx, conn, h.layout.RingTable(), "true"); err != nil {
		return err
	}
	return checkpoint.TakeBack(ctx, conn, string(h.layout.Schema), h.asks.pid())
}

// teardown removes what awa-counterd made, while nobody can begin to work with it.
func (h *handover) teardown(ctx context.Context) error {
	plan, left, err := provision.Teardown(ctx, h.conn, h.layout, h.ours)
	if err != nil {
		return err
	}
	for _, what := range left {
		h.say(what)
	}
	if err := h.asks.renew(ctx); err != nil {
		return fmt.Errorf("remove what awa-counterd made: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	return provision.Run(ctx, h.conn, plan, func(st provision.Step) {
		h.say("removed: " + st.What)
		if err := h.asks.renew(ctx); err != nil { // stopped meanwhile: daemons may be at work again
			cancel(err)
		}
	})
}
