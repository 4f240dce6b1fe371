package daemon

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/pg"
	"github.com/awa-counterd/awa-counterd/internal/preflight"
)

// connect opens the control connection and checks whether anything can work at all.
func (s *session) connect(ctx context.Context) error {
	var err error
	s.control, err = s.open(ctx, pg.Session{Role: pg.ControlRole, LockTimeout: 5 * time.Second, StatementTimeout: statementTimeout})
	if err != nil {
		return s.d.opts.Source.ExplainConnect(err)
	}
	if err := s.checkServer(ctx); err != nil {
		return err
	}
	if s.layout, err = s.d.layout(ctx, s.control); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if _, err := s.d.leader(ctx, s.control, s.layout); err != nil {
		return err
	}
	return s.d.checkTables(ctx, s.control, s.layout)
}

func (s *session) checkServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return preflight.Server(ctx, s.d.target(s.control))
}

func (s *session) open(ctx context.Context, session pg.Session) (c *pgx.Conn, err error) {
	s.d.liveWhile(func() { c, err = s.d.opts.Source.Connect(ctx, session) })
	return c, err
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
