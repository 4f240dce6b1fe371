package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/preflight"
	"github.com/awa-counterd/awa-counterd/replication"
)

// Step is one statement and what it is for.
type Step = preflight.Step

// Names of what awa-counterd has for one awa schema.
type Names struct {
	Schema      awa.Schema
	Slot        string
	Publication string
	Role        string // whose grants; empty: setup grants none, a teardown revokes all that a setup granted
	KeepMarker  bool   // at a teardown: leave the trust marker as it is
}

// Default fills in the names that the daemon would choose.
func (n Names) Default(database string, schema awa.Schema) Names {
	n.Schema = schema
	if n.Slot == "" {
		n.Slot = replication.SlotName(database, string(schema))
	}
	if n.Publication == "" {
		n.Publication = replication.PublicationName(string(schema))
	}
	return n
}

// Run carries a plan out, as one transaction where PostgreSQL allows it: dropping a replication slot cannot be
// undone, so it comes by itself.
func Run(ctx context.Context, c *pgx.Conn, steps []Step, done func(Step)) error {
	for _, s := range steps {
		if err := execute(ctx, c, s.SQL); err != nil {
			if pg.IsDenied(err) {
				r := pg.Refuse("let a role that may run it (awa-counterd setup and teardown print all of theirs for a DBA with --print-sql): "+oneLine(s.SQL), "this role may not %s", s.What)
				r.Err = err
				return r
			}
			return fmt.Errorf("%s: %w", s.What, err)
		}
		if err := checkCleared(ctx, c, s.Clears); err != nil {
			return err
		}
		done(s)
	}
	return nil
}

// checkCleared refuses to go on while the marker is set all the same: nobody would be left to vouch for it.
func checkCleared(ctx context.Context, c *pgx.Conn, ring string) error {
	if ring == "" {
		return nil
	}
	var set bool
	if err := c.QueryRow(ctx, `select `+awa.MarkerIsSetOf(ring)).Scan(&set); err != nil {
		return fmt.Errorf("read the marker: %w", err)
	}
	if !set {
		return nil
	}
	err := awa.WhoKeeps(ctx, c, ring)
	return &pg.Refusal{Problem: err.Error(), Err: err}
}

func execute(ctx context.Context, c *pgx.Conn, sql string) error {
	if strings.HasPrefix(sql, "CREATE PUBLICATION") || strings.HasPrefix(sql, "ALTER PUBLICATION") {
		return replication.Publish(ctx, c, sql)
	}
	_, err := c.Exec(ctx, sql)
	return err
}

func oneLine(sql string) string { return strings.Join(strings.Fields(sql), " ") }

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// Setup plans what a daemon with the least rights needs to find (preflight.Plan); l is nil before awa's migration.
func Setup(ctx context.Context, c *pgx.Conn, l *awa.Layout, n Names) ([]Step, error) {
	return preflight.Plan(ctx, preflight.Target{Conn: c, Role: n.Role, Schema: n.Schema, Layout: l, Slot: n.Slot, Publication: n.Publication})
}

// Teardown plans the removal of everything that Setup and the daemon made for one awa schema, under the names that it had before
// as well. left says of what it does not remove, publications that may be awa-counterd's all the same and a schema that others use, what does.
func Teardown(ctx context.Context, c *pgx.Conn, l *awa.Layout, n Names) (steps []Step, left []string, err error) {
	known, err := readPlaces(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	var set bool
	if err := c.QueryRow(ctx, `select `+l.MarkerIsSet()).Scan(&set); err != nil {
		return nil, nil, fmt.Errorf("read the marker: %w", err)
	}
	if set && !n.KeepMarker { // first: what comes next may be denied, and then nobody vouches for it all the same
		steps = append(steps, Step{What: "clear the trust marker", SQL: l.SetMarker(false, "true"), Clears: l.RingTable()})
	}
	var database string
	if err := c.QueryRow(ctx, `select current_database()`).Scan(&database); err != nil {
		return nil, nil, fmt.Errorf("name the database: %w", err)
	}
	all, swept, err := everyName(ctx, c, database, known, n)
	if err != nil {
		return nil, nil, err
	}
	mine := schemasOf(slices.Concat(all, swept))
	for _, n := range all {
		objects, others, err := planObjects(ctx, c, database, n, mine)
		if err != nil {
			return nil, nil, err
		}
		revokes, err := planRevokes(ctx, c, known, n) // before what remembers them goes
		if err != nil {
			return nil, nil, err
		}
		steps = append(append(steps, objects...), revokes...)
		if n.Schema == l.Schema {
			left = others
		}
	}
	for _, n := range swept {
		objects, _, err := planObjects(ctx, c, database, n, mine)
		if err != nil {
			return nil, nil, err
		}
		steps = append(steps, objects...)
	}
	own, rest, err := checkpoint.PlanRemoval(ctx, c, mine, known.there())
	if err != nil {
		return nil, nil, err
	}
	if note := rest.Note(n.KeepMarker); note != "" {
		left = append(left, note)
	}
	for _, r := range own {
		steps = append(steps, Step{What: r.What, SQL: r.SQL})
	}
	return steps, left, nil
}

// everyName lists the names under which Teardown finds what it removes: those of n, and the default ones of what its schema was called
// before; swept are those of schemas that are gone.
func everyName(ctx context.Context, c *pgx.Conn, database string, known places, n Names) (all, swept []Names, err error) {
	all, mine := []Names{n}, []string{string(n.Schema)}
	for _, former := range known.formerly(n.Schema) {
		all, mine = append(all, Names{Role: n.Role}.Default(database, former)), append(mine, string(former))
	}
	gone, err := checkpoint.Swept(ctx, c, mine, known.there())
	for _, schema := range gone {
		swept = append(swept, Names{}.Default(database, awa.Schema(schema)))
	}
	return all, swept, err
}

func schemasOf(all []Names) (schemas []string) {
	for _, n := range all {
		schemas = append(schemas, string(n.Schema))
	}
	return schemas
}

// planObjects drops the replication slot and the publications of a schema, which may have another name now; left is what Teardown says of
// the others.
func planObjects(ctx context.Context, c *pgx.Conn, database string, n Names, mine []string) (steps []Step, left []string, err error) {
	slot, err := replication.ReadSlot(ctx, c, n.Slot)
	switch {
	case errors.Is(err, replication.ErrNoSlot):
	case err != nil:
		return nil, nil, err
	default:
		if err := slot.CheckUsable(database); err != nil { // of another database, or for something else
			return nil, nil, err
		}
		if slot.Active {
			return nil, nil, pg.Refuse("stop awa-counterd first", "replication slot %s is being read by process %d", n.Slot, slot.ActivePID)
		}
		steps = append(steps, Step{What: "drop replication slot " + n.Slot, SQL: fmt.Sprintf("SELECT pg_drop_replication_slot('%s')", n.Slot)})
	}
	all, err := publications(ctx, c, n, mine)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range all {
		if what := p.leave(n.KeepMarker); what != "" {
			left = append(left, what)
		}
		if p.ours() {
			steps = append(steps, Step{What: "drop publication " + p.Name, SQL: "DROP PUBLICATION " + quote(p.Name)})
		}
	}
	return steps, left, nil
}
