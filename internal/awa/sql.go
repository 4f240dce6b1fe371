package awa

import "fmt"

// SetMarker writes the trust marker, unless it is so already; guard is a further condition.
func (l *Layout) SetMarker(set bool, guard string) string {
	return setMarker(l.RingTable(), set, guard)
}

// RingTable is the table with the marker, under the name that it had when the layout was read.
func (l *Layout) RingTable() string { return l.Schema.table(ringTable) }

// ClearMarkerOf clears it in the table that RingTable or RingName names; guard is a further condition.
func ClearMarkerOf(ring, guard string) string { return setMarker(ring, false, guard) }

// ClearUnreadOf clears it without reading anything of that table, so that the right to write it is enough. It writes it also if it is
// not set.
func ClearUnreadOf(ring, guard string) string {
	return fmt.Sprintf(`update %s set %s = null where %s`, ring, markerColumn, guard)
}

// MarkerIsSetOf is an expression that tells whether it is set there. A table that inherits from the ring's brings a second row.
func MarkerIsSetOf(ring string) string {
	return fmt.Sprintf(`exists (select 1 from %s where singleton and %s is not null)`, ring, markerColumn)
}

func setMarker(ring string, set bool, guard string) string {
	value, state := "now()", "is null"
	if !set {
		value, state = "null", "is not null"
	}
	return fmt.Sprintf(`update %s set %s = %s where singleton and %s %s and %s`,
		ring, markerColumn, value, markerColumn, state, guard)
}

// SetMarkerUntil sets the trust marker on the word of somebody who vouches until $3 by the server's clock (null: for
// good), and tells whether it is set then: a command that was on its way while its sender was stopped comes too late.
func (l *Layout) SetMarkerUntil(guard string) string { return l.SetMarkerUntilNoting(guard, "") }

// SetMarkerUntilNoting is SetMarkerUntil, and carries out note with it: a statement that may read from "changed", in which there
// is one row if the marker was not set before, and is now.
func (l *Layout) SetMarkerUntilNoting(guard, note string) string {
	if note != "" {
		note = ", noted as (" + note + ")"
	}
	return fmt.Sprintf(`with changed as (%s returning 1)%s select exists (select 1 from changed) or %s`,
		l.SetMarker(true, guard+" and ($3::timestamptz is null or clock_timestamp() < $3)"), note, l.MarkerIsSet())
}

// ClearMarkerNoting clears the marker, and carries out note with it, likewise.
func (l *Layout) ClearMarkerNoting(guard, note string) string {
	return fmt.Sprintf(`with changed as (%s returning 1) %s`, l.SetMarker(false, guard), note)
}

// MarkerIsSet is an expression that tells whether the marker is set; false where there is none.
func (l *Layout) MarkerIsSet() string {
	if !l.HasMarker {
		return "false"
	}
	return MarkerIsSetOf(l.RingTable())
}

// HasQueueIndex tells whether the counters have an index that leads with the queue, as change #306
// brings: without it a read of one queue scans all of them.
func (l *Layout) HasQueueIndex() string {
	return fmt.Sprintf(`select exists (select 1 from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
		where i.indrelid = '%s'::regclass and a.attname = '%s' and i.indisvalid)`, l.countersName(), queueColumn)
}

// MakeQueueIndex is the statement that brings it.
func (l *Layout) MakeQueueIndex() string {
	return fmt.Sprintf(`CREATE INDEX CONCURRENTLY idx_%[1]s_%[2]s_queue ON %[1]s.%[2]s (%[3]s, %[4]s)`, l.Schema, countersTable, queueColumn, priorityColumn)
}

// MarkerAge is an expression for how many seconds ago the marker was set; null when it is not, or for ever.
func (l *Layout) MarkerAge() string {
	if !l.HasMarker {
		return "null::float8"
	}
	return fmt.Sprintf(`(select case when isfinite(%[1]s) then extract(epoch from clock_timestamp() - %[1]s)::float8 end from %[2]s where singleton limit 1)`, markerColumn, l.Schema.table(ringTable))
}

// MarkerSince is an expression for when the marker was set; null when it is not.
func (l *Layout) MarkerSince() string {
	if !l.HasMarker {
		return "null::timestamptz"
	}
	return fmt.Sprintf(`(select %s from %s where singleton limit 1)`, markerColumn, l.Schema.table(ringTable))
}

// RowEstimate is an expression for the planner's idea of how many rows done_entries has.
func (l *Layout) RowEstimate() string {
	return fmt.Sprintf(`(select coalesce(sum(greatest(c.reltuples, 0)), 0)::int8 from pg_inherits i
		join pg_class c on c.oid = i.inhrelid where i.inhparent = '%s'::regclass)`, l.Schema.RowsTable())
}
