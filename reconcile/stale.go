package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
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
	if bars, err := readBars(ctx, tx, o.layout, leaf); err != nil || bars.any() {
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
	if pg.IsUnidentified(err) { // somebody has published it since it was looked at
		r := pg.Refuse(fmt.Sprintf("run: ALTER TABLE %s REPLICA IDENTITY FULL; then run it again", o.layout.LedgerOf(leaf)), "somebody publishes deletes of %s: %s", o.layout.LedgerOf(leaf), err)
		r.Err = err
		return 0, nil, r
	}
	return all, dropped, err
}

// bars are what keeps changes in a ledger's leaf that are of another generation.
type bars struct {
	denied       bool
	publications []string
	mends        []string // statements, of the publications
}

func (b bars) any() bool { return b.denied || len(b.publications) > 0 }

func readBars(ctx context.Context, q querier, l *awa.Layout, leaf awa.Leaf) (b bars, err error) {
	may := false
	if err := q.QueryRow(ctx, l.MayDropStale(leaf)).Scan(&may, &b.publications, &b.mends); err != nil {
		return b, fmt.Errorf("look at what may be done to %s: %w", l.LedgerOf(leaf), err)
	}
	b.denied = !may
	return b, nil
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
// awa's next fold or prune of each drops them. OneShot.Alone takes them out, where nothing bars that.
type StaleLedgers struct {
	Units        int
	Changes      int64    // of all
	Slot         int32    // of one, which is barred if there is such a one
	Ledger       string   // its leaf's table
	Role         string   // the current user
	Denied       []string // the tables from which it may not delete
	Publications []string // of whom deletes of a ledger are published that has no replica identity: the server refuses any
	Mends        []string // the statements that end that
}

func (u *StaleLedgers) String() string {
	of := fmt.Sprintf("the ledger of ring slot %d (%s) has", u.Slot, u.Ledger)
	if u.Units > 1 {
		of = fmt.Sprintf("the ledger of ring slot %d (%s) and %d more have", u.Slot, u.Ledger, u.Units-1)
	}
	return fmt.Sprintf("%s %d changes of another generation, which awa's next fold or prune would drop", of, u.Changes)
}

// May says that this role may mend all of them.
func (u *StaleLedgers) May() bool { return len(u.Denied) == 0 && len(u.Publications) == 0 }

// Barred says what bars the command that would mend them, and the statements without which it does.
func (u *StaleLedgers) Barred(command string) string {
	why, mends := "", slices.Clone(u.Mends)
	if len(u.Publications) > 0 {
		why = fmt.Sprintf("; publication %s publishes deletes, and the server refuses a DELETE on a table that has no replica identity", strings.Join(u.Publications, ", "))
	}
	if len(u.Denied) > 0 {
		mends = append(mends, fmt.Sprintf("GRANT DELETE ON %s TO %s", strings.Join(u.Denied, ", "), pgx.Identifier{u.Role}.Sanitize()))
	}
	return fmt.Sprintf("%s%s; %s can move them to the counters if you run: %s", u, why, command, strings.Join(mends, "; "))
}

func (u *StaleLedgers) add(table string, b bars) {
	if b.denied {
		u.Denied = append(u.Denied, table)
	}
	for _, name := range b.publications {
		if !slices.Contains(u.Publications, name) {
			u.Publications = append(u.Publications, name)
		}
	}
	for _, statement := range b.mends { // one publication may bar several
		if !slices.Contains(u.Mends, statement) {
			u.Mends = append(u.Mends, statement)
		}
	}
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
		bars, err := readBars(ctx, q, l, leaf)
		if err != nil {
			return nil, err
		}
		table := l.LedgerOf(leaf)
		if found.Units == 0 || bars.any() && found.May() {
			found.Slot, found.Ledger = leaf.Slot, table
		}
		found.add(table, bars)
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
