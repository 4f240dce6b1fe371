package awa

import "fmt"

// Need is a right that the sidecar's role must have.
type Need struct {
	Grant string // as in GRANT … TO role
	Check string // an expression that tells whether the current user has it
}

// RightError is a right that is missing before anything can be looked at.
type RightError struct{ Grant string }

func (e *RightError) Error() string { return "this role lacks " + e.Grant }

// Needs lists the least rights of the current user on awa's own objects (docs/privileges.md).
func (l *Layout) Needs(marker bool) []Need { return l.NeedsOf("current_user", marker) }

// ActiveSchemaNeed is the right to ask awa for its active schema, where awa keeps that. The check
// holds when it does not.
func ActiveSchemaNeed(role string) Need {
	return Need{
		Grant: "SELECT ON awa.runtime_storage_backends",
		Check: fmt.Sprintf(`coalesce((select has_table_privilege(%s, c.oid, 'SELECT') from pg_class c join pg_namespace n on n.oid = c.relnamespace
			where n.nspname = 'awa' and c.relname = 'runtime_storage_backends'), true)`, role),
	}
}

// NeedsOf lists them for a role, given as an SQL expression.
func (l *Layout) NeedsOf(role string, marker bool) []Need {
	s := l.Schema
	table := func(right, name string) Need {
		return Need{
			Grant: fmt.Sprintf("%s ON %s", right, s.table(name)),
			Check: fmt.Sprintf("has_table_privilege(%s, '%s', '%s')", role, s.table(name), right),
		}
	}
	columns := func(right, name string, cols ...string) Need {
		n := Need{Grant: fmt.Sprintf("%s (%s) ON %s", right, quoteList(cols), s.table(name))}
		for i, col := range cols {
			if i > 0 {
				n.Check += " and "
			}
			n.Check += fmt.Sprintf("has_column_privilege(%s, '%s', '%s', '%s')", role, s.table(name), col, right)
		}
		return n
	}
	out := []Need{
		{Grant: "USAGE ON SCHEMA " + string(s), Check: fmt.Sprintf("has_schema_privilege(%s, '%s', 'USAGE')", role, s)},
		columns("SELECT", rowsTable, slotColumn, queueColumn, priorityColumn, shardColumn),
	}
	for _, right := range []string{"SELECT", "INSERT", "UPDATE"} {
		out = append(out, table(right, countersTable))
	}
	if l.HasMarker {
		out = append(out, table("SELECT", ringTable))
		if marker {
			out = append(out, columns("UPDATE", ringTable, markerColumn))
		}
	}
	return out
}
