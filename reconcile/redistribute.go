package reconcile

import (
	"context"
	"fmt"
	"maps"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// Redistribute makes every counter row of a unit what awa itself would hold, one transaction a unit
// (docs/design.md §12, Leaving). What live corrections left in the daemon's own bucket is a trap: a later retry or
// discard of a row that was counted there takes 1 from a counter row that is not there, and awa's fold throws
// that away. A unit that is locked is waited for.
func (o *OneShot) Redistribute(ctx context.Context, leaf awa.Leaf) (Result, error) {
	var r Result
	err := o.waits(ctx, ringSlot(leaf), leaf, func() (err error) {
		r, err = o.redistribute(ctx, leaf)
		return err
	})
	return r, err
}

func (o *OneShot) redistribute(ctx context.Context, leaf awa.Leaf) (r Result, err error) {
	tx, err := o.holder.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}) // one statement, one snapshot
	if err != nil {
		return r, fmt.Errorf("reconcile %s: %w", leaf.Name, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	// Counter rows stay locked from the rewrite to the commit: should this process stop in between, the server must not wait for it.
	if _, err := tx.Exec(ctx, fmt.Sprintf(`set local idle_in_transaction_session_timeout = %d`, idleWithLocks.Milliseconds())); err != nil {
		return r, fmt.Errorf("reconcile %s: %w", leaf.Name, err)
	}
	if err := o.lockRebuild(ctx, tx); err != nil {
		return r, err
	}
	var dropped byBucket
	if o.Alone && o.layout.Shape.HasLedger() && leaf.Slot != applier.NoLeaf {
		if r.Dropped, dropped, err = o.dropStale(ctx, tx, leaf); err != nil {
			return Result{}, fmt.Errorf("reconcile %s: %w", leaf.Name, err)
		}
	}
	if err := o.rewrite(ctx, tx, leaf, dropped, &r); err != nil {
		return Result{}, fmt.Errorf("reconcile %s: %w", leaf.Name, err)
	}
	if len(r.Drifts) == 0 && len(r.Uneven) == 0 && r.Dropped == 0 {
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

// rewrite is told what has left the ledger in this transaction: what was right with it was not wrong.
func (o *OneShot) rewrite(ctx context.Context, tx pgx.Tx, leaf awa.Leaf, dropped byBucket, r *Result) error {
	sql := o.layout.RemoveWithoutLeaf()
	if leaf.Slot != applier.NoLeaf {
		sql = o.layout.Redistribute(leaf)
	}
	rows, err := tx.Query(ctx, sql, pgx.QueryExecModeExec)
	if err != nil {
		return err
	}
	return collectBuckets(rows, leaf, dropped, r)
}

// byBucket are sums of changes by group and bucket.
type byBucket map[counter.Group]map[int16]int64

func (b byBucket) add(g counter.Group, bucket int16, n int64) {
	if b[g] == nil {
		b[g] = make(map[int16]int64)
	}
	b[g][bucket] += n
}

func (b byBucket) sum(g counter.Group) (n int64) {
	for _, one := range b[g] {
		n += one
	}
	return n
}

// uneven counts the buckets of a group that are wrong: off is what has to be added to some now that dropped is gone.
func (b byBucket) uneven(g counter.Group, buckets []int16, off []int64) (n int) {
	left := maps.Clone(b[g])
	for i, bucket := range buckets {
		if off[i] != left[bucket] {
			n++
		}
		delete(left, bucket)
	}
	for _, one := range left { // right without what was dropped, so wrong with it
		if one != 0 {
			n++
		}
	}
	return n
}

// collectBuckets reads what awa.Layout.CompareBuckets yields, or CompareWithoutLeaf.
func collectBuckets(rows pgx.Rows, leaf awa.Leaf, dropped byBucket, r *Result) error {
	g := counter.Group{Slot: leaf.Slot}
	var n, counter int64
	var buckets []int16
	var off []int64
	into := []any{&g.Queue, &g.Priority, &g.Shard, &n, &counter, &buckets, &off}
	if leaf.Slot == applier.NoLeaf {
		into = append([]any{&g.Slot}, into...)
	}
	_, err := pgx.ForEachRow(rows, into, func() error {
		r.Rows += n
		if n != 0 || counter != 0 || len(buckets) != 0 {
			r.Groups++
		}
		uneven := dropped.uneven(g, buckets, off)
		if counter += dropped.sum(g); n != counter {
			r.Drifts = append(r.Drifts, Drift{Group: g, Rows: n, Counter: counter})
		} else if uneven > 0 {
			r.Uneven = append(r.Uneven, Uneven{Group: g, Rows: uneven})
		}
		return nil
	})
	return err
}

// Look compares every counter row where Run compares the groups: what an old binary wrote of one job, and took back of another, adds up
// to what is right, until awa folds. Where awa does not spread a group over buckets there is no difference.
func (o *OneShot) Look(ctx context.Context, progress Progress) (Result, error) {
	if !o.layout.Shape.HasBuckets() {
		return o.Run(ctx, false, progress)
	}
	return o.each(ctx, o.look, progress)
}

func (o *OneShot) look(ctx context.Context, leaf awa.Leaf) (r Result, err error) {
	sql := o.layout.CompareWithoutLeaf()
	if leaf.Slot != applier.NoLeaf {
		sql = o.layout.CompareBuckets(leaf)
	}
	err = o.waits(ctx, ringSlot(leaf), leaf, func() error {
		r = Result{}
		rows, err := o.holder.Query(ctx, sql, pgx.QueryExecModeExec)
		if err != nil {
			return fmt.Errorf("look at %s: %w", leaf.Name, err)
		}
		if err := collectBuckets(rows, leaf, nil, &r); err != nil {
			return fmt.Errorf("look at %s: %w", leaf.Name, err)
		}
		return nil
	})
	return r, err
}
