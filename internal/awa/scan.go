package awa

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// ScanLeaf is the fenced scan of one leaf (docs/design.md §4): one statement, which takes its locks
// before its snapshot, and in awa's order: the leaf, the ledger's leaf, the counters. It yields rows of
// (slot, queue, priority, shard, rows, pending, buckets, values), the last two arrays or null where the
// group has no counter row. The first row has only nulls and the snapshot, in a ninth column.
func (l *Layout) ScanLeaf(leaf Leaf) string {
	return fmt.Sprintf(`
		with t as (select %[1]s as queue, %[2]s as priority, %[3]s as shard, count(*) as n from %[4]s group by 1, 2, 3)%[5]s,
		c as (%[6]s)
		select null::int4, null::text, null::int2, null::int2, null::int8, null::int8, null::int2[], null::int8[], pg_current_snapshot()::text
		union all
		(select %[7]d, queue, priority, shard, coalesce(t.n, 0), %[8]s, c.buckets, c.counts, null
		from t %[9]s full join c using (queue, priority, shard))`,
		queueColumn, priorityColumn, shardColumn, l.rowsOf(leaf), l.pendingOf(leaf), l.counters(fmt.Sprintf("%s = %d", slotColumn, leaf.Slot)),
		leaf.Slot, l.ifLedger("coalesce(p.n, 0)", "0::int8"), l.ifLedger("full join p using (queue, priority, shard)", ""))
}

// ifLedger is the first text where there is a ledger, else the second.
func (l *Layout) ifLedger(ledger, none string) string {
	if l.Shape.ledger {
		return ledger
	}
	return none
}

// pendingOf sums what the ledger holds for a slot, whatever its generation: so do awa's readers.
func (l *Layout) pendingOf(leaf Leaf) string {
	return l.ifLedger(fmt.Sprintf(`,
		p as (select %s as queue, %s as priority, %s as shard, sum(%s)::int8 as n from %s group by 1, 2, 3)`,
		queueColumn, priorityColumn, shardColumn, deltaColumn, l.Schema.table(leaf.Ledger.Name)), "")
}

// counters gathers the counter rows of each group.
func (l *Layout) counters(where string) string {
	buckets, counts := "array[0]::int2[]", fmt.Sprintf("array[%s]", countColumn)
	group := ""
	if l.Shape.bucketed {
		buckets = fmt.Sprintf("array_agg(%s::int2 order by %[1]s)", bucketColumn)
		counts = fmt.Sprintf("array_agg(%s order by %s)", countColumn, bucketColumn)
		group = " group by 1, 2, 3, 4"
	}
	return fmt.Sprintf(`select %s as slot, %s as queue, %s as priority, %s as shard, %s as buckets, %s as counts from %s where %s%s`,
		slotColumn, queueColumn, priorityColumn, shardColumn, buckets, counts, l.countersName(), where, group)
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
func (l *Layout) ScanWithoutLeaf() string {
	return fmt.Sprintf(`
		select null::int4, null::text, null::int2, null::int2, null::int8, null::int8, null::int2[], null::int8[], pg_current_snapshot()::text
		union all
		(select c.slot, c.queue, c.priority, c.shard, 0, 0, c.buckets, c.counts, null from (%s) c)`,
		l.counters(l.withoutLeaf()))
}

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
