package awa

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Layout is what the catalog says about one schema at one moment.
type Layout struct {
	Schema    Schema
	Shape     Shape
	Leaves    []Leaf // by slot
	HasMarker bool
	Rows      uint32 // OIDs, of done_entries and of the ledger those of the parents
	Ledger    uint32
	Counters  uint32
	Ring      uint32
	Rollups   uint32 // 0 when there is no such table
	// RollupDeltas is where prunes append to instead of changing the rollups (awa 0.7); 0 for nowhere.
	RollupDeltas uint32
	// FoldsFailed: the rollups keep failed jobs by themselves.
	FoldsFailed bool
	// State changes with whatever was done to a table that may have changed its rows, or what its stream means,
	// without a word in the stream (table_marks.go).
	State string
	// Rotations: the ring's generation is in a table of rotations, and may be gone from the slots (awa 0.7).
	Rotations bool
	// Receipts: prunes also fold batches of jobs that never were rows, and carry failed rows on.
	Receipts bool
	// columns are those of counters, ring and rollups, by OID, in the order of the table.
	columns map[uint32][]string
}

// Leaf is one slot of the ring: a partition of done_entries, and of the ledger where there is one.
type Leaf struct {
	Slot int32
	Partition
	Ledger Partition // zero without a ledger
}

// Partition is one table of a partitioned one.
type Partition struct {
	OID      uint32
	Name     string
	Identity string   // pg_class.relreplident
	Kind     string   // pg_class.relkind
	Unlogged bool     // or temporary
	Readable bool     // this role may select what we read from it, not only through its parent
	Columns  []string // in the order of the table
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
	out := []uint32{l.Counters, l.Ring}
	for _, leaf := range l.Leaves {
		out = append(out, leaf.OID)
	}
	if l.Rollups != 0 {
		out = append(out, l.Rollups)
	}
	return out
}

// LedgerPublished lists the tables that have no primary key, so that only what is inserted and truncated
// may be published of them: with anything more awa's own statements fail. None without a ledger.
func (l *Layout) LedgerPublished() (out []string) {
	if !l.Shape.ledger {
		return nil
	}
	out = append(out, l.Schema.table(ledgerTable))
	if l.RollupDeltas != 0 {
		out = append(out, l.Schema.table(rollupDeltasTable))
	}
	return out
}

// LedgerSources lists the relations that those changes come from.
func (l *Layout) LedgerSources() (out []uint32) {
	if !l.Shape.ledger {
		return nil
	}
	for _, leaf := range l.Leaves {
		out = append(out, leaf.Ledger.OID)
	}
	if l.RollupDeltas != 0 {
		out = append(out, l.RollupDeltas)
	}
	return out
}

// OIDs lists the relations whose replacement by others means that the books are worth nothing.
func (l *Layout) OIDs() []uint32 {
	out := []uint32{l.Counters, l.Ring}
	for _, leaf := range l.Leaves {
		out = append(out, leaf.OID)
		if l.Shape.ledger {
			out = append(out, leaf.Ledger.OID)
		}
	}
	return out
}

// Equivalent reports whether two looks saw tables that mean the same.
func (l *Layout) Equivalent(o *Layout) bool {
	return l.Schema == o.Schema && l.Fingerprint() == o.Fingerprint() && slices.Equal(l.OIDs(), o.OIDs()) &&
		l.Rollups == o.Rollups && l.RollupDeltas == o.RollupDeltas && l.State == o.State
}

// Fingerprint tells layouts apart that do not mean the same, their relations aside.
func (l *Layout) Fingerprint() string {
	return fmt.Sprintf("%s; marker %t, failed jobs folded apart %t, receipts %t, rollups %t, rollup deltas %t",
		l.Shape.name, l.HasMarker, l.FoldsFailed, l.Receipts, l.Rollups != 0, l.RollupDeltas != 0)
}

// Describe names the shape, with what releases of the ledger differ in.
func (l *Layout) Describe() string {
	text := l.Shape.Name()
	if l.Receipts {
		text += " with receipts"
	}
	if l.RollupDeltas != 0 {
		text += " and rollup deltas"
	}
	return text
}

// ErrNotYet says that awa's counter table is not there; its migration has not run.
var ErrNotYet = errors.New("the counter table does not exist yet")

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
	hidden, err := rowSecurity(ctx, q, "c.oid = to_regclass('awa.runtime_storage_backends')", "current_user")
	switch {
	case err != nil:
		return "", err
	case len(hidden) > 0:
		return "", &RowSecurityError{Tables: hidden, So: "it cannot be known which schema of awa's is active"}
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

// CheckLeaves refuses a leaf of which not every change is streamed, or whose deletes would not carry the key.
func (l *Layout) CheckLeaves() error {
	for _, leaf := range l.Leaves {
		for _, p := range []Partition{leaf.Partition, leaf.Ledger} {
			name := l.Schema.table(p.Name)
			switch {
			case p.OID == 0:
			case p.Kind != "r":
				return &ShapeError{l.Schema, fmt.Sprintf("%s is not an ordinary table (relkind %s), so its changes are not streamed", name, p.Kind)}
			case p.Unlogged:
				return &ShapeError{l.Schema, fmt.Sprintf("%s is unlogged, so none of its changes is streamed; run: ALTER TABLE %s SET LOGGED", name, name)}
			}
		}
		if leaf.Identity == "n" || leaf.Identity == "i" {
			name := l.Schema.table(leaf.Name)
			return &ShapeError{l.Schema, fmt.Sprintf(
				"the replica identity of %s was changed, so a DELETE in the stream does not name its group; run: ALTER TABLE %s REPLICA IDENTITY DEFAULT", name, name)}
		}
	}
	return nil
}

// RingName finds the table with the marker by its OID, under whatever name it has now; "" when it is gone.
func (l *Layout) RingName(ctx context.Context, q Querier) (string, error) {
	var name string
	err := q.QueryRow(ctx, `select coalesce((select format('%I.%I', n.nspname, c.relname) from pg_class c
		join pg_namespace n on n.oid = c.relnamespace where c.oid = $1), '')`, l.Ring).Scan(&name)
	if err != nil {
		return "", fmt.Errorf("look what awa's %s is called now: %w", ringTable, err)
	}
	return name, nil
}

func (l *Layout) countersName() string { return l.Schema.table(countersTable) }

func quoteList(names []string) string { return strings.Join(names, ", ") }
