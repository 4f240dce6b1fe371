package corrections

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// Cleared is what Clear has done.
type Cleared struct {
	Marker bool // it was set, or may have been, and is not any more
	Unread bool // this role may not read it: it was written, set or not
}

// Clear clears the marker without a lead, in the table that awa.Layout's RingTable or RingName names. guard is a further condition on
// args, which reads nothing of that table. A marker that is set all the same is a *pg.Refusal that names what keeps it, and
// applier.ErrKept. A busy row is an error for which pg.IsBusy holds.
func Clear(ctx context.Context, c *pgx.Conn, ring, guard string, args ...any) (Cleared, error) {
	cleared, kept, err := clearAndLook(ctx, c, ring, guard, args)
	unread := pg.IsDenied(err)
	if unread {
		cleared, err = clearUnread(ctx, c, awa.ClearUnreadOf(ring, guard), args)
	}
	switch {
	case err != nil:
		return Cleared{}, fmt.Errorf("clear the marker: %w", err)
	case kept:
		return Cleared{}, Kept(ctx, c, ring)
	}
	return Cleared{Marker: cleared, Unread: unread}, nil
}

// clearAndLook is one round trip, and one transaction: what a trigger does to the marker is seen before anybody else can.
func clearAndLook(ctx context.Context, c *pgx.Conn, ring, guard string, args []any) (cleared, kept bool, err error) {
	b := &pgx.Batch{}
	b.Queue(awa.ClearMarkerOf(ring, guard), args...).Exec(func(tag pgconn.CommandTag) error {
		cleared = tag.RowsAffected() == 1
		return nil
	})
	b.Queue(fmt.Sprintf(`select %s and %s`, awa.MarkerIsSetOf(ring), guard), args...).QueryRow(func(row pgx.Row) error {
		return row.Scan(&kept)
	})
	err = c.SendBatch(ctx, b).Close()
	return cleared, kept, err
}

// clearUnread clears a marker that this role may not read. Sessions of awa-counterd refuse to see a part of a table, as row level security
// would show it (row_security = off); to clear a marker, a part will do.
func clearUnread(ctx context.Context, c *pgx.Conn, statement string, args []any) (cleared bool, err error) {
	err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local row_security = on`); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, statement, args...)
		cleared = tag.RowsAffected() == 1
		return err
	})
	return cleared, err
}

// Kept is the refusal to take a marker for cleared that is set all the same.
func Kept(ctx context.Context, c *pgx.Conn, ring string) error {
	err := awa.WhoKeeps(ctx, c, ring)
	return &pg.Refusal{Problem: err.Error(), Err: errors.Join(applier.ErrKept, err)}
}
