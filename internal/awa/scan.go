package awa

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// ScanLeaf is the fenced scan of one leaf (docs/design.md §4): one statement, which takes its locks
// before its snapshot, and in awa's order: the leaf, the ledger's leaf, the counters. It yields rows of
// (slot, queue, priority, shard, rows, pending, bucket, value), in no order: a group has one with its rows, one with what is
// pending, and one for each counter row, with bucket and value; what a row is not about is null. One row has only nulls and the
// snapshot, in a ninth column. That they are put together elsewhere spares the server two joins and a sort, seven eighths of what a
// scan of many groups takes it.
func (l *Layout) ScanLeaf(leaf Leaf) string {
	return fmt.Sprintf(`%[1]s
		union all select %[2]d, %[3]s, count(*), null, null, null, null from %[4]s group by 2, 3, 4%[5]s%[6]s`,
		scannedSnapshot, leaf.Slot, groupColumns, l.rowsOf(leaf), l.pendingOf(leaf), l.counters(fmt.Sprintf("%s = %d", slotColumn, leaf.Slot)))
}

const (
	scannedSnapshot = `
		select null::int4, null::text, null::int2, null::int2, null::int8, null::int8, null::int2, null::int8, pg_current_snapshot()::text`
	groupColumns = queueColumn + ", " + priorityColumn + ", " + shardColumn
)

// ifLedger is the first text where there is a ledger, else the second.
func (l *Layout) ifLedger(ledger, none string) string {
	if l.Shape.ledger {
		return ledger
	}
	return none
}

// pendingOf sums what the ledger holds for a slot, whatever its generation: so do awa's readers.
func (l *Layout) pendingOf(leaf Leaf) string {
	return l.ifLedger(fmt.Sprintf(`
		union all select %d, %s, null, sum(%s)::int8, null, null, null from %s group by 2, 3, 4`,
		leaf.Slot, groupColumns, deltaColumn, l.Schema.table(leaf.Ledger.Name)), "")
}

// counters are the counter rows, as a part of a scan.
func (l *Layout) counters(where string) string {
	bucket := "0::int2"
	if l.Shape.bucketed {
		bucket = bucketColumn + "::int2"
	}
	return fmt.Sprintf(`
		union all select %s, %s, null, null, %s, %s, null from %s where %s`,
		slotColumn, groupColumns, bucket, countColumn, l.countersName(), where)
}

// rowsOf is what to select a leaf's rows from. Through the parent, the privileges of which may be all that
// a role has, the constant slot keeps the planner, and so the locks, to this leaf; but the leaf is then
// locked last, and the slot compared in every row, which costs a scan a fifth of its time.
func (l *Layout) rowsOf(leaf Leaf) string {
	if leaf.Readable {
		return l.Schema.table(leaf.Name)
	}
	return fmt.Sprintf("%s where %s = %d", l.Schema.RowsTable(), slotColumn, leaf.Slot)
}

// ScanWithoutLeaf is the fenced scan of the counter rows that belong to no leaf, in the form of ScanLeaf.
func (l *Layout) ScanWithoutLeaf() string { return scannedSnapshot + l.counters(l.withoutLeaf()) }

// withoutLeaf is a condition on counter rows. It holds for none once there are other leaves than those of the layout: the rows of one
// that has come since are not of no leaf. Whoever sees such a row in a snapshot sees its leaf as well.
func (l *Layout) withoutLeaf() string {
	slots, oids := make([]string, 0, len(l.Leaves)), make([]string, 0, len(l.Leaves))
	for _, leaf := range slices.SortedFunc(slices.Values(l.Leaves), func(a, b Leaf) int { return cmp.Compare(a.OID, b.OID) }) {
		slots, oids = append(slots, fmt.Sprint(leaf.Slot)), append(oids, fmt.Sprint(leaf.OID))
	}
	return fmt.Sprintf("%s not in (%s) and (select array_agg(inhrelid order by inhrelid) from pg_inherits where inhparent = %d) = array[%s]::oid[]",
		slotColumn, strings.Join(slots, ", "), l.Rows, strings.Join(oids, ", "))
}

// LockLeaf locks a leaf against TRUNCATE, and against nothing else, to the end of the transaction.
func (l *Layout) LockLeaf(leaf Leaf) string {
	return fmt.Sprintf(`select 1 from %s limit 1`, l.rowsOf(leaf))
}
