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

// Layout is what the catalog says about one schema at one moment.
type Layout struct {
	Schema    Schema
	Shape     Shape
	Leaves    []Leaf // by slot
	HasMarker bool
	Counters  uint32 // OIDs
	Ring      uint32
	Rollups   uint32 // 0 when there is no such table
}

// Leaf is one partition of done_entries.
type Leaf struct {
	Slot     int32
	OID      uint32
	Name     string
	Identity string // pg_class.relreplident
	Readable bool   // this role may select from the leaf itself, not only through its parent
}

// Slots lists the leaves' slots in order.
func (l *Layout) Slots() []int32 {
	out := make([]int32, 0, len(l.Leaves))
	for _, leaf := range l.Leaves {
		out = append(out, leaf.Slot)
	}
	return out
}

// Published lists the tables that the publication has to name, parents where they are partitioned.
func (l *Layout) Published() []string {
	out := []string{l.Schema.table(rowsTable), l.Schema.table(countersTable), l.Schema.table(ringTable)}
	if l.Rollups != 0 {
		out = append(out, l.Schema.table(rollupsTable))
	}
	return out
}

// Sources lists the relations that changes come from: leaves in the place of their parent.
func (l *Layout) Sources() []uint32 {
	out := l.OIDs()
	if l.Rollups != 0 {
		out = append(out, l.Rollups)
	}
	return out
}

// OIDs lists the relations whose replacement by others means that the books are worth nothing.
func (l *Layout) OIDs() []uint32 {
	out := []uint32{l.Counters, l.Ring}
	for _, leaf := range l.Leaves {
		out = append(out, leaf.OID)
	}
	return out
}

// ErrNotYet says that awa's counter table is not there; its migration has not run.
var ErrNotYet = errors.New("the counter table is not there yet")

// ShapeError is a schema that cannot be worked on.
type ShapeError struct {
	Schema Schema
	Reason string
}

func (e *ShapeError) Error() string { return fmt.Sprintf("schema %s: %s", e.Schema, e.Reason) }

// Querier is what reading needs; a *pgx.Conn is one.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// ActiveSchema asks awa which schema its queue storage lives in; DefaultSchema when it does not say.
func ActiveSchema(ctx context.Context, q Querier) (Schema, error) {
	var there, usage, read bool
	err := q.QueryRow(ctx, `select count(*) > 0, coalesce(bool_and(has_schema_privilege(n.oid, 'USAGE')), true),
		coalesce(bool_and(has_table_privilege(c.oid, 'SELECT')), true)
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = 'awa' and c.relname = 'runtime_storage_backends'`).Scan(&there, &usage, &read)
	switch {
	case err != nil:
		return "", fmt.Errorf("look for awa's active schema: %w", err)
	case !there:
		return DefaultSchema, nil
	case !usage:
		return "", &RightError{Grant: "USAGE ON SCHEMA awa"}
	case !read:
		return "", &RightError{Grant: "SELECT ON awa.runtime_storage_backends"}
	}
	var name string
	err = q.QueryRow(ctx, `select schema_name from awa.runtime_storage_backends where backend = 'queue_storage'`).Scan(&name)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return DefaultSchema, nil
	case err != nil:
		return "", fmt.Errorf("read awa's active schema: %w", err)
	}
	return ParseSchema(name)
}

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
	if l.Leaves, err = leaves(ctx, q, rows.oid); err != nil {
		return nil, err
	}
	if len(l.Leaves) == 0 {
		return nil, &ShapeError{schema, schema.RowsTable() + " has no partitions; run awa's prepare-queue-storage-schema"}
	}
	for _, c := range []string{slotColumn, queueColumn, priorityColumn, shardColumn} {
		if !slices.Contains(rows.columns, c) {
			return nil, &ShapeError{schema, fmt.Sprintf("%s has no column %s; run awa's migrations first", schema.RowsTable(), c)}
		}
	}
	ring, ok := rel[ringTable]
	if !ok {
		return nil, &ShapeError{schema, "there is no table " + schema.table(ringTable) + "; this is not awa's queue storage"}
	}
	counters, ok := rel[countersTable]
	if !ok {
		return nil, fmt.Errorf("%s: %w", schema.table(countersTable), ErrNotYet)
	}
	l.Counters, l.Ring, l.Rollups = counters.oid, ring.oid, rel[rollupsTable].oid
	l.HasMarker = slices.Contains(ring.columns, markerColumn)
	_, ledger := rel[ledgerTable]
	if l.Shape, err = shapeOf(schema, counters.columns, counters.key, ledger); err != nil {
		return nil, err
	}
	return l, nil
}

type relation struct {
	oid     uint32
	kind    string
	columns []string
	key     []string
}

func relations(ctx context.Context, q Querier, schema Schema) (map[string]relation, error) {
	rows, err := q.Query(ctx, `
		select c.oid, c.relname, c.relkind::text,
		       array(select attname::text from pg_attribute a
		             where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum),
		       array(select a.attname::text from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
		             where i.indrelid = c.oid and i.indisprimary order by array_position(i.indkey::int2[], a.attnum))
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relname = any($2) and c.relkind in ('r', 'p')`,
		string(schema), []string{rowsTable, countersTable, ringTable, rollupsTable, ledgerTable})
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

func leaves(ctx context.Context, q Querier, parent uint32) ([]Leaf, error) {
	rows, err := q.Query(ctx, `
		select c.oid, c.relname, c.relreplident::text, pg_get_expr(c.relpartbound, c.oid), has_table_privilege(c.oid, 'SELECT')
		from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = $1`, parent)
	if err != nil {
		return nil, fmt.Errorf("read the leaves of %s: %w", rowsTable, err)
	}
	var out []Leaf
	var leaf Leaf
	var bound string
	_, err = pgx.ForEachRow(rows, []any{&leaf.OID, &leaf.Name, &leaf.Identity, &bound, &leaf.Readable}, func() error {
		m := listBound.FindStringSubmatch(bound)
		if m == nil {
			return &ShapeError{Reason: fmt.Sprintf("leaf %s holds %s, not one slot; this is not awa's queue storage", leaf.Name, bound)}
		}
		slot, err := strconv.ParseInt(m[1], 10, 32)
		if err != nil {
			return fmt.Errorf("slot of leaf %s: %w", leaf.Name, err)
		}
		leaf.Slot = int32(slot)
		out = append(out, leaf)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the leaves of %s: %w", rowsTable, err)
	}
	slices.SortFunc(out, func(a, b Leaf) int { return int(a.Slot) - int(b.Slot) })
	return out, nil
}

// CheckIdentities refuses a leaf whose deletes would not carry the key.
func (l *Layout) CheckIdentities() error {
	for _, leaf := range l.Leaves {
		if leaf.Identity == "n" || leaf.Identity == "i" {
			name := l.Schema.table(leaf.Name)
			return &ShapeError{l.Schema, fmt.Sprintf(
				"%s has a replica identity of its own, so a DELETE does not tell its group; run: ALTER TABLE %s REPLICA IDENTITY DEFAULT", name, name)}
		}
	}
	return nil
}

func quoteList(names []string) string { return strings.Join(names, ", ") }
