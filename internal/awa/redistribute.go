package awa

import "fmt"

// Redistribute makes every bucket of a slot what awa itself would hold, in one statement: each of awa's
// buckets gets rows − counter − pending of its jobs, and ours comes to 0 (docs/design.md §12). It yields what
// CompareBuckets does. Where awa does not spread a group over buckets there is nothing to redistribute.
//
// It locks as a scan does, and holds the leaves to the end of its transaction: nobody folds, prunes or
// rebuilds meanwhile, and who counts leaves every difference as it is.
func (l *Layout) Redistribute(leaf Leaf) string {
	key := l.Shape.keyList("")
	return l.byBucket(leaf) + fmt.Sprintf(`,
		moved as (
			insert into %[1]s as x (%[2]s, %[3]s)
			select %[4]d, queue, priority, shard, bucket, rows - counter from d where rows <> counter order by queue, priority, shard, bucket
			on conflict (%[2]s) do update set %[3]s = x.%[3]s + excluded.%[3]s)`, l.countersName(), key, countColumn, leaf.Slot) + ofBuckets
}

// CompareBuckets is a look at every bucket of a slot, in one statement. It yields a row a group: queue, priority, shard, rows, counter,
// and its buckets that are not what awa itself would hold, with what would have to be added to each, in two arrays; null where there are
// none.
func (l *Layout) CompareBuckets(leaf Leaf) string { return l.byBucket(leaf) + ofBuckets }

const ofBuckets = `
		select queue, priority, shard, sum(rows)::int8, sum(counter)::int8,
			array_agg(bucket order by bucket) filter (where rows <> counter), array_agg((rows - counter)::int8 order by bucket) filter (where rows <> counter)
		from d group by 1, 2, 3`

// byBucket gathers rows, counter and pending of each bucket, as d.
func (l *Layout) byBucket(leaf Leaf) string {
	return fmt.Sprintf(`
		with t as (select %[1]s as queue, %[2]s as priority, %[3]s as shard, mod(mod(%[4]s, %[5]d) + %[5]d, %[5]d)::int2 as bucket, count(*) as n
		           from %[6]s group by 1, 2, 3, 4)%[7]s,
		c as (select %[1]s as queue, %[2]s as priority, %[3]s as shard, %[8]s::int2 as bucket, %[9]s as n from %[10]s where %[11]s = %[12]d),
		d as materialized (
			select queue, priority, shard, bucket, coalesce(t.n, 0) as rows, %[13]s as counter
			from t %[14]s full join c using (queue, priority, shard, bucket))`,
		queueColumn, priorityColumn, shardColumn, jobColumn, awaBuckets, l.rowsOf(leaf), l.pendingByBucket(leaf),
		bucketColumn, countColumn, l.countersName(), slotColumn, leaf.Slot,
		l.ifLedger("coalesce(c.n, 0) + coalesce(p.n, 0)", "coalesce(c.n, 0)"), l.ifLedger("full join p using (queue, priority, shard, bucket)", ""))
}

func (l *Layout) pendingByBucket(leaf Leaf) string {
	return l.ifLedger(fmt.Sprintf(`,
		p as (select %s as queue, %s as priority, %s as shard, %s::int2 as bucket, sum(%s)::int8 as n from %s group by 1, 2, 3, 4)`,
		queueColumn, priorityColumn, shardColumn, bucketColumn, deltaColumn, l.Schema.table(leaf.Ledger.Name)), "")
}

// RemoveWithoutLeaf takes away the counter rows that belong to no leaf, where nothing can be counted. It
// yields rows as Redistribute does, with the slot before them.
func (l *Layout) RemoveWithoutLeaf() string {
	return l.bucketsWithoutLeaf(fmt.Sprintf(`delete from %s where %s and %s <> 0 returning`, l.countersName(), l.withoutLeaf(), countColumn), "")
}

// CompareWithoutLeaf is a look at them.
func (l *Layout) CompareWithoutLeaf() string {
	return l.bucketsWithoutLeaf("select", fmt.Sprintf("from %s where %s and %s <> 0", l.countersName(), l.withoutLeaf(), countColumn))
}

func (l *Layout) bucketsWithoutLeaf(before, after string) string {
	return fmt.Sprintf(`
		with d as (%[1]s %[2]s as slot, %[3]s as queue, %[4]s as priority, %[5]s as shard, %[6]s::int2 as bucket, %[7]s as n %[8]s)
		select slot, queue, priority, shard, 0::int8, sum(n)::int8, array_agg(bucket order by bucket), array_agg((-n)::int8 order by bucket) from d group by 1, 2, 3, 4`,
		before, slotColumn, queueColumn, priorityColumn, shardColumn, bucketColumn, countColumn, after)
}

// DeleteZeroRowsOfSlot deletes our rows of a slot that have come to 0.
func (l *Layout) DeleteZeroRowsOfSlot(leaf Leaf) string {
	return fmt.Sprintf(`delete from %s where %s = %d and %s = %d and %s = 0`,
		l.countersName(), slotColumn, leaf.Slot, bucketColumn, OwnBucket, countColumn)
}

// StaleLedger counts the rows of the ledger's leaf that are of another generation than its slot: readers
// count them, and the next fold drops them.
func (l *Layout) StaleLedger(leaf Leaf) string {
	return fmt.Sprintf(`select count(*) from %s d, %s`, l.LedgerOf(leaf), l.stale(leaf))
}

// DropStale deletes those rows, and yields for each bucket of a group (queue, priority, shard, bucket) what they summed up to, and
// how many they were. No stream tells of a DELETE on the ledger (it has no primary key, so its publication leaves
// deletes out): only for when nobody follows, and before a Redistribute in the same transaction, so that readers
// see no difference. Hold the leaf first: that is awa's order.
func (l *Layout) DropStale(leaf Leaf) string {
	return fmt.Sprintf(`with gone as (delete from %s d using %s returning d.%s as queue, d.%s as priority, d.%s as shard, d.%s::int2 as bucket, d.%s as delta)
		select queue, priority, shard, bucket, sum(delta)::int8, count(*) from gone group by 1, 2, 3, 4`,
		l.LedgerOf(leaf), l.stale(leaf), queueColumn, priorityColumn, shardColumn, bucketColumn, deltaColumn)
}

// stale joins rows d of the ledger's leaf to their slot, and leaves those of another generation. awa 0.7 writes -1 for
// the generation of a slot, and keeps the newest of the ring in another table: a slot's is the newest one that is the
// slot's number modulo the ring's size.
func (l *Layout) stale(leaf Leaf) string {
	slot := fmt.Sprintf("select generation from %s where slot = %d", l.Schema.table(ringSlotsTable), leaf.Slot)
	if l.Rotations {
		slot = fmt.Sprintf(`select case when s.generation >= 0 then s.generation else r.newest - mod(mod(r.newest - s.slot, r.size) + r.size, r.size) end as generation
			from %s s, (select max(generation) as newest, (select slot_count::int8 from %s where singleton) as size from %s) r where s.slot = %d`,
			l.Schema.table(ringSlotsTable), l.Schema.table(ringTable), l.Schema.table(rotationsTable), leaf.Slot)
	}
	return fmt.Sprintf(`(%s) s where s.generation >= 0 and d.%s <> s.generation`, slot, generationColumn)
}

// LedgerOf is the qualified name of the ledger's leaf.
func (l *Layout) LedgerOf(leaf Leaf) string { return l.Schema.table(leaf.Ledger.Name) }

// OwnRows counts the counter rows that hold the daemon's corrections.
func (l *Layout) OwnRows() string {
	if !l.Shape.bucketed {
		return "select 0::int8"
	}
	return fmt.Sprintf(`select count(*) from %s where %s = %d`, l.countersName(), bucketColumn, OwnBucket)
}
