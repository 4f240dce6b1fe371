package reconcile

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// dropStale takes the changes of another generation out of a unit's ledger; rewrite then makes up for them in
// awa's own counter rows. awa's next fold would drop them and make up for nothing, and where its ring stands
// because of them there is no next fold.
func (o *OneShot) dropStale(ctx context.Context, tx pgx.Tx, leaf awa.Leaf) (all int, dropped byBucket, err error) {
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
	dropped = make(byBucket)
	g := counter.Group{Slot: leaf.Slot}
	var bucket int16
	var sum, count int64
	_, err = pgx.ForEachRow(rows, []any{&g.Queue, &g.Priority, &g.Shard, &bucket, &sum, &count}, func() error {
		dropped.add(g, bucket, sum)
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
		var n int64
		err := o.waits(ctx, "the ledger of "+ringSlot(leaf), leaf, func() (err error) {
			n, err = stale(ctx, o.holder, o.layout, leaf)
			return err
		})
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
