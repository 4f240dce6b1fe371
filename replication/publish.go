package replication

import (
	"context"
	"time"

	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

const (
	publishWait  = 100 * time.Millisecond // for one lock, and between two tries
	publishTries = 50
)

// Publish runs the statement that makes a publication or adds to it. It locks one table after the other and keeps what it
// has, and a migration of awa's locks several of them in an order of its own. So it waits for each lock a tenth of what
// deadlock_timeout is by default, lets go of everything and tries again. The last try waits as long as the connection's
// lock_timeout says: an autovacuum gives way only to whoever has waited for deadlock_timeout.
func Publish(ctx context.Context, c Conn, sql string) error {
	for range publishTries {
		_, err := c.Exec(ctx, "SET LOCAL lock_timeout = '"+publishWait.String()+"'; "+sql)
		if !pg.IsLockTimeout(err) {
			return err
		}
		if err := pause(ctx, publishWait); err != nil {
			return err
		}
	}
	_, err := c.Exec(ctx, sql)
	return err
}
