package awa

import (
	"fmt"
	"slices"
)

// OwnBucket is where live corrections go in shapes with buckets: awa's own are 0 to 255, and no release
// has a constraint or a line of code that minds this one (docs/design.md §12).
const OwnBucket int16 = 300

// awaBuckets is how many buckets awa spreads a group's jobs over, by job_id.
const awaBuckets = 256

// Shape is a form that awa's counters come in (docs/design.md §12). In each the counter of a group is a
// sum of contributions; change #306 is the case with one bucket and no ledger.
type Shape struct {
	name     string
	bucketed bool // a counter row a bucket, and one bucket is ours
	ledger   bool // changes wait in a ledger until awa folds them into the buckets
}

// The shapes.
var (
	direct  = Shape{name: "#306"}
	striped = Shape{name: "striped", bucketed: true}
	ledger  = Shape{name: "ledger", bucketed: true, ledger: true}
)

// Shapes lists them, oldest first.
func Shapes() []Shape { return []Shape{direct, striped, ledger} }

// Name is what awa's history calls it.
func (s Shape) Name() string { return s.name }

// HasLedger reports that awa counts by appending to a ledger.
func (s Shape) HasLedger() bool { return s.ledger }

// HasBuckets reports that a group has a counter row a bucket, one of which is ours.
func (s Shape) HasBuckets() bool { return s.bucketed }

func shapeOf(schema Schema, columns, key []string, hasLedger bool) (Shape, error) {
	four := []string{slotColumn, queueColumn, priorityColumn, shardColumn}
	five := append(slices.Clone(four), bucketColumn)
	counts := slices.Contains(columns, countColumn)
	switch {
	case counts && slices.Equal(key, five) && hasLedger:
		return ledger, nil
	case counts && slices.Equal(key, five):
		return striped, nil
	case counts && slices.Equal(key, four) && !hasLedger:
		return direct, nil
	}
	beside := "no ledger"
	if hasLedger {
		beside = "a ledger"
	}
	return Shape{}, &ShapeError{schema, fmt.Sprintf(
		"%s has the key (%s) and the columns (%s), and %s beside it; this build does not know that shape; look for a newer awa-counterd",
		countersTable, quoteList(key), quoteList(columns), beside)}
}

const corrections = `unnest($1::int4[], $2::text[], $3::int2[], $4::int2[], $5::int8[]) as d(slot, queue, priority, shard, delta)`

// keyList names the key of a counter row, in the order in which awa's writers lock them.
func (s Shape) keyList(prefix string) string {
	out := fmt.Sprintf("%[1]s%[2]s, %[1]s%[3]s, %[1]s%[4]s, %[1]s%[5]s", prefix, slotColumn, queueColumn, priorityColumn, shardColumn)
	if s.bucketed {
		out += ", " + prefix + bucketColumn
	}
	return out
}

// ownKey is the key of the counter row that a correction d goes to.
func (s Shape) ownKey() string {
	out := "d.slot, d.queue, d.priority, d.shard"
	if s.bucketed {
		out += fmt.Sprintf(", %d::int2", OwnBucket)
	}
	return out
}

// AddCorrections adds corrections: arrays $1 to $5 are slot, queue, priority, shard and delta. It locks rows in key
// order, as awa's own upserts do. With buckets the row is ours alone, and so may be below 0.
func (l *Layout) AddCorrections(guard string) string {
	return fmt.Sprintf(`
		insert into %[1]s as c (%[2]s, %[3]s)
		select %[4]s, d.delta from %[5]s where %[6]s order by d.slot, d.queue, d.priority, d.shard
		on conflict (%[2]s) do update set %[3]s = c.%[3]s + excluded.%[3]s`,
		l.countersName(), l.Shape.keyList(""), countColumn, l.Shape.ownKey(), corrections, guard)
}

// SubtractCorrections subtracts. Parameters as for AddCorrections. Where the row is awa's own it never goes below 0, and is never
// created: an upsert that clamps would lose what awa's decrements then miss.
func (l *Layout) SubtractCorrections(guard string) string {
	if l.Shape.bucketed {
		return l.AddCorrections(guard)
	}
	// The row locks are taken in key order first: the order of an UPDATE … FROM is the planner's.
	return fmt.Sprintf(`
		with d as materialized (select * from %[7]s where %[8]s),
		locked as materialized (
			select c.%[2]s, c.%[3]s, c.%[4]s, c.%[5]s, d.delta from %[1]s c
			join d on c.%[2]s = d.slot and c.%[3]s = d.queue and c.%[4]s = d.priority and c.%[5]s = d.shard
			order by c.%[2]s, c.%[3]s, c.%[4]s, c.%[5]s for no key update of c)
		update %[1]s c set %[6]s = greatest(0, c.%[6]s + l.delta) from locked l
		where c.%[2]s = l.%[2]s and c.%[3]s = l.%[3]s and c.%[4]s = l.%[4]s and c.%[5]s = l.%[5]s`,
		l.countersName(), slotColumn, queueColumn, priorityColumn, shardColumn, countColumn, corrections, guard)
}

// DeleteZeroRows deletes our rows that corrections have brought to 0: awa's metrics take the names of queues from
// the table. Parameters as for AddCorrections; "" where the daemon has no rows of its own.
func (l *Layout) DeleteZeroRows() string {
	if !l.Shape.bucketed {
		return ""
	}
	return fmt.Sprintf(`
		delete from %[1]s c using %[7]s
		where c.%[2]s = d.slot and c.%[3]s = d.queue and c.%[4]s = d.priority and c.%[5]s = d.shard
		  and c.%[8]s = %[9]d and c.%[6]s = 0`,
		l.countersName(), slotColumn, queueColumn, priorityColumn, shardColumn, countColumn, corrections, bucketColumn, OwnBucket)
}
