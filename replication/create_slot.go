package replication

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// Blocker is a backend that the making of a replication slot waits for. What it runs is nobody's business here: other
// users' SQL may hold what must not be in a log.
type Blocker struct {
	PID      int32
	Database string
	User     string
	Since    time.Duration // age of its transaction
	Prepared string        // the name of a prepared transaction, which has no process; else ""
}

// SlotCreation makes a replication slot. That waits for every writing transaction open in any database, and for those
// that begin meanwhile.
type SlotCreation struct {
	Name     string
	Observer Conn   // looks on while it waits
	PID      uint32 // of the backend that makes it
	// Waiting is called every two seconds with whom it waits for; an error gives the creation up.
	Waiting func([]Blocker) error
	// Failover has standbys that synchronize replication slots get it; the server is 17 or later.
	Failover bool
	// MostRetained bounds the WAL, in bytes, that the half-made replication slot may keep; 0 for no bound.
	MostRetained int64
}

// ErrTooMuchWAL says that the replication slot kept more WAL than it may.
var ErrTooMuchWAL = errors.New("--max-retained-wal is reached")

// Permanent makes a replication slot that outlives every session, through a session c of its own.
func (m SlotCreation) Permanent(ctx context.Context, c Conn) (pglogrepl.LSN, error) {
	return m.retryUntilMade(ctx, func(ctx context.Context) (lsn string, err error) {
		options := ""
		if m.Failover {
			options = ", failover => true"
		}
		err = c.QueryRow(ctx, `select lsn::text from pg_create_logical_replication_slot($1, $2`+options+`)`, m.Name, Plugin).Scan(&lsn)
		return lsn, err
	})
}

// Temporary makes a replication slot that goes with the session of s, and can be read by that one only.
func (m SlotCreation) Temporary(ctx context.Context, s *Stream) (pglogrepl.LSN, error) {
	return m.retryUntilMade(ctx, func(ctx context.Context) (string, error) {
		r, err := pglogrepl.CreateReplicationSlot(ctx, s.conn, m.Name, Plugin, pglogrepl.CreateReplicationSlotOptions{
			Temporary: true, SnapshotAction: "NOEXPORT_SNAPSHOT", Mode: pglogrepl.LogicalReplication,
		})
		return r.ConsistentPoint, err
	})
}

// retryUntilMade calls create until it succeeds. Only lock_timeout of its session bounds a single wait, and that
// is tried again until ctx ends: statement_timeout is ignored on a walsender.
func (m SlotCreation) retryUntilMade(ctx context.Context, create func(context.Context) (string, error)) (pglogrepl.LSN, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watched := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(watched)
		if err := m.watch(ctx, done); err != nil {
			cancel(err)
		}
	}()
	defer func() {
		close(done)
		<-watched
	}()
	for {
		lsn, err := create(ctx)
		switch {
		case err == nil:
			return pglogrepl.ParseLSN(lsn)
		case ctx.Err() != nil:
			return 0, fmt.Errorf("create replication slot %s: %w", m.Name, context.Cause(ctx))
		case pg.IsLockTimeout(err):
			continue
		case pg.IsNoFreeSlot(err):
			return 0, &pg.Refusal{
				Problem: "no replication slot is free: " + err.Error(),
				Remedy:  "raise max_replication_slots (needs a restart), or drop a replication slot that nobody needs; see pg_replication_slots", Err: err,
			}
		}
		return 0, fmt.Errorf("create replication slot %s: %w", m.Name, err)
	}
}

func (m SlotCreation) watch(ctx context.Context, done <-chan struct{}) error {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		blockers, err := m.blockers(ctx)
		if err != nil {
			return err
		}
		if err := m.Waiting(blockers); err != nil {
			return err
		}
		slot, err := ReadSlot(ctx, m.Observer, m.Name)
		if err != nil && !errors.Is(err, ErrNoSlot) {
			return err
		}
		if m.MostRetained > 0 && slot.Retained > m.MostRetained {
			return fmt.Errorf("%w: the server keeps %s of WAL while the replication slot is being created", ErrTooMuchWAL, humanize.IBytes(uint64(slot.Retained))) //nolint:gosec // positive
		}
	}
}

func (m SlotCreation) blockers(ctx context.Context) (out []Blocker, err error) {
	rows, err := m.Observer.Query(ctx, `
		select a.pid, coalesce(a.datname::text, ''), coalesce(a.usename::text, ''),
		       extract(epoch from coalesce(clock_timestamp() - a.xact_start, interval '0'))::float8, ''
		from pg_stat_activity a where a.pid = any(pg_blocking_pids($1))
		union all select 0, p.database::text, p.owner::text, extract(epoch from clock_timestamp() - p.prepared)::float8, p.gid
		from pg_prepared_xacts p where 0 = any(pg_blocking_pids($1))`, int32(m.PID)) //nolint:gosec // a pid
	if err != nil {
		return nil, fmt.Errorf("find out whom the creation of replication slot %s waits for: %w", m.Name, err)
	}
	var b Blocker
	var age float64
	_, err = pgx.ForEachRow(rows, []any{&b.PID, &b.Database, &b.User, &age, &b.Prepared}, func() error {
		b.Since = time.Duration(age * float64(time.Second)).Round(time.Second)
		out = append(out, b)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find out whom the creation of replication slot %s waits for: %w", m.Name, err)
	}
	return out, nil
}

// PID is the backend that serves the stream.
func (s *Stream) PID() uint32 { return s.conn.PID() }
