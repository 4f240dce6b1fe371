package awa

import (
	"fmt"
	"slices"
)

// Shape is a form that awa's counters come in (docs/design.md §12). It gives the SQL in which the
// forms differ; nothing outside this package asks which one it is.
type Shape interface {
	// Name is what awa's history calls it.
	Name() string
	// Counters selects the columns slot, queue, priority, shard and count of a schema's counters,
	// one row a group, restricted by a condition over the slot column.
	Counters(s Schema, where string) string
	// Raise adds positive corrections: arrays $1 to $5 are slot, queue, priority, shard and delta.
	Raise(s Schema, guard string) string
	// Lower subtracts, never below 0, never creating a row. Parameters as for Raise.
	Lower(s Schema, guard string) string
}

func shapeOf(schema Schema, columns, key []string, ledger bool) (Shape, error) {
	four := []string{slotColumn, queueColumn, priorityColumn, shardColumn}
	five := append(slices.Clone(four), bucketColumn)
	switch {
	case ledger:
		return nil, &ShapeError{schema, fmt.Sprintf(
			"the counters are of the ledger shape (%s, awa 0.6.0-beta.2 and later), which this build does not work on yet", ledgerTable)}
	case slices.Equal(key, five):
		return nil, &ShapeError{schema, fmt.Sprintf(
			"the counters are of the striped shape (%s in the key, awa migrations 27 to 29), which this build does not work on yet", bucketColumn)}
	case slices.Equal(key, four) && slices.Contains(columns, countColumn):
		return direct{}, nil
	}
	return nil, &ShapeError{schema, fmt.Sprintf(
		"%s has the key (%s) and the columns (%s), a shape that this build does not know; look for a newer awa-counterd",
		countersTable, quoteList(key), quoteList(columns))}
}

// direct is the shape of awa's change #306: one row a group, updated in place.
type direct struct{}

func (direct) Name() string { return "#306" }

func (direct) Counters(s Schema, where string) string {
	return fmt.Sprintf(`select %s, %s, %s, %s, %s from %s where %s`,
		slotColumn, queueColumn, priorityColumn, shardColumn, countColumn, s.table(countersTable), where)
}

const corrections = `unnest($1::int4[], $2::text[], $3::int2[], $4::int2[], $5::int8[]) as d(slot, queue, priority, shard, delta)`

// Raise locks rows in key order, as awa's own upserts do.
func (direct) Raise(s Schema, guard string) string {
	return fmt.Sprintf(`
		insert into %[1]s as c (%[2]s, %[3]s, %[4]s, %[5]s, %[6]s)
		select d.slot, d.queue, d.priority, d.shard, d.delta from %[7]s
		where %[8]s order by d.slot, d.queue, d.priority, d.shard
		on conflict (%[2]s, %[3]s, %[4]s, %[5]s) do update set %[6]s = c.%[6]s + excluded.%[6]s`,
		s.table(countersTable), slotColumn, queueColumn, priorityColumn, shardColumn, countColumn, corrections, guard)
}

// Lower takes its row locks in key order first: the order of an UPDATE … FROM is the planner's.
func (direct) Lower(s Schema, guard string) string {
	return fmt.Sprintf(`
		with d as materialized (select * from %[7]s where %[8]s),
		locked as materialized (
			select c.%[2]s, c.%[3]s, c.%[4]s, c.%[5]s, d.delta from %[1]s c
			join d on c.%[2]s = d.slot and c.%[3]s = d.queue and c.%[4]s = d.priority and c.%[5]s = d.shard
			order by c.%[2]s, c.%[3]s, c.%[4]s, c.%[5]s for no key update of c)
		update %[1]s c set %[6]s = greatest(0, c.%[6]s + l.delta) from locked l
		where c.%[2]s = l.%[2]s and c.%[3]s = l.%[3]s and c.%[4]s = l.%[4]s and c.%[5]s = l.%[5]s`,
		s.table(countersTable), slotColumn, queueColumn, priorityColumn, shardColumn, countColumn, corrections, guard)
}
