package awa

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Discover reads the layout of a schema. It returns ErrNotYet while the counter table is missing,
// and a ShapeError for what can never work.
func Discover(ctx context.Context, q Querier, schema Schema) (*Layout, error) {
	l := &Layout{Schema: schema}
	rel, err := relations(ctx, q, schema)
	if err != nil {
		return nil, err
	}
	rows, ok := rel[rowsTable]
	if !ok {
		return nil, &ShapeError{schema, fmt.Sprintf(
			"there is no table %s; if awa lives in another schema pass it with --schema, or install awa first", schema.RowsTable())}
	}
	if rows.kind != "p" {
		return nil, &ShapeError{schema, schema.RowsTable() + " is not partitioned; this is not awa's queue storage"}
	}
	ring, ok := rel[ringTable]
	if !ok {
		return nil, &ShapeError{schema, "there is no table " + schema.table(ringTable) + "; this is not awa's queue storage"}
	}
	counters, ok := rel[countersTable]
	if !ok {
		return nil, fmt.Errorf("%s: %w", schema.table(countersTable), ErrNotYet)
	}
	for _, c := range []string{slotColumn, queueColumn, priorityColumn, shardColumn} {
		if !slices.Contains(rows.columns, c) {
			return nil, &ShapeError{schema, fmt.Sprintf("%s has no column %s; run awa's migrations first", schema.RowsTable(), c)}
		}
	}
	deltas, hasLedger := rel[ledgerTable]
	if l.Shape, err = shapeOf(schema, counters.columns, counters.key, hasLedger); err != nil {
		return nil, err
	}
	l.Counters, l.Ring, l.Rollups = counters.oid, ring.oid, rel[rollupsTable].oid
	l.HasMarker = slices.Contains(ring.columns, markerColumn)
	l.RollupDeltas = rel[rollupDeltasTable].oid
	l.FoldsFailed = slices.Contains(rel[rollupsTable].columns, prunedFailedColumn)
	_, l.Receipts = rel[receiptsTable]
	_, l.Rotations = rel[rotationsTable]
	l.Rows, l.Ledger = rows.oid, deltas.oid
	l.columns = map[uint32][]string{counters.oid: counters.columns, ring.oid: ring.columns}
	for _, name := range []string{rollupsTable, rollupDeltasTable} {
		if r, there := rel[name]; there {
			l.columns[r.oid] = r.columns
		}
	}
	if err := l.refuseChildren(ctx, q); err != nil {
		return nil, err
	}
	if err := l.findLeaves(ctx, q, rows.oid, deltas.oid); err != nil {
		return nil, err
	}
	l.State, err = l.state(ctx, q)
	return l, err
}

// refuseChildren refuses tables that inherit from the counters or the ring: readers add up their rows, and they are not
// published with the parent.
func (l *Layout) refuseChildren(ctx context.Context, q Querier) error {
	var child, parent string
	err := q.QueryRow(ctx, `select inhrelid::regclass::text, inhparent::regclass::text from pg_inherits where inhparent = any($1) order by 1 limit 1`,
		[]uint32{l.Counters, l.Ring}).Scan(&child, &parent)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("look for tables that inherit from awa's: %w", err)
	}
	return &ShapeError{l.Schema, fmt.Sprintf("%s inherits from %s, so readers add up its rows, and its changes are not streamed; run: ALTER TABLE %s NO INHERIT %s",
		child, parent, child, parent)}
}

// DiscoverMarker finds the trust marker of a schema and nothing else: it can be cleared where nothing more can be
// made sense of. It needs no right but the catalog's.
func DiscoverMarker(ctx context.Context, q Querier, schema Schema) (*Layout, error) {
	l := &Layout{Schema: schema}
	err := q.QueryRow(ctx, `select exists (select 1 from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relname = $2 and a.attname = $3 and not a.attisdropped)`, string(schema), ringTable, markerColumn).Scan(&l.HasMarker)
	if err != nil {
		return nil, fmt.Errorf("look for the marker of schema %s: %w", schema, err)
	}
	return l, nil
}

func (l *Layout) findLeaves(ctx context.Context, q Querier, rows, deltas uint32) error {
	done, err := partitions(ctx, q, rows, slotColumn, queueColumn, priorityColumn, shardColumn)
	if err != nil {
		return err
	}
	if len(done) == 0 {
		return &ShapeError{l.Schema, l.Schema.RowsTable() + " has no partitions; run awa's prepare-queue-storage-schema"}
	}
	for slot, p := range done {
		l.Leaves = append(l.Leaves, Leaf{Slot: slot, Partition: p})
	}
	slices.SortFunc(l.Leaves, func(a, b Leaf) int { return int(a.Slot) - int(b.Slot) })
	if !l.Shape.ledger {
		return nil
	}
	pending, err := partitions(ctx, q, deltas, queueColumn, priorityColumn, shardColumn, deltaColumn)
	if err != nil {
		return err
	}
	for i := range l.Leaves {
		leaf := &l.Leaves[i]
		p, ok := pending[leaf.Slot]
		if !ok {
			return &ShapeError{l.Schema, fmt.Sprintf("ring slot %d has a leaf of %s but none of %s; run awa's migrations", leaf.Slot, rowsTable, ledgerTable)}
		}
		leaf.Ledger = p
		delete(pending, leaf.Slot)
	}
	for slot := range pending {
		return &ShapeError{l.Schema, fmt.Sprintf("ring slot %d has a leaf of %s but none of %s; run awa's migrations", slot, ledgerTable, rowsTable)}
	}
	return nil
}

type relation struct {
	oid     uint32
	kind    string
	columns []string
	key     []string
}

// streamedColumns is an expression for the columns of the table c, as the stream lists them: generated ones are left out.
const streamedColumns = `array(select attname::text from pg_attribute a
		where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' order by a.attnum)`

func relations(ctx context.Context, q Querier, schema Schema) (map[string]relation, error) {
	rows, err := q.Query(ctx, `
		select c.oid, c.relname, c.relkind::text,
		       `+streamedColumns+`,
		       array(select a.attname::text from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
		             where i.indrelid = c.oid and i.indisprimary order by array_position(i.indkey::int2[], a.attnum))
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relname = any($2) and c.relkind in ('r', 'p')`,
		string(schema), Tables())
	if err != nil {
		return nil, fmt.Errorf("read the tables of schema %s: %w", schema, err)
	}
	out := make(map[string]relation)
	var name string
	var r relation
	_, err = pgx.ForEachRow(rows, []any{&r.oid, &name, &r.kind, &r.columns, &r.key}, func() error {
		out[name] = r
		r.columns, r.key = nil, nil
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the tables of schema %s: %w", schema, err)
	}
	return out, nil
}

var listBound = regexp.MustCompile(`^FOR VALUES IN \('?(-?\d+)'?\)$`)

// partitions finds the tables of a partitioned one, by the one slot that each holds. needed are the columns
// that we read of them.
func partitions(ctx context.Context, q Querier, parent uint32, needed ...string) (map[int32]Partition, error) {
	rows, err := q.Query(ctx, `
		select c.oid, c.relname, c.relkind::text, c.relpersistence <> 'p', c.relreplident::text, coalesce(pg_get_expr(c.relpartbound, c.oid), ''),
		       case when c.relnamespace <> p.relnamespace then c.oid::regclass::text else '' end, p.relnamespace::regnamespace::text,
		       has_table_privilege(c.oid, 'SELECT') or (select coalesce(bool_and(has_column_privilege(c.oid, a.attnum, 'SELECT')), false)
		         from pg_attribute a where a.attrelid = c.oid and a.attname = any($2)), `+streamedColumns+`
		from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent where i.inhparent = $1`, parent, needed)
	if err != nil {
		return nil, fmt.Errorf("read the leaves: %w", err)
	}
	out := make(map[int32]Partition)
	var p Partition
	var bound, elsewhere, schema string
	_, err = pgx.ForEachRow(rows, []any{&p.OID, &p.Name, &p.Kind, &p.Unlogged, &p.Identity, &bound, &elsewhere, &schema, &p.Readable, &p.Columns}, func() error {
		if elsewhere != "" { // scans go by names
			return &ShapeError{Schema(schema), fmt.Sprintf("leaf %s is not in schema %s; run: ALTER TABLE %s SET SCHEMA %s", elsewhere, schema, elsewhere, schema)}
		}
		m := listBound.FindStringSubmatch(bound)
		if m == nil {
			return &ShapeError{Reason: fmt.Sprintf("leaf %s holds %s, not one ring slot; this is not awa's queue storage", p.Name, bound)}
		}
		slot, err := strconv.ParseInt(m[1], 10, 32)
		if err != nil {
			return fmt.Errorf("ring slot of leaf %s: %w", p.Name, err)
		}
		out[int32(slot)] = p
		p.Columns = nil
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the leaves: %w", err)
	}
	return out, nil
}

const migrator = `select coalesce((select min(l.pid) from pg_locks l join pg_database d on d.oid = l.database
		where d.datname = current_database() and l.locktype = 'advisory' and l.granted and l.objsubid = 1
		  and (l.classid::int8 << 32) | l.objid::int8 = $1), 0)`

// Migrator is the process that runs awa's migrations on this database, 0 when nobody does: they hold a lock of awa's
// own. It is read, never taken.
func Migrator(ctx context.Context, q Querier) (pid int32, err error) {
	return scanMigrator(q.QueryRow(ctx, migrator, int64(migrationLock)))
}

// AskMigrator is Migrator as a part of a batch.
func AskMigrator(b *pgx.Batch, pid *int32) {
	b.Queue(migrator, int64(migrationLock)).QueryRow(func(row pgx.Row) (err error) {
		*pid, err = scanMigrator(row)
		return err
	})
}

func scanMigrator(row pgx.Row) (pid int32, err error) {
	if err := row.Scan(&pid); err != nil {
		return 0, fmt.Errorf("look whether awa migrates: %w", err)
	}
	return pid, nil
}

const migrationLock = 0x4157415f4d494752 // "AWA_MIGR"

// CheckBucket refuses a counter table in which our bucket is not free.
func (l *Layout) CheckBucket(ctx context.Context, q Querier) error {
	if !l.Shape.bucketed {
		return nil
	}
	rows, err := q.Query(ctx, `select conname::text, pg_get_expr(conbin, conrelid) from pg_constraint where conrelid = $1 and contype = 'c' order by 1`, l.Counters)
	if err != nil {
		return fmt.Errorf("read the constraints of %s: %w", l.countersName(), err)
	}
	type constraint struct{ Name, Expr string }
	checks, err := pgx.CollectRows(rows, pgx.RowToStructByPos[constraint])
	if err != nil {
		return fmt.Errorf("read the constraints of %s: %w", l.countersName(), err)
	}
	for _, c := range checks {
		var ok bool
		// A CHECK that is null passes.
		sql := fmt.Sprintf(`select coalesce((%s), true) from jsonb_populate_record(null::%s, '{"%s":0,"%s":"q","%s":1,"%s":0,"%s":%d,"%s":-1}')`,
			c.Expr, l.countersName(), slotColumn, queueColumn, priorityColumn, shardColumn, bucketColumn, OwnBucket, countColumn)
		if err := q.QueryRow(ctx, sql).Scan(&ok); err != nil {
			return fmt.Errorf("try the constraint %s of %s: %w", c.Name, l.countersName(), err)
		}
		if !ok {
			return &ShapeError{l.Schema, fmt.Sprintf(
				"awa-counterd writes corrections, which may be negative, to %s = %d of %s, and constraint %s (%s) does not allow that; look for a newer awa-counterd",
				bucketColumn, OwnBucket, countersTable, c.Name, strings.TrimSpace(c.Expr))}
		}
	}
	var taken *int32
	err = q.QueryRow(ctx, fmt.Sprintf(`select min(%[1]s)::int4 from %[2]s where (%[1]s not between 0 and %[3]d) and %[1]s <> %[4]d`,
		bucketColumn, l.countersName(), awaBuckets-1, OwnBucket)).Scan(&taken)
	if err != nil {
		return fmt.Errorf("look at the buckets of %s: %w", l.countersName(), err)
	}
	if taken != nil {
		return &ShapeError{l.Schema, fmt.Sprintf(
			"%s has rows with %s = %d, but this build knows only 0 to %d; look for a newer awa-counterd",
			countersTable, bucketColumn, *taken, awaBuckets-1)}
	}
	return nil
}
