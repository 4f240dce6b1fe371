package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

const (
	leaseFor   = 10 * time.Second // how long the server waits for a word of this process
	leaseEvery = time.Second      // how often we say one
)

// lease is the session in whose name a command asks something of daemons, or keeps them away: what it holds there, advisory locks, is
// worth something for as long as somebody lives who may give it back. The server ends the session of a process that says nothing any
// more: one that was killed, but also one that was stopped (Ctrl-Z), or cut off.
type lease struct {
	mu   sync.Mutex // of conn
	conn *pgx.Conn

	stop func()
	over chan struct{} // the renewing has ended
}

// newLease opens the session, and keeps it. The context that it returns ends with it; context.Cause says then that it was lost.
func newLease(ctx context.Context, source *pg.Source) (*lease, context.Context, error) {
	conn, err := source.Connect(ctx, commandSettings())
	if err != nil {
		return nil, nil, err
	}
	if _, err := conn.Exec(ctx, fmt.Sprintf(`set idle_session_timeout = %d`, leaseFor.Milliseconds())); err != nil {
		_ = conn.Close(ctx)
		return nil, nil, fmt.Errorf("bound the session that asks: %w", err)
	}
	held, lose := context.WithCancelCause(ctx)
	l := &lease{conn: conn, stop: func() { lose(context.Canceled) }, over: make(chan struct{})}
	go func() {
		defer close(l.over)
		tick := time.NewTicker(leaseEvery)
		defer tick.Stop()
		for {
			select {
			case <-held.Done():
				return
			case <-tick.C:
			}
			if err := l.renew(held); err != nil {
				lose(lostLease(err))
				return
			}
		}
	}()
	return l, held, nil
}

// renew says a word, and finds out whether the session still lives.
func (l *lease) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseFor) // an interrupt must not cost the session
	defer cancel()
	return l.do(func(c *pgx.Conn) error { return c.Ping(ctx) })
}

// do uses the session.
func (l *lease) do(f func(c *pgx.Conn) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return f(l.conn)
}

// pid is the process that serves it.
func (l *lease) pid() uint32 { return l.conn.PgConn().PID() }

// leads makes a check whether the lease still has the leader lock, for who works in its name through another session.
func (l *lease) leads(layout *awa.Layout) func(ctx context.Context, tx pgx.Tx) error {
	pid := l.pid()
	return func(ctx context.Context, tx pgx.Tx) error {
		held, err := checkpoint.Held(ctx, tx, checkpoint.LockKey(string(layout.Schema)), pid)
		if err == nil && !held {
			err = errors.New("daemons are not kept away any more")
		}
		return err
	}
}

// close ends the session.
func (l *lease) close(ctx context.Context) {
	l.stop()
	<-l.over
	_ = l.conn.Close(ctx)
}

func lostLease(err error) *pg.Refusal {
	r := pg.Refuse("run it again", "this process was stopped, or cut off from the server, and what it had asked of daemons is void: %s", err)
	r.Err = err
	return r
}

// explain finds out whether something failed because the lease is lost. held is its context.
func (l *lease) explain(held context.Context, err error) error {
	if err == nil {
		return nil
	}
	if r, ok := errors.AsType[*pg.Refusal](context.Cause(held)); ok {
		return r
	}
	if _, refused := errors.AsType[*pg.Refusal](err); refused || held.Err() != nil { // an interrupt
		return err
	}
	if l.renew(held) != nil {
		return lostLease(err)
	}
	return err
}
