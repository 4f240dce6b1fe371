package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// What is here is for people who look on; a daemon resumes from what Load returns. Ages are in seconds, by the server's clock.

// AliveWithin is how old a leader's heartbeat may get before people are told that it is not alive; tokens come at least every 7 s.
const AliveWithin = 15 * time.Second

// Standing is where the books of a schema stand.
type Standing struct {
	Position  string
	Persisted *float64 // how long ago; nil where there is no checkpoint
	Audit     *float64 // nil: never
	Reason    string   // why the marker was not set then
	Observed  float64  // for so long a daemon has watched, and seen no old binary at work
	OldPrune  *float64 // a pre-#290 leader emptied a ring slot; nil: never
}

// ReadStanding reads it; the zero Standing where there is no checkpoint.
func ReadStanding(ctx context.Context, c Conn, awaSchema string) (s Standing, err error) {
	err = c.QueryRow(ctx, `select position::text, extract(epoch from clock_timestamp() - persisted_at)::float8,
		extract(epoch from clock_timestamp() - last_audit_at)::float8, reason,
		extract(epoch from quiet_for)::float8, case when last_old_prune_at is not null then greatest(0, extract(epoch from clock_timestamp() - last_old_prune_at)) end::float8
		from awa_counterd.checkpoint where awa_schema = $1 and position <> '`+notYet+`'`, awaSchema).
		Scan(&s.Position, &s.Persisted, &s.Audit, &s.Reason, &s.Observed, &s.OldPrune)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return s, fmt.Errorf("read the checkpoint: %w", err)
	}
	return s, nil
}

// QueueSum is what the books of the checkpoint hold of a queue.
type QueueSum struct {
	Queue   string `json:"queue"`
	Rows    int64  `json:"rows"`
	Counter int64  `json:"counter"`
	Drift   int64  `json:"drift"`
}

// QueueSums lists them by name.
func QueueSums(ctx context.Context, c Conn, awaSchema string) ([]QueueSum, error) {
	return list[QueueSum](ctx, c, "the books", `select queue, sum(rows)::int8, sum(counter)::int8, sum(rows - counter)::int8
		from awa_counterd.books where awa_schema = $1 group by queue order by queue`, awaSchema)
}

// list reads rows into the fields of T, by position; what names them in an error.
func list[T any](ctx context.Context, c Conn, what, sql string, args ...any) ([]T, error) {
	rows, err := c.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[T])
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	return out, nil
}

// UncountedWrites is what is known of a queue's uncounted writes of one kind: "rows" and "prune" are the work of
// pre-#290 binaries, "counter" is a clamp, a rebuild, a migration or a person.
type UncountedWrites struct {
	Queue        string  `json:"queue"`
	Kind         string  `json:"kind"`
	Rows         int64   `json:"rows"`
	Transactions int64   `json:"transactions"`
	PerSecond    float64 `json:"per_second"`
	Last         float64 `json:"last_ago"`
	LastLSN      string  `json:"last_lsn"`
}

// AllUncounted lists them, newest first.
func AllUncounted(ctx context.Context, c Conn, awaSchema string) ([]UncountedWrites, error) {
	return list[UncountedWrites](ctx, c, "the uncounted writes", `select queue, kind, rows_off, transactions, per_second,
		greatest(0, extract(epoch from clock_timestamp() - last_at))::float8, last_lsn::text
		from awa_counterd.uncounted_writes where awa_schema = $1 order by last_at desc`, awaSchema)
}

// LastLed is the awa schema whose leader was heard of last; "" where that cannot be known.
func LastLed(ctx context.Context, c Conn) (awaSchema string) {
	err := c.QueryRow(ctx, `select awa_schema from awa_counterd.leader order by heartbeat_at desc limit 1`).Scan(&awaSchema)
	if err != nil {
		return ""
	}
	return awaSchema
}
