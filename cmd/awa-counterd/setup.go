package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/provision"
)

// own is what setup and teardown have in common.
type own struct {
	database `embed:""`
	objects  `embed:""`

	Role     string `placeholder:"NAME" env:"-" help:"Role that the daemon runs as. setup grants it what it needs; teardown revokes that, from every role if none is given."`
	PrintSQL bool   `name:"print-sql" env:"-" help:"Print the statements, for a DBA to run; change nothing."`
	JSON     bool   `env:"-" help:"Print the steps as JSON."`
}

// Validate is called by the flag parser.
func (o *own) Validate() error {
	if err := checkSlotName(o.Slot); err != nil {
		return err
	}
	return o.validate()
}

// planner makes a plan, and says what it leaves that may be awa-counterd's.
type planner func(context.Context, streams, *pgx.Conn, awa.Schema, provision.Names) (steps []provision.Step, left []string, err error)

// run makes a plan and carries it out, or prints it.
func (o *own) run(ctx context.Context, s streams, plan planner, done, nothing string) error {
	_, conn, err := o.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	schema, err := o.schema(ctx, conn)
	if err != nil {
		return err
	}
	ours, err := names(ctx, conn, schema, provision.Names{Slot: o.Slot, Publication: o.Publication, Role: o.Role})
	if err != nil {
		return err
	}
	steps, left, err := plan(ctx, s, conn, schema, ours)
	if err != nil {
		return err
	}
	for _, what := range left {
		_, _ = fmt.Fprintf(s.err, "teardown: %s\n", what)
	}
	if o.PrintSQL {
		for _, st := range steps {
			if _, err := fmt.Fprintf(s.out, "-- %s\n%s;\n", st.What, st.SQL); err != nil {
				return err
			}
		}
		return nil
	}
	err = provision.Run(ctx, conn, steps, func(st provision.Step) {
		if !o.JSON {
			_, _ = fmt.Fprintf(s.out, "%s: %s\n", done, st.What)
		}
	})
	if err != nil {
		return err
	}
	switch {
	case o.JSON:
		report := map[string]any{"schema": schema, "steps": append([]provision.Step{}, steps...)}
		if len(left) > 0 {
			report["left"] = left
		}
		return encode(s.out, report)
	case len(steps)+len(left) == 0:
		_, err = fmt.Fprintln(s.out, nothing)
	}
	return err
}

type setupCmd struct {
	own `embed:""`
}

// Run is called by the flag parser.
func (c *setupCmd) Run(ctx context.Context, s streams) error {
	err := c.run(ctx, s, c.plan, "done", "nothing to do: everything exists already")
	if err == nil && !c.PrintSQL && !c.JSON {
		_, _ = fmt.Fprintln(s.err, "setup: as long as the daemon's replication slot exists, the server does not start with a wal_level below logical; awa-counterd teardown removes it")
	}
	return err
}

// plan leaves out what awa's migration has yet to make.
func (c *setupCmd) plan(ctx context.Context, s streams, conn *pgx.Conn, _ awa.Schema, n provision.Names) ([]provision.Step, []string, error) {
	l, err := c.layout(ctx, conn)
	if errors.Is(err, awa.ErrNotYet) { // unwrapped: what setup says to do stands for the remedy
		_, _ = fmt.Fprintf(s.err, "setup: %v; after awa's migration, run this again: it then publishes the tables, grants the rest, and narrows the right on the trust marker to its column\n", errors.Unwrap(err))
	} else if err != nil {
		return nil, nil, err
	}
	steps, err := provision.Setup(ctx, conn, l, n)
	return steps, nil, err
}

type teardownCmd struct {
	own `embed:""`
}

// Run is called by the flag parser.
func (c *teardownCmd) Run(ctx context.Context, s streams) error {
	return c.run(ctx, s, c.plan, "removed", "nothing to remove: awa-counterd has left nothing here")
}

// keepOthersAway takes the leader lock, or refuses. It tries for 2 s: a server that is busy lets go of a lock somewhat after the process
// that held it has ended.
func keepOthersAway(ctx context.Context, conn *pgx.Conn, schema awa.Schema) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		switch leads, err := checkpoint.TryLead(ctx, conn, string(schema)); {
		case err != nil:
			return struct{}{}, backoff.Permanent(err)
		case !leads:
			return struct{}{}, pg.Refuse("stop awa-counterd first", "a daemon is running on schema %s", schema)
		}
		return struct{}{}, nil
	}, backoff.WithBackOff(backoff.NewConstantBackOff(50*time.Millisecond)), backoff.WithMaxElapsedTime(2*time.Second))
	return err
}

// plan holds the leader lock to the end of conn: a daemon that comes to meanwhile (it may be waiting out a fault)
// stands by, and finds everything removed. What is ours goes whatever became of awa's tables.
func (c *teardownCmd) plan(ctx context.Context, _ streams, conn *pgx.Conn, schema awa.Schema, n provision.Names) ([]provision.Step, []string, error) {
	if !c.PrintSQL {
		if err := keepOthersAway(ctx, conn, schema); err != nil {
			return nil, nil, err
		}
	}
	l, err := awa.DiscoverMarker(ctx, conn, schema)
	if err != nil {
		return nil, nil, err
	}
	steps, left, err := provision.Teardown(ctx, conn, l, n)
	if err == nil && len(steps) == 0 { // a schema that awa is not in is a slip
		if _, wrong := c.layout(ctx, conn); wrong != nil && !errors.Is(wrong, awa.ErrNotYet) {
			return nil, nil, wrong
		}
	}
	if err == nil {
		left = append(left, correctionsStay(ctx, conn, schema)...)
	}
	return steps, left, err
}

// correctionsStay says that the daemon's counter rows do: without them the counters would be wrong. It is for a hint: where awa's tables are
// gone or locked, or this role may not read them, the rest is removed all the same.
func correctionsStay(ctx context.Context, conn *pgx.Conn, schema awa.Schema) []string {
	var n int64
	l, err := awa.Discover(ctx, conn, schema)
	if err == nil {
		err = conn.QueryRow(ctx, l.OwnRows()).Scan(&n)
	}
	if err != nil || n == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d counter rows of corrections stay; awa-counterd reconcile moves them to where awa itself would hold them", n)}
}
