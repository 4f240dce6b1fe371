package provision

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/pg"
)

// ownRights are the rights on our own schema.
func ownRights() []awa.Need {
	out := []awa.Need{{Grant: "USAGE ON SCHEMA awa_counterd", What: "USAGE ON SCHEMA awa_counterd", Check: "has_schema_privilege($1, 'awa_counterd', 'USAGE')"}}
	for _, t := range checkpoint.Tables() {
		name := checkpoint.SchemaName + "." + t
		out = append(out, awa.Need{
			Grant: "SELECT, INSERT, UPDATE, DELETE ON " + name, What: "SELECT, INSERT, UPDATE, DELETE ON " + name,
			Check: fmt.Sprintf("has_table_privilege($1, '%[1]s', 'SELECT') and has_table_privilege($1, '%[1]s', 'INSERT') and has_table_privilege($1, '%[1]s', 'UPDATE') and has_table_privilege($1, '%[1]s', 'DELETE')", name),
		})
	}
	const granted = "SELECT ON " + checkpoint.SchemaName + ".grants"
	return append(out, awa.Need{Grant: granted, What: granted, Check: "has_table_privilege($1, 'awa_counterd.grants', 'SELECT')"})
}

func grants(ctx context.Context, c *pgx.Conn, l *awa.Layout, n Names, schemaThere bool) ([]Step, error) {
	right, err := pg.ReadStreamRight(ctx, c, n.Role)
	if err != nil {
		return nil, err
	}
	if !right.Exists {
		return nil, pg.Refuse("run: "+right.Remedy, "there is no role %s", n.Role)
	}
	var steps []Step
	if !right.May {
		steps = append(steps, Step{"let " + n.Role + " replicate", right.Remedy})
	}
	needs := awa.EarlyNeeds(n.Schema, "$1")
	if l != nil {
		needs = append(l.NeedsOf("$1", true), awa.ActiveSchemaNeed("$1"))
	}
	r := rights{c, n}
	for _, need := range needs {
		missing, err := r.missing(ctx, need)
		if err != nil {
			return nil, err
		}
		for _, m := range missing {
			steps = append(steps, Step{"grant " + m.What, r.grant(m) + ";\n" + r.remember(m)})
		}
		if len(missing) > 0 || !schemaThere {
			continue
		}
		shared, err := r.grantedForAnother(ctx, need)
		if err != nil {
			return nil, err
		}
		if shared {
			steps = append(steps, Step{"remember that it needs " + need.What, r.remember(need)})
		}
	}
	for _, need := range ownRights() {
		has := false
		if schemaThere {
			if has, err = r.has(ctx, need); err != nil {
				return nil, err
			}
		}
		if !has {
			steps = append(steps, Step{"grant " + need.What, r.grant(need)})
		}
	}
	return steps, nil
}

// rights are those of one role for one awa schema.
type rights struct {
	c *pgx.Conn
	n Names
}

func (r rights) has(ctx context.Context, need awa.Need) (has bool, err error) {
	if err := r.c.QueryRow(ctx, `select `+need.Check, r.n.Role).Scan(&has); err != nil {
		return false, fmt.Errorf("look at the rights of %s: %w", r.n.Role, err)
	}
	return has, nil
}

// missing takes a need apart where the role has some of it already: what it had is not ours to revoke.
func (r rights) missing(ctx context.Context, need awa.Need) (out []awa.Need, err error) {
	if has, err := r.has(ctx, need); err != nil || has {
		return nil, err
	}
	for _, part := range need.Parts {
		has, err := r.has(ctx, part)
		if err != nil {
			return nil, err
		}
		if !has {
			out = append(out, part)
		}
	}
	if len(out) == len(need.Parts) {
		return []awa.Need{need}, nil
	}
	return out, nil
}

func (r rights) grant(n awa.Need) string {
	return fmt.Sprintf("GRANT %s TO %s", n.Grant, quote(r.n.Role))
}

func (r rights) remember(n awa.Need) string {
	return fmt.Sprintf("INSERT INTO awa_counterd.grants (awa_schema, role_name, granted) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
		literal(string(r.n.Schema)), literal(r.n.Role), literal(n.Grant))
}

// grantedForAnother reports a right that the role has because setup granted it for another awa schema.
func (r rights) grantedForAnother(ctx context.Context, need awa.Need) (shared bool, err error) {
	err = r.c.QueryRow(ctx, `select exists (select 1 from awa_counterd.grants where awa_schema <> $1 and role_name = $2 and granted = $3)
		and not exists (select 1 from awa_counterd.grants where awa_schema = $1 and role_name = $2 and granted = $3)`,
		string(r.n.Schema), r.n.Role, need.Grant).Scan(&shared)
	if err != nil {
		return false, fmt.Errorf("look at what was granted: %w", err)
	}
	return shared, nil
}

// planRevokes takes back what setup granted for an awa schema, to one role or to all of them, and nothing that a role had
// besides; what it needs for another schema as well, stays.
func planRevokes(ctx context.Context, c *pgx.Conn, schema awa.Schema, role string) ([]Step, error) {
	whole, err := checkpoint.Exists(ctx, c)
	if err != nil || !whole {
		return nil, err
	}
	rows, err := c.Query(ctx, `select g.role_name, g.granted from awa_counterd.grants g where g.awa_schema = $1 and $2 in ('', g.role_name)
		and exists (select 1 from pg_roles where rolname = g.role_name)
		and not exists (select 1 from awa_counterd.grants o where o.awa_schema <> $1 and o.role_name = g.role_name and o.granted = g.granted)
		order by g.role_name, g.granted`, string(schema), role)
	if err != nil {
		return nil, fmt.Errorf("look at what was granted: %w", err)
	}
	var steps []Step
	var to, granted string
	_, err = pgx.ForEachRow(rows, []any{&to, &granted}, func() error {
		steps = append(steps, Step{"revoke " + granted + " from " + to, fmt.Sprintf("REVOKE %s FROM %s;\nDELETE FROM awa_counterd.grants WHERE awa_schema = %s AND role_name = %s AND granted = %s",
			granted, quote(to), literal(string(schema)), literal(to), literal(granted))})
		return nil
	})
	if pg.IsDenied(err) {
		return nil, pg.Refuse("run it as the owner of schema awa_counterd, or let it: GRANT SELECT ON awa_counterd.grants TO this role",
			"this role may not look at what setup granted")
	}
	if err != nil {
		return nil, fmt.Errorf("look at what was granted: %w", err)
	}
	return steps, nil
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
