package checkpoint

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// channel is where a daemon is asked for a fresh checkpoint; the payload is the awa schema. Whoever may read the
// checkpoint may ask: a notification needs no right.
const channel = "awa_counterd"

// Listen has a connection hear of who asks.
func Listen(ctx context.Context, c Conn) error {
	if _, err := c.Exec(ctx, `listen `+channel); err != nil {
		return fmt.Errorf("listen for who asks for a checkpoint: %w", err)
	}
	return nil
}

// notified is a connection that keeps what it was notified of; a *pgx.Conn is one.
type notified interface {
	WaitForNotification(ctx context.Context) (*pgconn.Notification, error)
}

// WasRequested reports whether somebody has asked for a checkpoint of a schema, as far as the connection's last query
// brought that along.
func WasRequested(ctx context.Context, c notified, awaSchema string) (asked bool) {
	over, cancel := context.WithCancel(ctx)
	cancel() // what has come is there; nothing is waited for
	for {
		n, err := c.WaitForNotification(over)
		if err != nil {
			return asked
		}
		asked = asked || (n.Channel == channel && n.Payload == awaSchema)
	}
}

// requestTimeout is how long a daemon may take: it hears of a question once a second.
const requestTimeout = 5 * time.Second

// Request asks the daemon for a checkpoint that has everything committed before now, and waits for it. It reports
// false when none came.
func Request(ctx context.Context, c *pgx.Conn, awaSchema string) (bool, error) {
	var at string
	if err := c.QueryRow(ctx, `select pg_current_wal_insert_lsn()::text`).Scan(&at); err != nil {
		return false, fmt.Errorf("ask for a checkpoint: %w", err)
	}
	if _, err := c.Exec(ctx, `select pg_notify($1, $2)`, channel, awaSchema); err != nil {
		return false, fmt.Errorf("ask for a checkpoint: %w", err)
	}
	late := time.After(requestTimeout)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		var fresh bool
		err := c.QueryRow(ctx, `select exists (select 1 from awa_counterd.checkpoint where awa_schema = $1 and position >= $2::text::pg_lsn)`, awaSchema, at).Scan(&fresh)
		if err != nil {
			return false, fmt.Errorf("wait for a checkpoint: %w", err)
		}
		if fresh {
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-late:
			return false, nil
		case <-tick.C:
		}
	}
}
