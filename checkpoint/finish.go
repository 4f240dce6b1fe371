package checkpoint

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// FinishKey is the key text of the session advisory lock of an awa-counterd finish that hands over. What
// it asks of daemons holds only as long as it lives: a request must not outlive the one who asks.
func FinishKey(awaSchema string) string { return "awa_counterd.finish:" + awaSchema }

// advisoryLocks is a table expression: the session advisory locks held in this database, by key and process.
const advisoryLocks = `(select (l.classid::bigint << 32) | l.objid::bigint as key, l.pid from pg_locks l join pg_database d on d.oid = l.database
	where d.datname = current_database() and l.locktype = 'advisory' and l.objsubid = 1 and l.granted)`

// Held reports whether a process holds a session advisory lock, by the text of its key.
func Held(ctx context.Context, c interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, key string, pid uint32,
) (held bool, err error) {
	err = c.QueryRow(ctx, `select exists (select 1 from `+advisoryLocks+` k where k.key = hashtextextended($1, 0) and k.pid = $2)`, key, int32(pid)).Scan(&held) //nolint:gosec // a pid
	if err != nil {
		return false, fmt.Errorf("look who holds a lock: %w", err)
	}
	return held, nil
}

// TryFinish tries to become the only one that finishes: the lock goes with the session. What an earlier one asked for, and
// did not live to take back, is void before the lock is had, so that it is not taken for a request of this one; what another one asks
// for at this moment stays.
func TryFinish(ctx context.Context, c Conn, awaSchema string) (bool, error) {
	alone, err := takeBack(ctx, c, awaSchema, 0)
	if err != nil || !alone {
		return false, err
	}
	var got bool
	if err := c.QueryRow(ctx, `select pg_try_advisory_lock(hashtextextended($1, 0))`, FinishKey(awaSchema)).Scan(&got); err != nil {
		return false, fmt.Errorf("try the lock of finish: %w", err)
	}
	return got, nil
}

// AskToLeave tells every daemon of the schema to leave for good. It asks in the name of the session that has the lock of finish.
func AskToLeave(ctx context.Context, c Conn, awaSchema string) error {
	if _, err := c.Exec(ctx, `update awa_counterd.lead set leaving = true where awa_schema = $1
		and exists (select 1 from `+advisoryLocks+` k where k.key = hashtextextended($2, 0) and k.pid = pg_backend_pid())`, awaSchema, FinishKey(awaSchema)); err != nil {
		return fmt.Errorf("ask the daemon to leave: %w", err)
	}
	return nil
}

// MayTakeBack reports whether there still is what the finish whose lock the process pid has, or had, may have asked for: false when
// another one is at work, or has removed everything.
func MayTakeBack(ctx context.Context, c Conn, awaSchema string, pid uint32) (may bool, err error) {
	leader, known, err := ReadLeaderIfAny(ctx, c, awaSchema)
	if err != nil || !known || leader.Another {
		return false, err
	}
	err = c.QueryRow(ctx, `select not exists (select 1 from `+advisoryLocks+` k where k.key = hashtextextended($1, 0) and k.pid <> $2)`, FinishKey(awaSchema), int32(pid)).Scan(&may) //nolint:gosec // a pid
	if err != nil {
		return false, fmt.Errorf("look for another finish: %w", err)
	}
	return may, nil
}

// TakeBack takes it back, and with it what daemons answered.
func TakeBack(ctx context.Context, c Conn, awaSchema string, pid uint32) error {
	_, err := takeBack(ctx, c, awaSchema, pid)
	if pg.IsNoTable(err) { // removed since, by another one
		return nil
	}
	return err
}

// takeBack is false when another process than pid has the lock of finish, or nobody is known to lead. The row of the lead is locked
// meanwhile, and who asks updates it: the order in which that happens decides.
func takeBack(ctx context.Context, c Conn, awaSchema string, pid uint32) (bool, error) {
	tx, err := c.Begin(ctx)
	if err != nil {
		return false, fmt.Errorf("take back what was asked of daemons: %w", err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	var known int
	err = tx.QueryRow(ctx, `select 1 from awa_counterd.lead where awa_schema = $1 for update`, awaSchema).Scan(&known)
	if err != nil {
		if errors.Is(err, pgx.ErrNoRows) {
			return false, nil
		}
		return false, fmt.Errorf("take back what was asked of daemons: %w", err)
	}
	tag, err := tx.Exec(ctx, `update awa_counterd.lead set leaving = false, holds = false where awa_schema = $1
		and not exists (select 1 from `+advisoryLocks+` k where k.key = hashtextextended($2, 0) and k.pid <> $3)`, awaSchema, FinishKey(awaSchema), int32(pid)) //nolint:gosec // a pid
	if err == nil {
		err = tx.Commit(ctx)
	}
	if err != nil {
		return false, fmt.Errorf("take back what was asked of daemons: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}
