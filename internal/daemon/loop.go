package daemon

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/base/failpoint"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/replication"
)

// loop drives the Core until the session ends. ctx asks for a graceful end; work carries everything
// that is under way.
func (s *session) loop(ctx, work context.Context) error {
	work, cancel := context.WithCancel(work)
	group, work := errgroup.WithContext(work)
	batches := make(chan replication.Batch, 8)
	l := &loop{
		session: s, work: work, group: group,
		results: make(chan func(time.Time), 16),
		writes:  make(chan writeWithState, 1), markers: make(chan applier.SetMarker, 1), persists: make(chan applier.Persist, 1),
	}
	group.Go(func() error { return s.stream.Run(work, batches) })
	group.Go(func() error { return s.monitor(work, l.results) })
	l.executors()
	err := l.run(ctx, work, batches)
	cancel()
	l.showEnd(time.Now(), err)
	if worker := group.Wait(); err == nil || errors.Is(err, context.Canceled) {
		if worker != nil && !errors.Is(worker, context.Canceled) {
			err = worker
		}
	}
	return err
}

type loop struct {
	*session
	work     context.Context //nolint:containedctx // lives exactly as long as the loop
	group    *errgroup.Group
	results  chan func(time.Time) // what was done, told on the loop's goroutine
	writes   chan writeWithState
	markers  chan applier.SetMarker
	persists chan applier.Persist
}

// writeWithState is a Write with what the leader's row is to say.
type writeWithState struct {
	applier.Write
	state string
}

func (l *loop) run(ctx, work context.Context, batches <-chan replication.Batch) error {
	now := time.Now()
	l.status.seen, l.status.at = l.core.Status(now), now
	l.status.last = l.status.seen
	l.showLead(now)
	l.act(now)
	timer := time.NewTimer(time.Until(l.core.Deadline(time.Now())))
	defer timer.Stop()
	status := time.NewTicker(l.d.opts.StatusInterval)
	defer status.Stop()
	looks, end := l.looks()
	defer end()
	stop := ctx.Done()
	var giveUp <-chan time.Time
	for {
		select {
		case b := <-batches:
			now := time.Now()
			if len(b.Txs) > 0 {
				l.core.Transactions(now, b.Txs)
			}
			if b.Idle != 0 {
				l.core.Idle(now, b.Idle)
			}
		case f := <-l.results:
			f(time.Now())
		case <-timer.C:
		case now := <-status.C:
			l.logStatus(now)
		case <-looks:
			l.showLead(time.Now())
		case <-stop:
			stop = nil
			giveUp = time.After(stopWithin)
			l.log.Info("stopping: completing the flush and the checkpoint")
			l.core.Stop(time.Now())
		case <-giveUp:
			l.log.Warn("stopping before the checkpoint was complete")
			l.d.left.marked = l.core.LeavesMarker(time.Now())
			return errStopped
		case <-work.Done():
			return context.Cause(work)
		}
		now := time.Now()
		l.checkLooks(now)
		l.act(now)
		l.showTrust(now)
		l.d.super.Alive()
		failpoint.Reach(failpoint.Turn)
		if l.core.Stopped(now) {
			if l.leaving {
				return errLeadRequested
			}
			return errStopped
		}
		timer.Reset(l.deadline(now).Sub(now))
	}
}

// deadline is when the loop has to turn if nothing happens before.
func (l *loop) deadline(now time.Time) time.Time {
	d := l.core.Deadline(now)
	if until := l.watch.until(); until.After(now) && until.Before(d) {
		return until
	}
	return d
}

// act carries out what the Core wants now. None of it waits: of each kind at most one is under way.
func (l *loop) act(now time.Time) {
	for _, c := range l.core.Next(now) {
		switch c := c.(type) {
		case applier.Write:
			l.writes <- writeWithState{c, l.core.State(time.Now())}
		case applier.SetMarker:
			l.markers <- c
		case applier.Persist:
			l.persists <- c
		case applier.StartScan:
			l.group.Go(func() error { return l.scan(c.Unit) })
		case applier.Acknowledge:
			l.stream.Acknowledge(c.Position)
		}
	}
	l.d.logNotices(now, l.core.Notices())
}

// tell hands a result to the loop, unless the session is over.
func (l *loop) tell(f func(time.Time)) error {
	select {
	case l.results <- f:
		return nil
	case <-l.work.Done():
		return context.Cause(l.work)
	}
}

// scan never ends the session for what may pass: a lock timeout behind a rebuild, a cancel.
func (l *loop) scan(unit int32) error {
	began := time.Now()
	scan, err := l.scanner.Scan(l.work, unit)
	if m := l.d.opts.Meter; m != nil && err == nil {
		m.Scanned(time.Since(began))
	}
	if unlessBusy(err) != nil {
		return err
	}
	failpoint.Reach(failpoint.Scanned)
	return l.tell(func(now time.Time) { l.core.Scanned(now, unit, scan, err) })
}

// executors run the commands of one kind each, one after the other, on a connection of their own.
func (l *loop) executors() {
	serve(l, l.writes, func(c writeWithState) (func(time.Time), error) {
		began := time.Now()
		r, err := l.writer.Write(l.work, c.Write, c.state)
		failpoint.Reach(failpoint.Applied)
		took := time.Since(began)
		return func(now time.Time) {
			l.meter(now, r, took)
			l.core.Written(now, r)
		}, err
	})
	serve(l, l.markers, func(c applier.SetMarker) (func(time.Time), error) {
		failpoint.Reach(failpoint.MarkerWrite)
		err := l.nameKeeper(l.work, l.marker.SetMarker(l.work, c))
		failpoint.Reach(failpoint.MarkerDone)
		return func(now time.Time) { l.core.MarkerWritten(now, err) }, unlessBusy(err)
	})
	serve(l, l.persists, func(c applier.Persist) (func(time.Time), error) {
		err := l.store.Persist(l.work, c.Checkpoint) // its connection bounds each statement; a million groups are many, and take their time
		failpoint.Reach(failpoint.Persisted)
		if pg.IsNotConnected(err) { // the other sessions live: the server lets no more in at the moment
			return func(now time.Time) { l.core.Persisted(now, err) }, nil
		}
		return func(now time.Time) { l.core.Persisted(now, err) }, unlessBusy(err)
	})
}

// serve answers commands until the session is over, or one of them fails for good.
func serve[T any](l *loop, commands <-chan T, do func(T) (func(time.Time), error)) {
	l.group.Go(func() error {
		for {
			select {
			case <-l.work.Done():
				return context.Cause(l.work)
			case c := <-commands:
				answer, err := do(c)
				if err == nil {
					err = l.tell(answer)
				}
				if err != nil {
					return err
				}
			}
		}
	})
}

// unlessBusy lets the Core try again what a lock held up, what came too late for it, or what had no effect; any other error ends
// the session.
func unlessBusy(err error) error {
	if pg.IsBusy(err) || errors.Is(err, applier.ErrTooLate) || errors.Is(err, applier.ErrKept) {
		return nil
	}
	return err
}
