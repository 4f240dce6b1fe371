package awa

// OperatorNeedsOf lists the least rights of a role, given as an SQL expression, that looks at the counters once, and, if it corrects, corrects
// them (docs/privileges.md); marker: that then sets the trust marker.
func (l *Layout) OperatorNeedsOf(role string, corrects, marker bool) []Need {
	if !corrects {
		return append(needs{l.Schema, role}.reading(l), needs{l.Schema, role}.table("SELECT", countersTable))
	}
	n := needs{l.Schema, role}
	out := l.NeedsOf(role, marker)
	if l.Shape.bucketed { // each counter row is made what awa itself would hold
		var leaves []string
		for _, leaf := range l.Leaves {
			if leaf.Readable {
				leaves = append(leaves, leaf.Name)
			}
		}
		if len(leaves) < len(l.Leaves) {
			leaves = append(leaves, rowsTable)
		}
		out = append(out, n.columns("SELECT", []string{jobColumn}, leaves...))
	}
	if l.Shape.ledger {
		var pending []string
		for _, leaf := range l.Leaves {
			pending = append(pending, leaf.Ledger.Name)
		}
		out = append(out, n.columns("SELECT", []string{bucketColumn, generationColumn}, pending...), n.columns("SELECT", []string{"slot", "generation"}, ringSlotsTable))
	}
	if l.Rotations {
		out = append(out, n.columns("SELECT", []string{"generation"}, rotationsTable))
	}
	return out
}
