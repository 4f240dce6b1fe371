package reconcile

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// Redistribute makes every counter row of a unit what awa itself would hold, one transaction a unit
// (docs/design.md §12, Leaving). What live corrections left in the daemon's own bucket is a trap: a later retry or
// discard of a row that was counted there takes 1 from a counter row that is not there, and awa's fold throws
// that away. A unit that is locked is waited for.
func (o *OneShot) Redistribute(ctx context.Context, leaf awa.Leaf) (Result, error) {
	for tries := 1; ; tries++ {
		r, err := o.redistribute(ctx, leaf)
		if err == nil || !pg.IsBusy(err) || ctx.Err() != nil {
			return r, err
		}
		if tries == reportAfterWaits && o.Waiting != nil {
			o.Waiting(fmt.Sprintf("ring slot %d is locked; waiting for it (%s)", leaf.Slot, err))
		}
		if err := o.pause(ctx, 100*time.Millisecond); err != nil {
			return r, err
		}
	}
}

// reportAfterWaits is how many waits of scanLockWait pass before a word is said.
const reportAfterWaits = 6

func (o *OneShot) redistribute(ctx context.Context, leaf awa.Leaf) (r Result, err error) {
	tx, err := o.holder.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}) // one statement, one snapshot
	if err != nil {
		return r, fmt.Errorf("reconcile %s: %w", leaf.Name, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	// Counter rows stay locked from the rewrite to the commit: should this process stop in between, the server must not wait for it.
	if _, err := tx.Exec(ctx, `select set_config('lock_timeout', $1, true), set_config('idle_in_transaction_session_timeout', $2, true)`,
		fmt.Sprint(scanLockWait.Milliseconds()), fmt.Sprint(idleWithLocks.Milliseconds())); err != nil {
		return r, fmt.Errorf("reconcile %s: %w", leaf.Name, err)
	}
	if err := o.lockRebuild(ctx, tx); err != nil {
		return r, err
	}
	var dropped map[counter.Group]int64
	if o.Alone && o.layout.Shape.HasLedger() && leaf.Slot != applier.NoLeaf {
		if r.Dropped, dropped, err = o.dropStale(ctx, tx, leaf); err != nil {
			return Result{}, fmt.Errorf("reconcile %s: %w", leaf.Name, err)
		}
	}
	if err := o.rewrite(ctx, tx, leaf, dropped, &r); err != nil {
		return Result{}, fmt.Errorf("reconcile %s: %w", leaf.Name, err)
	}
	if len(r.Drifts) == 0 && r.Moved == 0 && r.Dropped == 0 {
		return r, nil
	}
	o.seq++
	if _, err := tx.Exec(ctx, `select pg_logical_emit_message(true, $1, $2)`, applier.MessagePrefix, applier.Token(tokenName, o.seq)); err != nil {
		return Result{}, fmt.Errorf("reconcile %s: %w", leaf.Name, err)
	}
	if leaf.Slot != applier.NoLeaf {
		if _, err := tx.Exec(ctx, o.layout.DeleteZeroRowsOfSlot(leaf)); err != nil {
			return Result{}, fmt.Errorf("reconcile %s: %w", leaf.Name, err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return Result{}, fmt.Errorf("reconcile %s: %w", leaf.Name, err)
	}
	r.Corrected = len(r.Drifts)
	return r, nil
}

// rewrite is told what has left the ledger in this transaction: a group that was right with it was no drift.
func (o *OneShot) rewrite(ctx context.Context, tx pgx.Tx, leaf awa.Leaf, dropped map[counter.Group]int64, r *Result) error {
	sql := o.layout.RemoveWithoutLeaf()
	if leaf.Slot != applier.NoLeaf {
		sql = o.layout.Redistribute(leaf)
	}
	rows, err := tx.Query(ctx, sql, pgx.QueryExecModeExec)
	if err != nil {
		return err
	}
	g := counter.Group{Slot: leaf.Slot}
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
		if counter += dropped[g]; n != counter {
			r.Drifts = append(r.Drifts, Drift{Group: g, Rows: n, Counter: counter})
		} else {
			r.Moved += int(wrong)
		}
		return nil
	})
	return err
}

// dropStale takes the changes of another generation out of a unit's ledger; rewrite then makes up for them in
// awa's own counter rows. awa's next fold would drop them and make up for nothing, and where its ring stands
// because of them there is no next fold.
func (o *OneShot) dropStale(ctx context.Context, tx pgx.Tx, leaf awa.Leaf) (all int, dropped map[counter.Group]int64, err error) {
	if o.StillAlone != nil {
		if err := o.StillAlone(ctx, tx); err != nil {
			return 0, nil, err
		}
	}
	if _, err := tx.Exec(ctx, o.layout.LockLeaf(leaf)); err != nil {
		return 0, nil, err
	}
	n, err := stale(ctx, tx, o.layout, leaf)
	if err != nil || n == 0 {
		return 0, nil, err
	}
	var may bool
	if err := tx.QueryRow(ctx, o.layout.MayDropStale(leaf)).Scan(&may); err != nil || !may {
		return 0, nil, err // Stale says that they are there
	}
	rows, err := tx.Query(ctx, o.layout.DropStale(leaf), pgx.QueryExecModeExec)
	if err != nil {
		return 0, nil, err
	}
	dropped = make(map[counter.Group]int64)
	g := counter.Group{Slot: leaf.Slot}
	var sum, count int64
	_, err = pgx.ForEachRow(rows, []any{&g.Queue, &g.Priority, &g.Shard, &sum, &count}, func() error {
		dropped[g] = sum
		all += int(count)
		return nil
	})
	return all, dropped, err
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func stale(ctx context.Context, q querier, l *awa.Layout, leaf awa.Leaf) (n int64, err error) {
	if err := q.QueryRow(ctx, l.StaleLedger(leaf)).Scan(&n); err != nil {
		return 0, fmt.Errorf("look at the ledger of ring slot %d: %w", leaf.Slot, err)
	}
	return n, nil
}

// StaleLedger is a unit whose ledger has changes of another generation: the counters are right with them, and
// awa's next fold or prune of it drops them.
type StaleLedger struct {
	Slot    int32
	Changes int64
	Ledger  string // the leaf's table
	May     bool   // this role may delete them, so OneShot.Alone ends it
}

func (u *StaleLedger) String() string {
	return fmt.Sprintf("the ledger of ring slot %d (%[3]s) has %[2]d changes of another generation, which awa's next fold or prune would drop", u.Slot, u.Changes, u.Ledger)
}

// Stale returns such a unit, one that this role may not mend if there is one; nil when there is none.
func (o *OneShot) Stale(ctx context.Context) (found *StaleLedger, err error) {
	if !o.layout.Shape.HasLedger() {
		return nil, nil //nolint:nilnil // none is a state, not an error
	}
	for _, leaf := range o.layout.Leaves {
		n, err := stale(ctx, o.holder, o.layout, leaf)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			continue
		}
		u := &StaleLedger{Slot: leaf.Slot, Changes: n, Ledger: o.layout.LedgerOf(leaf)}
		if err := o.holder.QueryRow(ctx, o.layout.MayDropStale(leaf)).Scan(&u.May); err != nil {
			return nil, fmt.Errorf("look at the rights on %s: %w", u.Ledger, err)
		}
		if found == nil || !u.May {
			found = u
		}
	}
	return found, nil
}
