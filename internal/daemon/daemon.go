package daemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/corrections"
	"github.com/awa-counterd/awa-counterd/replication"
)

// Daemon keeps the counters of one awa schema until it is told to stop.
type Daemon struct {
	opts     Options
	log      *zap.Logger
	started  bool                       // a session got as far as streaming, or as standing by
	worked   bool                       // this one did, or the last one
	last     string                     // the instance of the last session
	left     leftovers                  // what the last session had
	seen     leadSeen                   // where a lead was seen
	past     map[awa.Schema]*awa.Layout // led before, and not any more
	told     map[string]struct{}        // what was complained of
	throttle throttle
	views    views
	super    Supervisor
	phase    Phase  // as the supervisor was told last
	broken   string // why the replication slot of the last session cannot be read any further; "" if it can
}

// New makes a Daemon.
func New(opts Options) *Daemon {
	if opts.DryRun {
		opts.Trust = applier.TrustOff
	}
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	d := &Daemon{opts: opts, log: opts.Log, past: make(map[awa.Schema]*awa.Layout), told: make(map[string]struct{}), throttle: make(throttle), super: opts.Supervisor}
	if d.super == nil {
		d.super = nobody{}
	}
	d.views.begin(time.Now())
	return d
}

// errStopped ends a session that was asked to.
var errStopped = errors.New("stopped")

// errRemoved ends the process: everything that awa-counterd made was removed, by awa-counterd finish or by teardown.
var errRemoved = errors.New("everything that awa-counterd created has been removed")

// errLeadRequested ends a session: awa-counterd finish wants the lead. The process stays, and stands by: what a finish asks
// for holds no longer than the finish itself.
var errLeadRequested = errors.New("awa-counterd finish asked for the lead")

// errOutdone ends the process: a dry run leads alone or not at all. It must not take the lead in the moment in which a daemon that
// corrects starts again.
var errOutdone = errors.New("a daemon leads, and a dry run neither stands by nor takes over")

// intended reports an end of a session that is no fault.
func intended(err error) bool {
	return errors.Is(err, errStopped) || errors.Is(err, errRemoved) || errors.Is(err, errLeadRequested) || errors.Is(err, errOutdone)
}

// Run works until ctx ends, and then stops gracefully. It returns nil after that, a *pg.Refusal
// when it cannot start, and never for a fault that may pass.
func (d *Daemon) Run(ctx context.Context) error {
	wait := &backoff.ExponentialBackOff{
		InitialInterval: firstRetryPause, RandomizationFactor: 0.3, Multiplier: 1.6, MaxInterval: longestPause(d.opts.MaxStaleness),
	}
	wait.Reset()
	defer context.AfterFunc(ctx, d.super.Stopping)()
	said := make(faults)
	for {
		began := time.Now()
		d.worked = false
		if d.phase != Failing { // what has failed stays said until something goes better
			d.show(Starting, "connecting")
		}
		err := unanswered(ctx, d.session(ctx))
		switch {
		case errors.Is(err, errRemoved):
			d.log.Info("ending: everything that awa-counterd created has been removed")
			d.super.Stopping()
			return nil
		case errors.Is(err, errLeadRequested):
			d.log.Info("giving up the lead: awa-counterd finish is completing the upgrade")
			continue
		case errors.Is(err, errOutdone):
			return pg.Refuse("run this without --dry-run to have a second one stand by; awa-counterd status and the leader's page tell what a dry run would", "%s", err)
		case errors.Is(err, errStopped) || (err != nil && ctx.Err() != nil):
			return d.stopped("stopped", lastWordWithin) //nolint:contextcheck // has to work after ctx has ended
		case d.refused(err):
			return err
		}
		if unreadable(err) {
			d.broken = err.Error()
		}
		if time.Since(began) > longestRetryPause {
			wait.Reset()
			if d.worked { // what fails now is another thing
				clear(said)
			}
		}
		pause := wait.NextBackOff()
		if errors.Is(err, errMigrated) {
			d.log.Info("awa's tables have changed; going on with them as they are now", zap.String("reason", err.Error()))
			_ = said.first(err.Error())
		} else {
			d.views.next.Faults++
		}
		d.showFault(err)
		if text := err.Error(); said.first(text) {
			d.log.Warn("session failed; starting the next one", zap.String("reason", text), zap.Duration("in", pause.Round(time.Millisecond)))
		}
		if !d.rest(ctx, pause) {
			return d.stopped("stopped while waiting for the next session", stopWithin/2) //nolint:contextcheck // has to work after ctx has ended
		}
	}
}

// errMarkerLeft is the end of a process that was asked to stop, and could not clear the marker.
var errMarkerLeft = errors.New("stopped, and the trust marker may still be set, though no daemon vouches for the counters; run awa-counterd distrust")

// stopped ends the process as it was asked to. A marker that the last session could not clear is tried once more.
func (d *Daemon) stopped(message string, within time.Duration) error {
	if d.left.marked && d.opts.Trust != applier.TrustOff {
		d.clearAtEnd(within)
	}
	if d.left.marked && d.opts.Trust != applier.TrustOff {
		return errMarkerLeft
	}
	d.log.Info(message)
	return nil
}

// longestPause is between two sessions that fail: each of them clears a marker that somebody has set meanwhile, and nobody else
// does where no standby is.
func longestPause(bound time.Duration) time.Duration {
	return min(longestRetryPause, max(firstRetryPause, bound/2))
}

// errNoAnswer ends a session: a statement ran out of time by the daemon's own clock. What stands behind it says which.
var errNoAnswer = errors.New("the server does not answer")

// unanswered says so of an error.
func unanswered(ctx context.Context, err error) error {
	if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return err
	}
	if _, refusal := errors.AsType[*pg.Refusal](err); refusal {
		return err
	}
	return fmt.Errorf("%w: %w", errNoAnswer, err)
}

// refused reports an error that ends the process: a refusal before anything ever worked.
func (d *Daemon) refused(err error) bool {
	var r *pg.Refusal
	return !d.started && errors.As(err, &r) && !pg.MayPass(err)
}

// unreadable reports an error that going on with the same replication slot would only repeat: one that decodes WAL
// without its publication, a message that cannot be understood, tables as the books do not know them, more WAL kept
// than it may.
func unreadable(err error) bool {
	return errors.Is(err, replication.ErrUnreadable) || errors.Is(err, replication.ErrPublicationSkipped) || errors.Is(err, replication.ErrTooMuchWAL) ||
		errors.Is(err, awa.ErrLayoutChanged) ||
		errors.Is(err, decoder.ErrIdentity) ||
		(errors.Is(err, replication.ErrStream) && pg.IsSlotUnusable(err))
}

// newInstance makes the random id that fences this session against every other.
func newInstance() (string, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("make an instance id: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

func (d *Daemon) coreConfig(instance string, l *awa.Layout) applier.Config {
	shape := applier.Shape{Ledger: l.Shape.HasLedger(), Receipts: l.Receipts}
	if l.Shape.HasBuckets() {
		shape.OwnBucket = awa.OwnBucket
	}
	return applier.Config{
		Instance: instance, Leaves: l.Slots(), HasMarker: l.HasMarker, Shape: shape,
		DryRun: d.opts.DryRun, Trust: d.opts.Trust, QuietPeriod: d.opts.QuietPeriod, MaxStaleness: d.opts.MaxStaleness,
		FlushInterval: d.opts.FlushInterval, CheckpointInterval: d.opts.CheckpointInterval, AuditInterval: d.opts.AuditInterval,
	}
}

// isDeposed reports that another daemon leads; ours has to give way, not to fail.
func isDeposed(err error) bool {
	return errors.Is(err, checkpoint.ErrDeposed) || errors.Is(err, corrections.ErrNotLeading)
}
