package awa

import (
	"fmt"
	"strings"
)

// Need is a right that the daemon's role must have.
type Need struct {
	Grant string // as in GRANT … TO role
	What  string // the same for people, who need not read the name of every leaf
	Check string // an expression that tells whether the current user has it
	Parts []Need // of a right on several columns or tables: each by itself
}

// RightError is a right that is missing before anything can be looked at.
type RightError struct{ Grant string }

func (e *RightError) Error() string { return "this role lacks " + e.Grant }

// ActiveSchemaNeeds are the rights to ask awa for its active schema, where awa keeps that (ActiveSchema), beside those on the
// schema itself. The checks hold where it does not.
func ActiveSchemaNeeds(schema Schema, role string) (out []Need) {
	add := func(grant, privilege string) {
		out = append(out, Need{
			Grant: grant, What: grant,
			Check: fmt.Sprintf(`coalesce((select %s from pg_class c join pg_namespace n on n.oid = c.relnamespace
			where n.nspname = 'awa' and c.relname = 'runtime_storage_backends'), true)`, fmt.Sprintf(privilege, role)),
		})
	}
	if schema != DefaultSchema {
		add("USAGE ON SCHEMA "+DefaultSchema, "has_schema_privilege(%s, n.oid, 'USAGE')")
	}
	add("SELECT ON awa.runtime_storage_backends", "has_table_privilege(%s, c.oid, 'SELECT')")
	return out
}

// EarlyNeeds are the rights that a role needs to wait for awa's migration: to find the schema, and to look into it.
func EarlyNeeds(schema Schema, role string) []Need {
	return append([]Need{usage(schema, role)}, ActiveSchemaNeeds(schema, role)...)
}

// MarkerToCome are the rights on the trust marker for as long as its column is not there: the migration that makes it sets the marker at
// once, and nothing can be granted on a column before. The checks hold where the column is, and where its table is not. A role with a
// right on another column goes without: to revoke the table's would take that one as well.
func MarkerToCome(schema Schema, role string) (out []Need) {
	for _, r := range []struct{ right, has string }{{"SELECT", "has_table_privilege"}, {"UPDATE", "has_any_column_privilege"}} {
		one := needs{schema, role}.table(r.right, ringTable)
		one.Check = fmt.Sprintf(`coalesce((select %s(%s, c.oid, '%s') from pg_class c join pg_namespace n on n.oid = c.relnamespace
			where n.nspname = '%s' and c.relname = '%s'
			and not exists (select 1 from pg_attribute a where a.attrelid = c.oid and a.attname = '%s' and not a.attisdropped)), true)`,
			r.has, role, r.right, schema, ringTable, markerColumn)
		out = append(out, one)
	}
	return out
}

// MarkerCame are the right of MarkerToCome that is too wide when the column is there, and the one that takes its place.
func MarkerCame(schema Schema, role string) (wide, column Need) {
	n := needs{schema, role}
	return n.table("UPDATE", ringTable), n.columns("UPDATE", []string{markerColumn}, ringTable)
}

func usage(schema Schema, role string) Need {
	grant := "USAGE ON SCHEMA " + string(schema)
	return Need{Grant: grant, What: grant, Check: fmt.Sprintf("has_schema_privilege(%s, '%s', 'USAGE')", role, schema)}
}

// needs spells the rights of one role, which is an SQL expression.
type needs struct {
	schema Schema
	role   string
}

func (n needs) table(right, name string) Need {
	grant := fmt.Sprintf("%s ON %s", right, n.schema.table(name))
	return Need{
		Grant: grant, What: grant,
		Check: fmt.Sprintf("has_table_privilege(%s, %s, '%s')", n.role, literal(n.schema.table(name)), right),
	}
}

func (n needs) columns(right string, columns []string, tables ...string) Need {
	var names, checks []string
	var parts []Need
	for _, t := range tables {
		names = append(names, n.schema.table(t))
		for _, c := range columns {
			check := fmt.Sprintf("has_column_privilege(%s, %s, '%s', '%s')", n.role, literal(n.schema.table(t)), c, right)
			one := fmt.Sprintf("%s (%s) ON %s", right, c, n.schema.table(t))
			checks, parts = append(checks, check), append(parts, Need{Grant: one, What: one, Check: check})
		}
	}
	grant := fmt.Sprintf("%s (%s) ON ", right, quoteList(columns))
	what := grant + names[0]
	if len(names) > 1 {
		what += fmt.Sprintf(" and the other %d leaves", len(names)-1)
	}
	return Need{Grant: grant + quoteList(names), What: what, Check: strings.Join(checks, " and "), Parts: parts}
}

// NeedsOf lists the least rights of a role, given as an SQL expression, on awa's own objects (docs/privileges.md).
func (l *Layout) NeedsOf(role string, marker bool) []Need {
	n := needs{l.Schema, role}
	out := n.reading(l)
	rights := []string{"SELECT", "INSERT", "UPDATE"}
	if l.Shape.bucketed {
		rights = append(rights, "DELETE") // of the daemon's own rows, when they have come to 0
	}
	for _, right := range rights {
		out = append(out, n.table(right, countersTable))
	}
	return append(out, n.marker(l, marker)...)
}

// ReadingNeedsOf lists those that following takes, without a write.
func (l *Layout) ReadingNeedsOf(role string) []Need {
	n := needs{l.Schema, role}
	return append(append(n.reading(l), n.table("SELECT", countersTable)), n.marker(l, false)...)
}

// marker are the rights on the trust marker.
func (n needs) marker(l *Layout, write bool) (out []Need) {
	if l.HasMarker {
		out = append(out, n.table("SELECT", ringTable))
		if write {
			_, column := MarkerCame(n.schema, n.role)
			out = append(out, column)
		}
	}
	return out
}

// reading are the rights that scans take.
func (n needs) reading(l *Layout) []Need {
	group := []string{slotColumn, queueColumn, priorityColumn, shardColumn}
	out := []Need{
		usage(l.Schema, n.role),
		n.columns("SELECT", group, rowsTable),
	}
	if l.Shape.ledger {
		// The leaves by themselves: a statement that names the parents would lock the counters first.
		var done, pending []string
		for _, leaf := range l.Leaves {
			done, pending = append(done, leaf.Name), append(pending, leaf.Ledger.Name)
		}
		out = append(out, n.columns("SELECT", group, done...),
			n.columns("SELECT", []string{slotColumn, queueColumn, priorityColumn, shardColumn, deltaColumn}, pending...))
	}
	return out
}
