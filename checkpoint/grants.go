package checkpoint

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// Right is one that the daemon's role needs on the schema awa_counterd and what is in it.
type Right struct {
	Grant string // as in GRANT … TO role
	Check string // an expression that tells whether the role $1 has it
	// Needed: a daemon does not work without it. It does without the history of the marker, and never looks at what was granted.
	Needed bool
}

// Rights lists them.
func Rights() []Right {
	out := []Right{{Grant: "USAGE ON SCHEMA awa_counterd", Check: "has_schema_privilege($1::text, 'awa_counterd', 'USAGE')", Needed: true}}
	for _, t := range Tables() {
		name := qualified(t)
		out = append(out, Right{
			Grant: "SELECT, INSERT, UPDATE, DELETE ON " + name, Needed: t != changesTable,
			Check: fmt.Sprintf("has_table_privilege($1::text, '%[1]s', 'SELECT') and has_table_privilege($1::text, '%[1]s', 'INSERT') and has_table_privilege($1::text, '%[1]s', 'UPDATE') and has_table_privilege($1::text, '%[1]s', 'DELETE')", name),
		})
	}
	return append(out, Right{Grant: "SELECT ON " + qualified(grantsTable), Check: fmt.Sprintf("has_table_privilege($1::text, '%s', 'SELECT')", qualified(grantsTable))})
}

// DeletingRights lists those that deleting from the tables takes that are there: from all of them, or only from what remembers grants.
func DeletingRights(ctx context.Context, c Conn, all bool) (out []Right, err error) {
	tables, err := tablesBySchema(ctx, c)
	for _, t := range tables {
		if !all && t != grantsTable {
			continue
		}
		for _, right := range []string{"SELECT", "DELETE"} { // which rows, and these
			out = append(out, Right{Grant: right + " ON " + qualified(t), Check: fmt.Sprintf("has_table_privilege($1::text, '%s', '%s')", qualified(t), right), Needed: true})
		}
	}
	return out, err
}

// Granted is a right on awa's objects that setup granted to a role, for one awa schema.
type Granted struct{ AwaSchema, Role, Grant string }

// RememberSQL is the statement that remembers it.
func (g Granted) RememberSQL() string {
	return fmt.Sprintf("INSERT INTO awa_counterd.grants (awa_schema, role_name, granted) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
		literal(g.AwaSchema), literal(g.Role), literal(g.Grant))
}

// ForgetSQL is the statement that forgets it.
func (g Granted) ForgetSQL() string {
	return fmt.Sprintf("DELETE FROM awa_counterd.grants WHERE awa_schema = %s AND role_name = %s AND granted = %s",
		literal(g.AwaSchema), literal(g.Role), literal(g.Grant))
}

// Remembered reports that setup granted it, and no teardown has revoked it.
func (g Granted) Remembered(ctx context.Context, c Conn) (known bool, err error) {
	there, err := has(ctx, c, grantsTable)
	if err != nil || !there {
		return false, err
	}
	err = c.QueryRow(ctx, `select exists (select 1 from awa_counterd.grants where awa_schema = $1 and role_name = $2 and granted = $3)`,
		g.AwaSchema, g.Role, g.Grant).Scan(&known)
	return known, mayNotRead(err)
}

// ForAnother reports a right that is remembered for another awa schema, and not for this one.
func (g Granted) ForAnother(ctx context.Context, c Conn) (shared bool, err error) {
	there, err := has(ctx, c, grantsTable)
	if err != nil || !there {
		return false, err
	}
	err = c.QueryRow(ctx, `select exists (select 1 from awa_counterd.grants where awa_schema <> $1 and role_name = $2 and granted = $3)
		and not exists (select 1 from awa_counterd.grants where awa_schema = $1 and role_name = $2 and granted = $3)`,
		g.AwaSchema, g.Role, g.Grant).Scan(&shared)
	if err != nil {
		return false, fmt.Errorf("look at what was granted: %w", err)
	}
	return shared, nil
}

// GrantedSchemas lists the awa schemas for which setup granted something.
func GrantedSchemas(ctx context.Context, c Conn) ([]string, error) {
	there, err := has(ctx, c, grantsTable)
	if err != nil || !there {
		return nil, err
	}
	rows, err := c.Query(ctx, `select distinct awa_schema from awa_counterd.grants order by 1`)
	if err != nil {
		return nil, fmt.Errorf("look at what was granted: %w", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return out, mayNotRead(err)
}

// mayNotRead is for errors of looking at what was granted.
func mayNotRead(err error) error {
	switch {
	case pg.IsDenied(err):
		return pg.Refuse("run it as the owner of schema awa_counterd, or as that owner run: GRANT SELECT ON awa_counterd.grants TO this role",
			"this role may not read which rights setup granted")
	case err != nil:
		return fmt.Errorf("look at what was granted: %w", err)
	}
	return nil
}

// GrantsOf lists what setup granted for an awa schema, to one role or, if that is "", to all of them; not what a role needs for
// another schema as well, if that is there.
func GrantsOf(ctx context.Context, c Conn, awaSchema, role string) ([]Granted, error) {
	there, err := has(ctx, c, grantsTable)
	if err != nil || !there {
		return nil, err
	}
	rows, err := c.Query(ctx, `select g.awa_schema, g.role_name, g.granted from awa_counterd.grants g where g.awa_schema = $1 and $2 in ('', g.role_name)
		and exists (select 1 from pg_roles where rolname = g.role_name)
		and not exists (select 1 from awa_counterd.grants o where o.awa_schema <> $1 and o.role_name = g.role_name and o.granted = g.granted
			and exists (select 1 from pg_namespace where nspname = o.awa_schema))
		order by g.role_name, g.granted`, awaSchema, role)
	if err != nil {
		return nil, fmt.Errorf("look at what was granted: %w", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Granted])
	return out, mayNotRead(err)
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
