package awa

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// followed lists every table whose rows we read, write or follow, parents included.
func (l *Layout) followed() []uint32 { return append(l.OIDs(), l.Rows, l.Ledger) }

// RowSecurity is a table that shows a role a part of its rows only.
type RowSecurity struct {
	Table    string
	Policies []string
}

func (f RowSecurity) String() string {
	if len(f.Policies) == 0 {
		return f.Table + " (no policy: it shows nothing)"
	}
	return f.Table + " (policies: " + strings.Join(f.Policies, ", ") + ")"
}

// RowSecurityFor lists the tables with row level security that the role, an SQL expression that may be $1, is subject to.
func (l *Layout) RowSecurityFor(ctx context.Context, q Querier, role string, args ...any) ([]RowSecurity, error) {
	oids := make([]string, 0, len(l.followed()))
	for _, oid := range l.followed() {
		oids = append(oids, fmt.Sprint(oid))
	}
	return rowSecurity(ctx, q, fmt.Sprintf("c.oid in (%s)", strings.Join(oids, ", ")), role, args...)
}

// rowSecurity is the same for the tables that a condition on pg_class c chooses.
func rowSecurity(ctx context.Context, q Querier, tables, role string, args ...any) ([]RowSecurity, error) {
	rows, err := q.Query(ctx, fmt.Sprintf(`
		select format('%%s.%%s', quote_ident(n.nspname), quote_ident(c.relname)), array(select polname::text from pg_policy where polrelid = c.oid order by 1)
		from pg_class c join pg_namespace n on n.oid = c.relnamespace, pg_roles r
		where %s and r.rolname = %s and c.relrowsecurity and not r.rolsuper and not r.rolbypassrls
		  and (c.relforcerowsecurity or not pg_has_role(r.oid, c.relowner, 'usage')) order by c.oid`, tables, role), args...)
	if err != nil {
		return nil, fmt.Errorf("look for row level security: %w", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[RowSecurity])
	if err != nil {
		return nil, fmt.Errorf("look for row level security: %w", err)
	}
	return out, nil
}

// RowSecurityError is row level security between us and awa's tables.
type RowSecurityError struct {
	Tables []RowSecurity
	So     string // what comes of it; "" is that counters would become wrong
}

func (e *RowSecurityError) Error() string {
	names := make([]string, 0, len(e.Tables))
	for _, t := range e.Tables {
		names = append(names, t.String())
	}
	so := e.So
	if so == "" {
		so = "the daemon would make counters wrong"
	}
	return "row level security hides rows of " + strings.Join(names, ", ") + ", so " + so
}

// CheckRowSecurity refuses tables of which the current user sees a part only.
func (l *Layout) CheckRowSecurity(ctx context.Context, q Querier) error {
	tables, err := l.RowSecurityFor(ctx, q, "current_user")
	if err == nil && len(tables) > 0 {
		err = &RowSecurityError{Tables: tables}
	}
	return err
}
