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

// Needs lists the least rights on awa's own objects (docs/design.md §8).
func (l *Layout) Needs(marker bool) []Need {
	s := l.Schema
	table := func(right, name string) Need {
		return Need{
			Grant: fmt.Sprintf("%s ON %s", right, s.table(name)),
			Check: fmt.Sprintf("has_table_privilege('%s', '%s')", s.table(name), right),
		}
	}
	column := func(right, name, col string) Need {
		return Need{
			Grant: fmt.Sprintf("%s (%s) ON %s", right, col, s.table(name)),
			Check: fmt.Sprintf("has_column_privilege('%s', '%s', '%s')", s.table(name), col, right),
		}
	}
	out := []Need{{
		Grant: "USAGE ON SCHEMA " + string(s),
		Check: fmt.Sprintf("has_schema_privilege('%s', 'USAGE')", s),
	}}
	for _, c := range []string{slotColumn, queueColumn, priorityColumn, shardColumn} {
		out = append(out, column("SELECT", rowsTable, c))
	}
	for _, right := range []string{"SELECT", "INSERT", "UPDATE"} {
		out = append(out, table(right, countersTable))
	}
	if l.HasMarker {
		out = append(out, table("SELECT", ringTable))
		if marker {
			out = append(out, column("UPDATE", ringTable, markerColumn))
		}
	}
	return out
}
