package awa

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
)

// DefaultSchema is where awa keeps its queue storage unless told otherwise.
const DefaultSchema = "awa"

// Schema is a schema name that needs no quoting.
type Schema string

// awa itself accepts no other names since its migration 23.
var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// taken is the schema of the daemon's own tables.
const taken = "awa_counterd"

// ParseSchema checks a name from a flag or from the database.
func ParseSchema(name string) (Schema, error) {
	if !schemaName.MatchString(name) || name == taken {
		return "", &SchemaNameError{Name: name}
	}
	return Schema(name), nil
}

// SchemaNameError is a schema that awa could not have made, or where it would be in the daemon's.
type SchemaNameError struct{ Name string }

func (e *SchemaNameError) Error() string {
	if e.Name == taken {
		return fmt.Sprintf("schema %q: awa-counterd has its own tables in a schema of that name, and removes it at the end; "+
			"give awa's another name (ALTER SCHEMA %s RENAME TO ...) and pass that with --schema", e.Name, e.Name)
	}
	return fmt.Sprintf("schema %q: awa's schema names are lower-case letters, digits and underscores, "+
		"not starting with a digit, at most 63 long; pass one with --schema", e.Name)
}

// The names of awa's that we read or write.
const (
	rowsTable         = "done_entries"
	countersTable     = "queue_terminal_live_counts"
	ringTable         = "queue_ring_state"
	ringSlotsTable    = "queue_ring_slots"
	rotationsTable    = "queue_ring_rotations" // awa 0.7
	rollupsTable      = "queue_terminal_rollups"
	rollupDeltasTable = "queue_terminal_rollup_deltas"
	ledgerTable       = "queue_terminal_count_deltas"
	receiptsTable     = "receipt_completion_batches"

	slotColumn         = "ready_slot"
	generationColumn   = "ready_generation"
	queueColumn        = "queue"
	priorityColumn     = "priority"
	shardColumn        = "enqueue_shard"
	jobColumn          = "job_id"
	countColumn        = "live_terminal_count"
	bucketColumn       = "counter_bucket"
	deltaColumn        = "terminal_delta"
	markerColumn       = "terminal_counter_trusted_at"
	prunedColumn       = "pruned_completed_count"
	prunedFailedColumn = "pruned_failed_count"
	foldedColumn       = "pruned_completed_delta"
	foldedFailedColumn = "pruned_failed_delta"
)

// table qualifies a name. awa's own need no quoting, and stay readable; what a leaf is called is up to whoever made it.
func (s Schema) table(name string) string {
	if schemaName.MatchString(name) {
		return string(s) + "." + name
	}
	return string(s) + "." + pgx.Identifier{name}.Sanitize()
}

// literal is a text as SQL has it.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// RowsTable is the qualified name of done_entries, for messages and statements shown to people.
func (s Schema) RowsTable() string { return s.table(rowsTable) }

// Tables lists the names of all tables by which an awa is known. Some may not be there.
func Tables() []string {
	return []string{rowsTable, countersTable, ringTable, rollupsTable, rollupDeltasTable, ledgerTable, receiptsTable, rotationsTable}
}

// Published lists the qualified names of all tables that any shape of awa's has published. Some may not be there.
func (s Schema) Published() []string {
	return append(s.Counting(), s.table(rowsTable), s.table(ringTable), s.table(rollupsTable), s.table(rollupDeltasTable))
}

// Counting lists those of them of which the counters are made up.
func (s Schema) Counting() []string { return []string{s.table(countersTable), s.table(ledgerTable)} }

// RebuildLock is the key text of the advisory lock that awa's rebuild takes.
func (s Schema) RebuildLock() string {
	return "awa.queue_storage.rebuild_terminal_counters:" + string(s)
}
