package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrBlocked says that a leader gave up on a lock, as awa's do; it tries again at the next tick.
var ErrBlocked = errors.New("blocked")

// ErrCounterLocked says that it was a counter row that a prune waited for at its end. awa's leaders log
// that as a failed prune, not as a blocked one. It comes with ErrBlocked.
var ErrCounterLocked = errors.New("a counter row was locked")

// Rotate moves the ring on by one slot, unless the next one still has rows: for a new leader, in the ledger
// and in what its release has beside it, too.
func (w Writer) Rotate(ctx context.Context, tx pgx.Tx) error {
	var current, count int32
	var generation int64
	err := tx.QueryRow(ctx, fmt.Sprintf(`select current_slot, generation, slot_count from %s.queue_ring_state where singleton for update`, w.Schema)).
		Scan(&current, &generation, &count)
	if err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	next := (current + 1) % count
	if w.form().ledger() { // Writer.generation says why; awa's rotate takes no such lock
		if _, err := tx.Exec(ctx, fmt.Sprintf(`set local lock_timeout = '50ms'; lock table %s.done_entries_%d in share mode`, w.Schema, next)); err != nil {
			return blocked("rotate", err)
		}
		if _, err := tx.Exec(ctx, `set local lock_timeout to default`); err != nil { // what comes now waits in awa, too
			return fmt.Errorf("rotate: %w", err)
		}
	}
	var busy []string
	for _, leaf := range w.leaves(next) {
		busy = append(busy, fmt.Sprintf("exists (select 1 from %s)", leaf))
	}
	_, err = tx.Exec(ctx, fmt.Sprintf(`
		with next as (select where not (%[4]s)),
		state as (update %[1]s.queue_ring_state set current_slot = %[2]d, generation = %[3]d from next where singleton)
		update %[1]s.queue_ring_slots set generation = %[3]d from next where slot = %[2]d`,
		w.Schema, next, generation+1, strings.Join(busy, " or ")))
	if err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	return nil
}

// leaves are a slot's tables that this leader's release knows, in the order in which it locks them. An old
// leader leaves what came after it alone. Of the real ones, ready_claim_attempt_batches and ready_segments
// are not imitated.
func (w Writer) leaves(slot int32) []string {
	names := []string{"ready_entries", "done_entries"}
	if w.Counted && w.form().bucketed() {
		names = append(names, "ready_tombstones")
	}
	if w.Counted && w.form().receipts() {
		names = append(names, "receipt_completion_batches", "receipt_completion_tombstones")
	}
	if w.Counted && w.form().ledger() {
		names = append(names, "queue_terminal_count_deltas")
	}
	for i, n := range names {
		names[i] = fmt.Sprintf("%s.%s_%d", w.Schema, n, slot)
	}
	return names
}

func blocked(what string, err error) error {
	var e *pgconn.PgError
	if errors.As(err, &e) && e.Code == "55P03" {
		return fmt.Errorf("%s: %w: %w", what, ErrBlocked, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
