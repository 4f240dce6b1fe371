package reconcile

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/pg"
	"github.com/awa-counterd/awa-counterd/internal/terminal"
)

// Redistribute makes every counter row of a unit what awa itself would hold, one transaction a unit
// (docs/design.md §12, Leaving). What live corrections left in our own bucket is a trap: a later retry or
// discard of a row that was counted there takes 1 from a counter row that is not there, and awa's fold throws
// that away. A unit that is locked is waited for.
func (o *OneShot) Redistribute(ctx context.Context, leaf awa.Leaf) (Result, error) {
	for tries := 1; ; tries++ {
		r, err := o.redistribute(ctx, leaf)
		if err == nil || !pg.IsBusy(err) || ctx.Err() != nil {
			return r, err
		}
		if tries == sayAfter && o.Waiting != nil {
			o.Waiting(fmt.Sprintf("slot %d is locked; waiting for it (%s)", leaf.Slot, err))
		}
		if err := o.pause(ctx, 100*time.Millisecond); err != nil {
			return r, err
		}
	}
}

// sayAfter is how many waits of scanLockWait pass before a word is said.
const sayAfter = 6

func (o *OneShot) redistribute(ctx context.Context, leaf awa.Leaf) (r Result, err error) {
	tx, err := o.holder.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}) // one statement, one snapshot
	if err != nil {
		return r, fmt.Errorf("reconcile %s: %w", leaf.Name, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := tx.Exec(ctx, `select set_config('lock_timeout', $1, true)`, fmt.Sprint(scanLockWait.Milliseconds())); err != nil {
		return r, fmt.Errorf("reconcile %s: %w", leaf.Name, err)
	}
	if err := o.lockRebuild(ctx, tx); err != nil {
		return r, err
	}
	if err := o.rewrite(ctx, tx, leaf, &r); err != nil {
		return Result{}, fmt.Errorf("reconcile %s: %w", leaf.Name, err)
	}
	if len(r.Drifts) == 0 && r.Moved == 0 {
		return r, nil
	}
	o.seq++
	if _, err := tx.Exec(ctx, `select pg_logical_emit_message(true, $1, $2)`, applier.MessagePrefix, applier.Token(name, o.seq)); err != nil {
		return Result{}, fmt.Errorf("reconcile %s: %w", leaf.Name, err)
	}
	if leaf.Slot != applier.NoLeaf {
		if _, err := tx.Exec(ctx, o.layout.SweepSlot(leaf)); err != nil {
			return Result{}, fmt.Errorf("reconcile %s: %w", leaf.Name, err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return Result{}, fmt.Errorf("reconcile %s: %w", leaf.Name, err)
	}
	r.Corrected = len(r.Drifts)
	return r, nil
}

func (o *OneShot) rewrite(ctx context.Context, tx pgx.Tx, leaf awa.Leaf, r *Result) error {
	sql := o.layout.RemoveElsewhere()
	if leaf.Slot != applier.NoLeaf {
		sql = o.layout.Redistribute(leaf)
	}
	rows, err := tx.Query(ctx, sql, pgx.QueryExecModeExec)
	if err != nil {
		return err
	}
	g := terminal.Group{Slot: leaf.Slot}
	var n, counter, wrong int64
	into := []any{&g.Queue, &g.Priority, &g.Shard, &n, &counter, &wrong}
	if leaf.Slot == applier.NoLeaf {
		into = append([]any{&g.Slot}, into...)
	}
	_, err = pgx.ForEachRow(rows, into, func() error {
		r.Rows += n
		if n != 0 || counter != 0 || wrong != 0 {
			r.Groups++
		}
		if n != counter {
			r.Drifts = append(r.Drifts, Drift{Group: g, Rows: n, Counter: counter})
		} else {
			r.Moved += int(wrong)
		}
		return nil
	})
	return err
}

// Stale names a unit whose ledger has changes of another generation, which awa's next fold would drop; ""
// when there is none.
func (o *OneShot) Stale(ctx context.Context) (string, error) {
	if !o.layout.Shape.HasLedger() {
		return "", nil
	}
	for _, leaf := range o.layout.Leaves {
		var n int64
		if err := o.holder.QueryRow(ctx, o.layout.StaleLedger(leaf)).Scan(&n); err != nil {
			return "", fmt.Errorf("look at the ledger of slot %d: %w", leaf.Slot, err)
		}
		if n > 0 {
			return fmt.Sprintf("slot %d has %d changes of another generation in its ledger (%s), which awa's next fold or prune of it drops; where its ring stands, awa storage rebuild-terminal-counters does", leaf.Slot, n, leaf.Ledger.Name), nil
		}
	}
	return "", nil
}
