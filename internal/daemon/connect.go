package daemon

import (
	"context"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/preflight"
)

// connected has a control connection, and awa's tables, on which this role may do what the daemon does.
type connected struct {
	d       *Daemon
	log     *zap.Logger
	control *pgx.Conn // holds the leader lock; monitors
	layout  *awa.Layout
}

// connect opens the control connection.
func (d *Daemon) connect(ctx context.Context) (*pgx.Conn, error) {
	control, err := d.open(ctx, pg.Settings{Role: pg.ControlRole, LockTimeout: startLockWait(d.opts.MaxStaleness), StatementTimeout: statementTimeout})
	if err != nil {
		return nil, d.opts.Source.ExplainConnect(err)
	}
	return control, nil
}

func (d *Daemon) checkServer(ctx context.Context, control *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return preflight.Server(ctx, d.target(control))
}

// findTables finds awa's tables on a server that can be worked with, waiting for them if need be.
func (d *Daemon) findTables(ctx context.Context, control *pgx.Conn) (*awa.Layout, error) {
	if err := d.checkServer(ctx, control); err != nil {
		return nil, err
	}
	return d.awaitTables(ctx, control)
}

// check refuses what this role may not do. It is errRemoved where somebody has removed everything that awa-counterd made.
func (d *Daemon) check(ctx context.Context, control *pgx.Conn, layout *awa.Layout) (connected, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if _, err := d.leader(ctx, control, layout); err != nil {
		return connected{}, err
	}
	return connected{d: d, log: d.log, control: control, layout: layout}, d.checkTables(ctx, control, layout)
}

func (d *Daemon) open(ctx context.Context, settings pg.Settings) (c *pgx.Conn, err error) {
	d.liveWhile(func() { c, err = d.opts.Source.Connect(ctx, settings) })
	return c, err
}

// closeAll closes connections, in this order; nil is one that was not opened.
func closeAll(conns ...*pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), pg.CloseWithin)
	defer cancel()
	for _, c := range conns {
		if c != nil {
			_ = c.Close(ctx)
		}
	}
}

// target is what has to be so for this daemon.
func (d *Daemon) target(c *pgx.Conn) preflight.Target {
	return preflight.Target{
		Conn: c, Trust: d.opts.Trust != applier.TrustOff, DryRun: d.opts.DryRun, NoSetup: d.opts.NoSetup, Failover: d.opts.Failover,
		FindsSchema: d.opts.Schema == "",
	}
}

// checkTables refuses awa's tables where this role cannot do on them what the daemon does.
func (d *Daemon) checkTables(ctx context.Context, c *pgx.Conn, l *awa.Layout) error {
	t := d.target(c)
	t.Schema, t.Layout = l.Schema, l
	return preflight.Tables(ctx, t)
}

// asRefusal is preflight.AsRefusal for the role that statements of a connection run as: ALTER ROLE … SET role may make it another one
// than that of the URL.
func (d *Daemon) asRefusal(ctx context.Context, c *pgx.Conn, err error) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	var user string
	if c.QueryRow(ctx, `select current_user::text`).Scan(&user) != nil {
		user = d.opts.Source.User()
	}
	return preflight.AsRefusal(err, user)
}

func (d *Daemon) discover(ctx context.Context, c *pgx.Conn) (*awa.Layout, error) {
	schema, err := d.schema(ctx, c)
	if err != nil {
		return nil, err
	}
	// A migration commits step by step; what the catalog shows in between does not last.
	if pid, err := awa.Migrator(ctx, c); err != nil {
		return nil, err
	} else if pid != 0 {
		return nil, &migrating{pid}
	}
	l, err := awa.Discover(ctx, c, schema)
	if err != nil {
		return nil, err
	}
	return l, l.CheckLeaves()
}

func (d *Daemon) schema(ctx context.Context, c *pgx.Conn) (awa.Schema, error) {
	if d.opts.Schema != "" {
		return awa.ParseSchema(d.opts.Schema)
	}
	return awa.ActiveSchema(ctx, c)
}
