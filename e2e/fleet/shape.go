package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// The shapes that awa's counter has had (docs/design.md §12).
const (
	Direct  = "306"     // one row a group, updated in the writer's own transaction; change #306
	Striped = "striped" // one row a group and bucket, the same way; migrations 27 and 28
	Ledger  = "ledger"  // the same rows, and signed deltas that the leader folds into them; 0.6.0b2 and later
)

// Shapes are all of them, the oldest first.
func Shapes() []string { return []string{Direct, Striped, Ledger} }

// Releases of the ledger that differ in what they do. 0.7 is not published: it is imitated from its source.
const (
	Beta2  = "b2"
	Latest = "0.6.9" // the ledger's release when none is named
	Next   = "0.7"
)

// Known says what is wrong with the name of a shape or of a release.
func Known(shape, release string) error {
	if shape != "" && !slices.Contains(Shapes(), shape) {
		return fmt.Errorf("no shape %q; there are %s", shape, strings.Join(Shapes(), ", "))
	}
	if release != "" && release != Beta2 && release != Next && (len(release) != len(Latest) || release < "0.6.0" || release > Latest) {
		return fmt.Errorf("no release %q; there are %s, 0.6.0 to %s, %s", release, Beta2, Latest, Next)
	}
	return nil
}

// form is a shape, and for the ledger the release, with what follows from them.
type form struct{ shape, release string }

func (f form) ledger() bool { return f.shape == Ledger }

// bucketed: a group has a counter row for each job_id mod 256 that occurs.
func (f form) bucketed() bool { return f.shape == Striped || f.shape == Ledger }

func (f form) named() string {
	if f.release == "" {
		return Latest
	}
	return f.release
}

// since reports whether the release is the given one or a later one; a beta comes before all of them.
func (f form) since(release string) bool {
	return f.ledger() && f.named() != Beta2 && f.named() >= release
}

// receipts: plain successes leave a batch instead of rows, and failed rows outlive their slot.
func (f form) receipts() bool { return f.since("0.6.0") }

// sparing: the leader does not truncate a slot that is empty already.
func (f form) sparing() bool { return f.since("0.6.4") }

// deferred: what a prune adds to the rollups is appended first, and folded into them later.
func (f form) deferred() bool { return f.since(Next) }

// patience is how long the leader waits for a lock.
func (f form) patience() string {
	if f.receipts() {
		return "10ms"
	}
	return "50ms"
}

// key lists the columns that identify a counter row.
func (f form) key() string {
	if f.bucketed() {
		return "ready_slot, queue, priority, enqueue_shard, counter_bucket"
	}
	return "ready_slot, queue, priority, enqueue_shard"
}

// short is the same in the names of unnest.
func (f form) short() string {
	if f.bucketed() {
		return "s, q, p, h, b"
	}
	return "s, q, p, h"
}

// catalog is what a database has, whoever made it.
type catalog struct{ buckets, ledger, receipts, failed, deferred bool }

// found reads the catalog. A migration may change it at any time: it is looked at before every reading.
func found(ctx context.Context, q Querier, schema string) (c catalog, err error) {
	const sql = `select
		exists (select 1 from pg_attribute where attrelid = to_regclass($1 || '.queue_terminal_live_counts') and attname = 'counter_bucket'),
		to_regclass($1 || '.queue_terminal_count_deltas') is not null,
		to_regclass($1 || '.receipt_completion_batches') is not null,
		exists (select 1 from pg_attribute where attrelid = to_regclass($1 || '.queue_terminal_rollups') and attname = 'pruned_failed_count'),
		to_regclass($1 || '.queue_terminal_rollup_deltas') is not null`
	if err := q.QueryRow(ctx, sql, schema).Scan(&c.buckets, &c.ledger, &c.receipts, &c.failed, &c.deferred); err != nil {
		return c, fmt.Errorf("look at the shape: %w", err)
	}
	return c, nil
}
