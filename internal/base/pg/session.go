package pg

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Session is what the server shows this role of somebody's session.
type Session struct {
	Application string
	Role        string
	State       string        // "" where this role may not see it
	Idle        time.Duration // for so long it has been in that state, by the server's clock; 0 where this role may not see it
}

// ReadSession looks at the session of a process; false when it has ended.
func ReadSession(ctx context.Context, c interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, pid int32,
) (s Session, there bool, err error) {
	err = c.QueryRow(ctx, `select coalesce(a.application_name, ''), coalesce(a.usename::text, ''), coalesce(a.state, ''), coalesce(clock_timestamp() - a.state_change, interval '0')
		from pg_stat_activity a where a.pid = $1`, pid).Scan(&s.Application, &s.Role, &s.State, &s.Idle)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Session{}, false, nil
	case err != nil:
		return Session{}, false, fmt.Errorf("look at process %d: %w", pid, err)
	}
	return s, true, nil
}
