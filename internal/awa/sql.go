package awa

import (
	"fmt"
	"strings"
)

// ScanLeaf is the fenced scan of one leaf (docs/design.md §4): one statement, which takes its locks
// before its snapshot. It yields rows of (slot, queue, priority, shard, rows, counter); rows or
// counter is null for a group that only the other side has. The first row has only nulls and the
// snapshot, in a seventh column.
func (l *Layout) ScanLeaf(leaf Leaf) string {
	return fmt.Sprintf(`
		select null::int4, null::text, null::int2, null::int2, null::int8, null::int8, pg_current_snapshot()::text
		union all
		(select %[2]d, coalesce(t.queue, c.queue), coalesce(t.priority, c.priority), coalesce(t.shard, c.shard), t.n, c.n, null
		from (select %[3]s, %[4]s, %[5]s, count(*) from %[1]s group by 1, 2, 3) t (queue, priority, shard, n)
		full join (%[6]s) c (slot, queue, priority, shard, n) using (queue, priority, shard))`,
		l.rowsOf(leaf), leaf.Slot, queueColumn, priorityColumn, shardColumn,
		l.Shape.Counters(l.Schema, fmt.Sprintf("%s = %d", slotColumn, leaf.Slot)))
}

// rowsOf is what to select a leaf's rows from. Through the parent, the privileges of which are the
// least needed, the constant slot keeps the planner, and so the locks, to this leaf; but the slot is
// then compared in every row, which costs a scan a fifth of its time.
func (l *Layout) rowsOf(leaf Leaf) string {
	if leaf.Readable {
		return l.Schema.table(leaf.Name)
	}
	return fmt.Sprintf("%s where %s = %d", l.Schema.RowsTable(), slotColumn, leaf.Slot)
}

// ScanElsewhere is the fenced scan of the counter rows that belong to no leaf, in the form of ScanLeaf.
func (l *Layout) ScanElsewhere() string {
	slots := make([]string, 0, len(l.Leaves))
	for _, leaf := range l.Leaves {
		slots = append(slots, fmt.Sprint(leaf.Slot))
	}
	return fmt.Sprintf(`
		select null::int4, null::text, null::int2, null::int2, null::int8, null::int8, pg_current_snapshot()::text
		union all
		select c.slot, c.queue, c.priority, c.shard, null, c.n, null from (%s) c (slot, queue, priority, shard, n)`,
		l.Shape.Counters(l.Schema, fmt.Sprintf("%s not in (%s)", slotColumn, strings.Join(slots, ", "))))
}

// Hold locks a leaf against TRUNCATE, and against nothing else, to the end of the transaction.
func (l *Layout) Hold(leaf Leaf) string {
	return fmt.Sprintf(`select 1 from %s limit 1`, l.rowsOf(leaf))
}

// SetMarker writes the trust marker, unless it is so already; guard is a further condition.
func (l *Layout) SetMarker(set bool, guard string) string {
	value, state := "now()", "is null"
	if !set {
		value, state = "null", "is not null"
	}
	return fmt.Sprintf(`update %s set %s = %s where singleton and %s %s and %s`,
		l.Schema.table(ringTable), markerColumn, value, markerColumn, state, guard)
}

// MarkerIsSet is an expression that tells whether the marker is set; false where there is none.
func (l *Layout) MarkerIsSet() string {
	if !l.HasMarker {
		return "false"
	}
	return fmt.Sprintf(`coalesce((select %s is not null from %s where singleton), false)`, markerColumn, l.Schema.table(ringTable))
}

// HasQueueIndex tells whether the counters have an index that leads with the queue, as change #306
// brings: without it a read of one queue scans all of them.
func (l *Layout) HasQueueIndex() string {
	return fmt.Sprintf(`select exists (select 1 from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
		where i.indrelid = '%s'::regclass and a.attname = '%s' and i.indisvalid)`, l.Schema.table(countersTable), queueColumn)
}

// MakeQueueIndex is the statement that brings it.
func (l *Layout) MakeQueueIndex() string {
	return fmt.Sprintf(`CREATE INDEX CONCURRENTLY idx_%[1]s_%[2]s_queue ON %[1]s.%[2]s (%[3]s, %[4]s)`, l.Schema, countersTable, queueColumn, priorityColumn)
}

// MarkerAge is an expression for how many seconds ago the marker was set; null when it is not.
func (l *Layout) MarkerAge() string {
	if !l.HasMarker {
		return "null::float8"
	}
	return fmt.Sprintf(`(select extract(epoch from clock_timestamp() - %s)::float8 from %s where singleton)`, markerColumn, l.Schema.table(ringTable))
}

// RowEstimate is an expression for the planner's idea of how many rows done_entries has.
func (l *Layout) RowEstimate() string {
	return fmt.Sprintf(`(select coalesce(sum(greatest(c.reltuples, 0)), 0)::int8 from pg_inherits i
		join pg_class c on c.oid = i.inhrelid where i.inhparent = '%s'::regclass)`, l.Schema.RowsTable())
}
