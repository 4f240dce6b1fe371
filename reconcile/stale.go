package reconcile

import (
	"context"
	"fmt"
	"strings"

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

// StaleLedgers are units whose ledgers have changes of another generation: the counters are right with them, and
// awa's next fold or prune of each drops them.
type StaleLedgers struct {
	Units   int
	Changes int64    // of all
	Slot    int32    // of one, which this role may not mend if there is such a one
	Ledger  string   // its leaf's table
	Role    string   // the current user
	Denied  []string // the tables from which it may not delete; of the others OneShot.Alone takes them out
}

func (u *StaleLedgers) String() string {
	of := fmt.Sprintf("the ledger of ring slot %d (%s) has", u.Slot, u.Ledger)
	if u.Units > 1 {
		of = fmt.Sprintf("the ledger of ring slot %d (%s) and %d more have", u.Slot, u.Ledger, u.Units-1)
	}
	return fmt.Sprintf("%s %d changes of another generation, which awa's next fold or prune would drop", of, u.Changes)
}

// May says that this role may mend all of them.
func (u *StaleLedgers) May() bool { return len(u.Denied) == 0 }

// Grant is the statement without which it may not.
func (u *StaleLedgers) Grant() string {
	return fmt.Sprintf("GRANT DELETE ON %s TO %s", strings.Join(u.Denied, ", "), pgx.Identifier{u.Role}.Sanitize())
}

// Stale returns such units; nil when there is none.
func (o *OneShot) Stale(ctx context.Context) (*StaleLedgers, error) {
	return findStale(ctx, o.holder, o.layout, func(leaf awa.Leaf, look func() error) error {
		return o.waits(ctx, "the ledger of "+ringSlot(leaf), leaf, look)
	})
}

// StaleNow is Stale without waiting for anybody's lock any longer than the connection does.
func StaleNow(ctx context.Context, q querier, l *awa.Layout) (*StaleLedgers, error) {
	return findStale(ctx, q, l, func(_ awa.Leaf, look func() error) error { return look() })
}

func findStale(ctx context.Context, q querier, l *awa.Layout, waits func(leaf awa.Leaf, look func() error) error) (*StaleLedgers, error) {
	if !l.Shape.HasLedger() {
		return nil, nil //nolint:nilnil // none is a state, not an error
	}
	var found StaleLedgers
	for _, leaf := range l.Leaves {
		var n int64
		err := waits(leaf, func() (err error) {
			n, err = stale(ctx, q, l, leaf)
			return err
		})
		if err != nil {
			return nil, err
		}
		if n == 0 {
			continue
		}
		table, may := l.LedgerOf(leaf), false
		if err := q.QueryRow(ctx, l.MayDropStale(leaf)).Scan(&may); err != nil {
			return nil, fmt.Errorf("look at the rights on %s: %w", table, err)
		}
		if found.Units == 0 || !may && found.May() {
			found.Slot, found.Ledger = leaf.Slot, table
		}
		if !may {
			found.Denied = append(found.Denied, table)
		}
		found.Units, found.Changes = found.Units+1, found.Changes+n
	}
	if found.Units == 0 {
		return nil, nil //nolint:nilnil // none is a state, not an error
	}
	if err := q.QueryRow(ctx, `select current_user::text`).Scan(&found.Role); err != nil {
		return nil, fmt.Errorf("look who the current user is: %w", err)
	}
	return &found, nil
}
