package awa

// Operation is what a command does with the counters; each takes the rights of those before it.
type Operation int

// The operations.
const (
	ComparesGroups Operation = iota // by their sums
	ComparesRows                    // each counter row, where awa has buckets
	Corrects
)

// OperatorNeedsOf lists the least rights of a role, given as an SQL expression, for such an operation (docs/privileges.md); marker: that
// then sets the trust marker. They are those of its statements, to the column: the daemon's own (NeedsOf) are more.
func (l *Layout) OperatorNeedsOf(role string, does Operation, marker bool) []Need {
	n := needs{l.Schema, role}
	out := append([]Need{usage(l.Schema, role)}, n.rows(l, does)...)
	if l.Shape.ledger {
		out = append(out, n.ledger(l, does)...)
	}
	out = append(out, n.counters(l, does >= Corrects)...)
	if marker {
		out = append(out, n.columns("SELECT", []string{"singleton", markerColumn}, ringTable), n.columns("UPDATE", []string{markerColumn}, ringTable))
	}
	return out
}

// rows are the rights on done_entries: on its leaves, and on itself for those that this role reads through it (rowsOf).
func (n needs) rows(l *Layout, does Operation) (out []Need) {
	var leaves, parent []string
	for _, leaf := range l.Leaves {
		if leaf.Readable {
			leaves = append(leaves, leaf.Name)
		} else {
			parent = []string{rowsTable}
		}
	}
	each := func(columns ...string) {
		for _, tables := range [][]string{leaves, parent} {
			if len(tables) > 0 {
				out = append(out, n.columns("SELECT", columns, tables...))
			}
		}
	}
	each(slotColumn, queueColumn, priorityColumn, shardColumn)
	if does >= ComparesRows && l.Shape.bucketed { // with what awa itself would hold
		each(jobColumn)
	}
	return out
}

// ledger are those on the ledger, and on what tells which of its changes are of another generation.
func (n needs) ledger(l *Layout, does Operation) []Need {
	var pending []string
	for _, leaf := range l.Leaves {
		pending = append(pending, leaf.Ledger.Name)
	}
	out := []Need{n.columns("SELECT", []string{queueColumn, priorityColumn, shardColumn, deltaColumn}, pending...)}
	switch does {
	case ComparesGroups:
		return out
	case ComparesRows:
		return append(out, n.columns("SELECT", []string{bucketColumn}, pending...))
	case Corrects:
	}
	out = append(out, n.columns("SELECT", []string{bucketColumn, generationColumn}, pending...), n.columns("SELECT", []string{"slot", "generation"}, ringSlotsTable))
	if l.Rotations {
		out = append(out, n.columns("SELECT", []string{"generation"}, rotationsTable), n.columns("SELECT", []string{"singleton", "slot_count"}, ringTable))
	}
	return out
}

func (n needs) counters(l *Layout, corrects bool) []Need {
	columns := []string{slotColumn, queueColumn, priorityColumn, shardColumn}
	if l.Shape.bucketed {
		columns = append(columns, bucketColumn)
	}
	columns = append(columns, countColumn)
	out := []Need{n.columns("SELECT", columns, countersTable)}
	if !corrects {
		return out
	}
	out = append(out, n.columns("INSERT", columns, countersTable), n.columns("UPDATE", []string{countColumn}, countersTable))
	if l.Shape.bucketed {
		out = append(out, n.table("DELETE", countersTable))
	}
	return out
}
