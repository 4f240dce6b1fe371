package pg

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// ForgottenAfter is how old a transaction may be before people are told: meanwhile no version of any row can go that was in the way since.
const ForgottenAfter = 2 * time.Hour

// Forgotten is a transaction that keeps what a vacuum would take away. Of what it runs nothing is said.
type Forgotten struct {
	PID         int     `json:"pid"`
	Application string  `json:"application_name"`
	Age         float64 `json:"age"` // seconds
}

// FindForgotten looks for the transaction in this database that keeps the most, among those that are older than after, as far as this
// role may see; nil for none. It is one of a client's, and none of awa-counterd's. A VACUUM keeps nothing, however long it takes, and
// what a replication slot keeps is no transaction's.
func FindForgotten(ctx context.Context, c interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, after time.Duration,
) (*Forgotten, error) {
	var f Forgotten
	err := c.QueryRow(ctx, `select a.pid, coalesce(a.application_name, ''), extract(epoch from clock_timestamp() - a.xact_start)::float8 from pg_stat_activity a
		where a.datname = current_database() and a.backend_type = 'client backend' and (a.backend_xmin is not null or a.backend_xid is not null)
		  and a.xact_start < clock_timestamp() - $1::interval and a.application_name not like $2
		  and not exists (select 1 from pg_stat_progress_vacuum v where v.pid = a.pid)
		order by greatest(age(a.backend_xmin), age(a.backend_xid)) desc, a.xact_start limit 1`, after, ApplicationName("%")).Scan(&f.PID, &f.Application, &f.Age)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil //nolint:nilnil // none is an answer
	case err != nil:
		return nil, fmt.Errorf("look for a forgotten transaction: %w", err)
	}
	return &f, nil
}
