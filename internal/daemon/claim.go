package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/base/failpoint"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/corrections"
	"github.com/awa-counterd/awa-counterd/reconcile"
)

// claimed is a lead on which whatever an earlier instance still sends is refused, and what it writes with.
type claimed struct {
	leading
	instance  string
	finishing bool // finish moved counters about when the lead was claimed
	writers
}

// writers are the connections of a lead beside control, each for one kind of work. Those that have to be there when something goes
// wrong stay open: what is corrected must not wait for a connection, and the marker is cleared on a server that lets nobody in any more.
type writers struct {
	writes  *pgx.Conn
	markers *pgx.Conn
	keeper  *pgxpool.Pool // of the checkpoint: one session, on demand
	writer  *corrections.Writer
	marker  *corrections.Writer
	scanner *reconcile.Scanner
	recalls bool // writes the history of the marker
}

// claim begins the lead. A marker that it finds set is cleared before anything that takes long.
func claim(ctx context.Context, l leading) (claimed, error) {
	if err := l.ensureSchema(ctx); err != nil {
		return claimed{}, err
	}
	instance, err := newInstance()
	if err != nil {
		return claimed{}, err
	}
	schema := string(l.layout.Schema)
	leader, known, err := checkpoint.ReadLeader(ctx, l.control, schema)
	if err != nil {
		return claimed{}, err
	}
	if known && leader.Leaving {
		return claimed{}, errLeadRequested
	}
	l.d.last = instance
	host, _ := os.Hostname()
	entry := checkpoint.Leader{Instance: instance, Host: host, PID: os.Getpid(), Version: l.d.opts.Version, DryRun: l.d.opts.DryRun, Bound: l.d.opts.MaxStaleness}
	if err := checkpoint.Claim(ctx, l.control, schema, entry); err != nil {
		return claimed{}, err
	}
	if err := l.setLockTimeout(ctx, lockWait); err != nil {
		return claimed{}, err
	}
	failpoint.Reach(failpoint.Claimed)
	l.d.super.Alive()
	if err := l.d.noteLead(ctx, l.control, l.layout.Schema); err != nil {
		return claimed{}, err
	}
	w, err := l.openWriters(ctx, instance)
	if err != nil {
		return claimed{}, err
	}
	// A standby that takes over in the middle of a finish must not correct either.
	c := claimed{leading: l, instance: instance, finishing: leader.Finishing, writers: w}
	if err := c.clearMarker(ctx); err != nil {
		c.close() //nolint:contextcheck // has to work after ctx has ended
		return claimed{}, err
	}
	return c, nil
}

func (l leading) ensureSchema(ctx context.Context) error {
	if !l.d.opts.NoSetup {
		return checkpoint.Ensure(ctx, l.control, string(l.layout.Schema))
	}
	there, err := checkpoint.Exists(ctx, l.control)
	if err == nil && !there {
		err = pg.Refuse("let a DBA run the statements that awa-counterd setup --print-sql prints, or leave out --no-setup", "schema %s is missing", checkpoint.SchemaName)
	}
	return err
}

// openWriters opens what a lead works with.
func (l leading) openWriters(ctx context.Context, instance string) (w writers, err error) {
	defer func() { //nolint:contextcheck // has to work after ctx has ended
		if err != nil {
			w.close()
		}
	}()
	short := pg.Settings{Role: "corrections", LockTimeout: rowLockWait, StatementTimeout: statementTimeout, Async: true, Indexed: true}
	if w.writes, err = l.d.open(ctx, short); err != nil {
		return w, err
	}
	short.Role = "marker"
	if w.markers, err = l.d.open(ctx, short); err != nil {
		return w, err
	}
	keeper := pg.Settings{Role: "checkpoint", LockTimeout: lockWait, StatementTimeout: statementTimeout, Async: true}
	if w.keeper, err = l.d.opts.Source.OnDemand(context.WithoutCancel(ctx), keeper, 1); err != nil {
		return w, err
	}
	if w.recalls, err = checkpoint.Remembers(ctx, l.control); err != nil {
		return w, err
	}
	sql := corrections.OfLeader(l.layout, w.recalls)
	if l.d.opts.DryRun {
		sql = corrections.OfDryRun(l.layout)
	}
	w.writer = corrections.NewWriter(w.writes, sql, instance)
	if m := l.d.opts.Meter; m != nil {
		w.writer.Took = m.Corrected
	}
	w.marker = corrections.NewWriter(w.markers, sql, instance)
	w.scanner, err = reconcile.NewScanner(context.WithoutCancel(ctx), l.d.opts.Source, l.layout, mostScans, reconcile.ScanTimeout)
	return w, err
}

func (w writers) close() {
	if w.scanner != nil {
		w.scanner.Close()
	}
	if w.keeper != nil {
		w.keeper.Close()
	}
	closeAll(w.writes, w.markers)
}

// clearMarker is the first thing that a session writes.
func (c claimed) clearMarker(ctx context.Context) error {
	if !c.layout.HasMarker || c.d.opts.Trust == applier.TrustOff {
		return nil
	}
	const reason = "found set, and no daemon vouches for the counters yet"
	for {
		c.d.super.Alive()
		set, err := c.markerIsSet(ctx)
		if err == nil {
			c.d.left.marked = set
		}
		if err == nil && !set {
			c.settleMarker(ctx)
		}
		if err != nil || !set {
			return err
		}
		err = c.nameKeeper(ctx, c.marker.SetMarker(ctx, applier.SetMarker{Reason: reason}))
		switch {
		case err == nil:
			c.d.left.marked = false
			c.d.saysCleared(reason)
			return nil
		case errors.Is(err, applier.ErrKept): // the counters can be kept right all the same
			c.d.cannotClear(err)
			return nil
		case !pg.IsBusy(err):
			return err
		}
	}
}

// nameKeeper is applier.ErrKept with what keeps the marker set; any other err stays as it is.
func (c claimed) nameKeeper(ctx context.Context, err error) error {
	if !errors.Is(err, applier.ErrKept) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return corrections.Kept(ctx, c.markers, c.layout.RingTable())
}

func (c connected) markerIsSet(ctx context.Context) (bool, error) {
	var set bool
	if err := c.control.QueryRow(ctx, `select `+c.layout.MarkerIsSet()).Scan(&set); err != nil {
		return false, fmt.Errorf("read the marker: %w", err)
	}
	return set, nil
}
