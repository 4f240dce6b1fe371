package provision

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/replication"
)

// places tells, of each awa schema for which setup granted something, what it is called now; "" where it is gone.
type places map[awa.Schema]awa.Schema

// readPlaces finds a schema that was renamed by what the publication of its old name publishes: that follows the tables.
func readPlaces(ctx context.Context, c *pgx.Conn) (places, error) {
	names, err := checkpoint.GrantedSchemas(ctx, c)
	if err != nil {
		return nil, err
	}
	out := make(places)
	for _, name := range names {
		if out[awa.Schema(name)], err = nowCalled(ctx, c, name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func nowCalled(ctx context.Context, c *pgx.Conn, schema string) (awa.Schema, error) {
	var now string
	err := c.QueryRow(ctx, `select coalesce((select nspname::text from pg_namespace where nspname = $1), (select min(n.nspname::text) from pg_publication p
		join pg_publication_rel r on r.prpubid = p.oid join pg_class c on c.oid = r.prrelid join pg_namespace n on n.oid = c.relnamespace
		where p.pubname = $2), '')`, schema, replication.PublicationName(schema)).Scan(&now)
	if err != nil {
		return "", fmt.Errorf("look what has become of schema %s: %w", schema, err)
	}
	return awa.Schema(now), nil
}

// formerly lists the names that a schema had when setup granted something.
func (p places) formerly(schema awa.Schema) (out []awa.Schema) {
	for was, now := range p {
		if now == schema && was != schema {
			out = append(out, was)
		}
	}
	slices.Sort(out)
	return out
}

// there lists those that are somewhere still.
func (p places) there() (out []string) {
	for was, now := range p {
		if now != "" {
			out = append(out, string(was))
		}
	}
	return out
}

// planRevokes takes back what setup granted for an awa schema, to one role or to all of them, and nothing that a role had
// besides; what it needs for another schema as well, stays. Of what is gone nothing can be revoked.
func planRevokes(ctx context.Context, c *pgx.Conn, known places, n Names) ([]Step, error) {
	all, err := checkpoint.GrantsOf(ctx, c, string(n.Schema), n.Role)
	if err != nil {
		return nil, err
	}
	var steps []Step
	for _, g := range all {
		left, err := awa.WhatIsLeft(ctx, c, g.Grant, n.Schema, known[n.Schema])
		switch {
		case err != nil:
			return nil, err
		case left == "":
			steps = append(steps, Step{What: "forget " + g.Grant + ", granted to " + g.Role + ": that is gone", SQL: g.ForgetSQL()})
		default:
			steps = append(steps, Step{
				What: "revoke " + left + " from " + g.Role, SQL: fmt.Sprintf("REVOKE %s FROM %s;\n%s", left, quote(g.Role), g.ForgetSQL()),
			})
		}
	}
	return steps, nil
}
