package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/provision"
	"github.com/awa-counterd/awa-counterd/internal/status"
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
	left   bool // something of it stays, as was said

	// What the daemon knows against finishing, "" for nothing, and what ends that.
	unfinished func(context.Context) (reason string, ends ending, err error)
}

// ending is what ends a reason not to finish, while the daemon holds its corrections back.
type ending int

const (
	byNobody ending = iota // finish has to give up
	byItself
	byMove // it is a drift, which finish moves as it has moved all others
)

// finish does all of it. ctx is the lease's.
func (h *handover) finish(ctx context.Context) error {
	if err := h.begin(ctx); err != nil {
		return asLocked(err)
	}
	if err := h.run(ctx); err != nil {
		return err
	}
	return asLocked(h.teardown(ctx))
}

// asLocked makes a refusal of somebody's lock, and of nothing else.
func asLocked(err error) error {
	if !pg.IsBusy(err) {
		return err
	}
	r := pg.Refuse("end that transaction, and run it again", "not finished: %s", err)
	r.Err = err
	return r
}

// begin makes this the only finish.
func (h *handover) begin(ctx context.Context) error {
	return patiently(ctx, func() error {
		return h.asks.do(func(c *pgx.Conn) error {
			alone, err := checkpoint.TryFinish(ctx, c, string(h.layout.Schema))
			if err == nil && !alone {
				err = pg.Refuse("wait until it has ended, or stop it", "not finished: another awa-counterd finish is running")
			}
			return err
		})
	})
}

func (h *handover) run(ctx context.Context) error {
	err := h.steps(ctx)
	if err == nil {
		return nil
	}
	err = asLocked(h.asks.explain(ctx, err))
	if back := h.takeBack(context.WithoutCancel(ctx)); back != nil {
		return fmt.Errorf("%w; finish could not clear the marker again (%w): a running daemon does that; if none runs, run awa-counterd distrust", err, back)
	}
	return err
}

func (h *handover) steps(ctx context.Context) error {
	h.one.Patient(atWork)
	if err := h.redistribute(ctx); err != nil {
		return err
	}
	err := patiently(ctx, func() error {
		return h.asks.do(func(c *pgx.Conn) error { return checkpoint.AskToLeave(ctx, c, string(h.layout.Schema)) })
	})
	if err != nil {
		return err
	}
	if err := h.gone(ctx); err != nil {
		return err
	}
	h.one.Patient(atWork)
	err = patiently(ctx, func() (err error) {
		h.ours, err = h.names(ctx) // a daemon may have been started again with other ones since finish began
		return err
	})
	if err != nil {
		return err
	}
	if err := h.drop(ctx); err != nil {
		return err
	}
	if err := h.agree(ctx); err != nil {
		return err
	}
	if err := h.one.Trust(ctx); err != nil {
		return err
	}
	if err := h.fresh(ctx); err != nil {
		return err
	}
	return h.agree(ctx) // nobody slipped in between the look and the marker
}

// drop ends what needs that nobody follows: changes of another generation leave the ledgers, which no stream
// tells of. So the replication slot goes first: a daemon that is started after all scans afresh. Of whatever else is
// not as awa would hold it by now nobody has seen whose doing it was, an old binary's, or that of a daemon that had just taken over and
// corrected what somebody did: it is mended, and finish has to begin again.
func (h *handover) drop(ctx context.Context) error {
	stale, err := h.one.Stale(ctx)
	if err != nil {
		return err
	}
	if barred(stale) != "" { // since finish began
		return notFresh(stale)
	}
	if stale != nil {
		if err := replication.Drop(ctx, h.conn, h.ours.Slot); err != nil {
			return err
		}
		h.one.Alone, h.one.StillAlone = true, h.asks.leads(h.layout)
	}
	r, err := h.one.Run(ctx, true, nil)
	if err != nil {
		return err
	}
	if why := wrongIn(r, "became wrong", "turned wrong", " when the daemons had left"); why != "" {
		return pg.Refuse(mayStillWrite, "not finished: %s", why)
	}
	if r.Dropped > 0 {
		h.say(fmt.Sprintf("moved %d changes of other generations from the ledger to the counters; awa would have dropped them", r.Dropped))
	}
	return h.fresh(ctx)
}

const mayStillWrite = "old binaries may still be writing; see awa-counterd status"

// agree demands that every counter row is right, and that nobody has come who will make one wrong.
func (h *handover) agree(ctx context.Context) error {
	r, err := h.one.Look(ctx, nil)
	if err != nil {
		return err
	}
	if why := wrongIn(r, "are wrong", "are wrong", ""); why != "" {
		return pg.Refuse(mayStillWrite, "not finished: %s", why)
	}
	return h.nobodyOld(ctx)
}

// nobodyOld refuses beside an old worker that has registered, or a migrate() of its release, since the daemons were asked the last time.
func (h *handover) nobodyOld(ctx context.Context) error {
	old, err := readOldOnes(ctx, h.conn, h.layout) // that they cannot be seen has been said
	switch {
	case err != nil:
		return err
	case len(old.named) > 0:
		return pg.Refuse("replace them, and run it again", "not finished: %s have come when the daemons had left: %s", old.called, strings.Join(old.named, ", "))
	case old.uncounted:
		return pg.Refuse("then run it again", "not finished: %s", status.DeletesUncounted)
	}
	return nil
}

// oldOnes are the old workers that are live.
type oldOnes struct {
	named     []string
	called    string
	uncounted bool // a migrate() of their release has put back what does not count
	known     bool // workers can be seen
}

func readOldOnes(ctx context.Context, conn *pgx.Conn, l *awa.Layout) (old oldOnes, err error) {
	err = patiently(ctx, func() error {
		runtimes, known, err := awa.Runtimes(ctx, conn)
		if err != nil {
			return err
		}
		old.named, old.known = oldRuntimes(runtimes), known
		if old.called, err = awa.Registrants(ctx, conn); err != nil {
			return err
		}
		old.uncounted, err = l.DeletesUncounted(ctx, conn)
		return err
	})
	return old, err
}

// fresh refuses while a ledger has changes of another generation.
func (h *handover) fresh(ctx context.Context) error {
	stale, err := h.one.Stale(ctx)
	if err == nil && stale != nil {
		err = notFresh(stale)
	}
	return err
}

func notFresh(stale *reconcile.StaleLedgers) error {
	if why := barred(stale); why != "" {
		return pg.Refuse("then run it again", "not finished: %s", why)
	}
	return pg.Refuse("run it again", "not finished: %s", stale)
}

// answerWithin is how long a daemon may take to do as it is asked: it looks once a second, and stops within 10.
const answerWithin = 20 * time.Second

// redistribute makes of awa's counter rows what awa itself would hold. Meanwhile the daemon holds its corrections back, whatever shape awa's
// counters have, and sees each of finish's: what goes wrong ends trust as ever.
func (h *handover) redistribute(ctx context.Context) error {
	err := poll(ctx, answerWithin, func() (bool, error) {
		leader, _, err := checkpoint.ReadLeader(ctx, h.conn, string(h.layout.Schema))
		return leader.Holds, err
	}, hangs("finish asked the daemon to pause its corrections, and it did not within %s"))
	if err != nil {
		return err
	}
	moved := 0
	for tries := 1; ; tries++ {
		r, err := h.one.Run(ctx, true, nil)
		if err != nil {
			return err
		}
		moved += r.UnevenRows()
		reason, err := wrong(ctx, h.one)
		if err == nil && reason == "" {
			reason, err = h.quiet(ctx)
		}
		switch {
		case err != nil:
			return err
		case reason == "":
			if h.layout.Shape.HasBuckets() {
				h.say(fmt.Sprintf("moved the corrections to %d of awa's counter rows", moved))
			}
			return nil
		case tries == moveTries:
			return pg.Refuse("run it again", "not finished: %s", reason)
		}
	}
}

// moveTries is how often what becomes wrong behind the move is moved as well: by awa's folds it does a few times after an old leader
// has gone, and never after.
const moveTries = 5

// quiet demands that what became wrong while the daemon held its corrections back, and has been moved, is nothing that it holds against
// finishing: no old binary wrote. What became wrong behind the move, and has to be moved, is its answer.
func (h *handover) quiet(ctx context.Context) (drift string, err error) {
	var reason string
	refuse := func() error { return pg.Refuse("run it again", "not finished: %s", reason) }
	err = poll(ctx, answerWithin, func() (bool, error) {
		var ends ending
		var err error
		if reason, ends, err = h.unfinished(ctx); err != nil || reason == "" {
			return true, err
		}
		switch ends {
		case byMove:
			drift = reason
			return true, nil
		case byNobody:
			return false, refuse()
		}
		return false, nil
	}, refuse)
	return drift, err
}

// gone waits until nobody holds the leader lock; then it is ours, so nobody else can begin.
func (h *handover) gone(ctx context.Context) error {
	return poll(ctx, answerWithin, func() (got bool, err error) {
		err = h.asks.do(func(c *pgx.Conn) error {
			got, err = checkpoint.TryLead(ctx, c, string(h.layout.Schema))
			return err
		})
		return got, err
	}, hangs("finish asked the daemons to give up the lead, and one still has it after %s"))
}

// takeBack undoes a hand-over, on a connection of its own: an interrupt may have cost the other one. The marker
// goes; a daemon that goes on sets it again when it can vouch for it. What another finish asks for, or has finished, is left alone.
func (h *handover) takeBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, takeBackWithin)
	defer cancel()
	conn, err := h.source.Connect(ctx, commandSettings())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	mine := false
	err = patiently(ctx, func() (err error) {
		mine, err = checkpoint.MayTakeBack(ctx, conn, string(h.layout.Schema), h.asks.pid())
		return err
	})
	if err != nil || !mine {
		return err
	}
	if _, err := clearMarker(ctx, conn, h.layout, "awa-counterd finish: the upgrade is not finished"); err != nil {
		return err
	}
	return patiently(ctx, func() error { return checkpoint.TakeBack(ctx, conn, string(h.layout.Schema), h.asks.pid()) })
}

// teardown removes what awa-counterd made, while nobody can begin to work with it. What somebody has locked is tried again.
func (h *handover) teardown(ctx context.Context) error {
	told := false
	return patiently(ctx, func() error {
		plan, left, err := provision.Teardown(ctx, h.conn, h.layout, h.ours)
		if err != nil {
			return err
		}
		for _, what := range left {
			if !told {
				h.say(what)
			}
		}
		told, h.left = true, h.left || len(left) > 0
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
	})
}
