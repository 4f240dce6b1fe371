package awa

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// Runtime is a live awa worker, as it registers itself. Producers, command lines and psql do not.
type Runtime struct {
	ID       string        `json:"id"`
	Version  string        `json:"version"`
	LastSeen time.Duration `json:"last_seen_ns"` // how long ago
	Leader   bool          `json:"leader"`
	Old      bool          `json:"pre_290"` // writes done_entries without counting
}

// missedHeartbeats is how many of its regular signs of life a live runtime may have missed.
const missedHeartbeats = 3

// Runtimes lists the live ones; none, and false, when awa keeps no such table or this role may not
// read it.
func Runtimes(ctx context.Context, q Querier) (out []Runtime, known bool, err error) {
	err = q.QueryRow(ctx, `select coalesce(bool_and(has_schema_privilege(n.oid, 'USAGE') and has_table_privilege(c.oid, 'SELECT')), false)
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = 'awa' and c.relname = 'runtime_instances'`).Scan(&known)
	if err != nil || !known {
		return nil, false, err
	}
	rows, err := q.Query(ctx, `
		select instance_id::text, coalesce(version, ''), extract(epoch from clock_timestamp() - last_seen_at)::float8,
		       coalesce((to_jsonb(i) ->> 'leader')::boolean, false)
		from awa.runtime_instances i
		where last_seen_at > clock_timestamp() - $1 * coalesce((to_jsonb(i) ->> 'snapshot_interval_ms')::float8, 10000) * interval '1 ms'
		order by 2, 1`, missedHeartbeats)
	if err != nil {
		return nil, false, fmt.Errorf("read awa's runtimes: %w", err)
	}
	var r Runtime
	var age float64
	_, err = pgx.ForEachRow(rows, []any{&r.ID, &r.Version, &age, &r.Leader}, func() error {
		r.LastSeen, r.Old = time.Duration(age*float64(time.Second)), IsPre290(r.Version)
		out = append(out, r)
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("read awa's runtimes: %w", err)
	}
	return out, true, nil
}

// Registrants is what old runtimes are called. They register without a schema: where several awas share the database, they may be another's.
func Registrants(ctx context.Context, q Querier) (string, error) {
	several := false
	if err := q.QueryRow(ctx, `select count(*) > 1 from pg_class where relname = $1`, ringTable).Scan(&several); err != nil {
		return "", fmt.Errorf("look for other awas: %w", err)
	}
	if several {
		return OldRuntimes + " (of any awa in this database)", nil
	}
	return OldRuntimes, nil
}

// OldRuntimes is what they are called where there is one awa.
const OldRuntimes = "pre-#290 runtimes"

var preRelease = regexp.MustCompile(`^0\.6\.0-(alpha|beta)\.(\d+)`)

// IsPre290 reports whether a runtime of this version writes done_entries uncounted: 0.6.0's alphas and
// its first beta. 0.5 never writes done_entries at all; a version that cannot be read is suspected.
func IsPre290(version string) bool {
	if version == "" {
		return true
	}
	m := preRelease.FindStringSubmatch(version)
	if m == nil {
		return false
	}
	n, err := strconv.Atoi(m[2])
	return m[1] == "alpha" || err != nil || n < 2
}

// deleteFunction is behind DELETE FROM awa.jobs, in every release.
const deleteFunction = "delete_job_compat"

// DeletesUncounted reports that it takes rows away and counts nothing: migrate() of a release before 0.6.2 takes a newer
// schema for one of 0.3, and puts its own function back. Then new binaries and psql write uncounted for as long as nobody
// migrates again.
func (l *Layout) DeletesUncounted(ctx context.Context, q Querier) (yes bool, err error) {
	err = q.QueryRow(ctx, `select exists (select 1 from pg_proc p join pg_namespace n on n.oid = p.pronamespace
		where n.nspname = 'awa' and p.proname = $1 and position($2 in p.prosrc) > 0 and position($3 in p.prosrc) = 0)`,
		deleteFunction, rowsTable, l.ifLedger(ledgerTable, countersTable)).Scan(&yes)
	if err != nil {
		return false, fmt.Errorf("look at awa.%s: %w", deleteFunction, err)
	}
	return yes, nil
}
