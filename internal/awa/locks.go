package awa

import (
	"context"
	"fmt"
	"time"
)

// LockedError says that somebody kept something locked for longer than it was waited for.
type LockedError struct {
	What string
	By   string // who it seems to be; "" where that cannot be known
	Err  error  // what the server said
}

func (e *LockedError) Error() string {
	by := ""
	if e.By != "" {
		by = ", it seems by " + e.By
	}
	return fmt.Sprintf("%s is locked%s: %s", e.What, by, e.Err)
}

func (e *LockedError) Unwrap() error { return e.Err }

// Locked is the error of what was waited for in vain for since, and err the server's. It names the process that has had a lock on a table
// of the unit, on the ring's, on one of another schema, or that of awa's rebuild, for as long: one that keeps everybody out before one on
// a row, which shows by that on its table, as others' do.
func (l *Layout) Locked(ctx context.Context, q Querier, what string, unit Leaf, since time.Duration, err error, schemas ...string) *LockedError {
	e := &LockedError{What: what, Err: err}
	tables := []uint32{l.Rows, l.Ledger, l.Counters, l.Ring, unit.OID, unit.Ledger.OID}
	_ = q.QueryRow(ctx, `
		select format('process %s of role %s', a.pid, coalesce(a.usename, '?')) from pg_locks l join pg_stat_activity a on a.pid = l.pid left join pg_class c on c.oid = l.relation
		where l.granted and l.pid <> pg_backend_pid() and coalesce(a.application_name, '') not like 'awa-counterd %'
			and l.database = (select oid from pg_database where datname = current_database())
			and coalesce(a.xact_start <= clock_timestamp() - $2::interval, l.mode = 'AccessExclusiveLock')
			and (l.locktype = 'relation' and l.mode <> 'AccessShareLock' and (l.relation = any($1::oid[]) or c.relnamespace = any(select oid from pg_namespace where nspname = any($4::text[])))
				or l.locktype = 'advisory' and (l.classid::bigint << 32) | l.objid::bigint = hashtextextended($3, 0))
		order by l.mode = 'AccessExclusiveLock' desc, a.xact_start limit 1`, tables, since, l.Schema.RebuildLock(), append([]string{}, schemas...)).Scan(&e.By)
	return e
}
