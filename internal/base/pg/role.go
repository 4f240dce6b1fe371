package pg

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// StreamRight is whether a role may stream changes, and what lets it.
type StreamRight struct {
	Role   string
	Exists bool
	May    bool
	Remedy string // a statement; for a role that may not
}

// ReadStreamRight looks at a role. Amazon RDS has a role of its own in the place of the attribute, which nobody may set there.
func ReadStreamRight(ctx context.Context, q interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, role string,
) (StreamRight, error) {
	r := StreamRight{Role: role}
	var rds bool
	err := q.QueryRow(ctx, `
		select count(r.oid) > 0, coalesce(bool_or(r.rolreplication or r.rolsuper or pg_has_role(r.oid, g.oid, 'member')), false), count(g.oid) > 0
		from (select 1) one left join pg_roles r on r.rolname = $1 left join pg_roles g on g.rolname = 'rds_replication'`, role).Scan(&r.Exists, &r.May, &rds)
	if err != nil {
		return r, fmt.Errorf("look at role %s: %w", role, err)
	}
	name := pgx.Identifier{role}.Sanitize()
	r.Remedy = "ALTER ROLE " + name + " REPLICATION"
	switch {
	case !r.Exists:
		r.Remedy = "CREATE ROLE " + name + " LOGIN REPLICATION"
	case rds:
		r.Remedy = "GRANT rds_replication TO " + name
	}
	return r, nil
}
