package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/awa"
)

// idleWithLocks is how long the server waits for the next statement of a transaction of awa-counterd that holds what awa waits for: should this
// process stop there, awa must not stop with it.
const idleWithLocks = 2 * time.Second

// errLetGo says that the server ended the transaction that kept others out.
var errLetGo = errors.New("the server has ended the transaction that keeps prunes and rebuilds out")

// held runs work while nothing can truncate the leaf or the counters: the holder's ACCESS SHARE keeps a TRUNCATE of the leaf
// out, its advisory lock does the same for awa's rebuild. The work is done through other sessions, so the holder says a word now and
// then; when it cannot any more, work's context ends.
func (o *OneShot) held(ctx context.Context, leaf awa.Leaf, work func(context.Context) error) error {
	tx, err := o.holder.Begin(ctx)
	if err != nil {
		return fmt.Errorf("reconcile %s: %w", leaf.Name, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := tx.Exec(ctx, fmt.Sprintf(`set local idle_in_transaction_session_timeout = %d`, idleWithLocks.Milliseconds())); err != nil {
		return fmt.Errorf("reconcile %s: %w", leaf.Name, err)
	}
	if err := o.lockRebuild(ctx, tx); err != nil {
		return err
	}
	if leaf.Slot != applier.NoLeaf {
		if _, err := tx.Exec(ctx, o.layout.LockLeaf(leaf)); err != nil {
			return fmt.Errorf("reconcile %s: %w", leaf.Name, err)
		}
	}
	working, end := context.WithCancelCause(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		if err := sayWords(working, tx); err != nil {
			end(err)
		}
	}()
	err = work(working)
	end(nil)
	<-over
	if cause := context.Cause(working); errors.Is(cause, errLetGo) {
		err = cause
	}
	if err != nil {
		return fmt.Errorf("reconcile %s: %w", leaf.Name, err)
	}
	return nil
}

// sayWords keeps a transaction from being taken for that of a process that has stopped, until ctx ends.
func sayWords(ctx context.Context, tx pgx.Tx) error {
	tick := time.NewTicker(idleWithLocks / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		bounded, end := context.WithTimeout(context.WithoutCancel(ctx), answerWithin) // the end of the work must not cost the connection
		_, err := tx.Exec(bounded, `select 1`)
		end()
		if err != nil {
			return fmt.Errorf("%w: %w", errLetGo, err)
		}
	}
}

// holds is a condition: the holder has the advisory lock of held, and so the rest. A correction that was worked out while it had
// may come later, from a process that was stopped in between.
func holds(holder *pgx.Conn) string {
	return fmt.Sprintf(`exists (select 1 from pg_locks where locktype = 'advisory' and pid = %d and granted)`, holder.PgConn().PID())
}
