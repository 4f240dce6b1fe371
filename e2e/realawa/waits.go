package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// testers begin the names of the test's own sessions.
const testers = "realawa"

// blocked is a session of awa's that was seen waiting for one of the daemon's.
type blocked struct {
	at  time.Time
	pid int32
	who string
}

// waitsSQL finds them. awa's prune gives up after 10 or 50 ms, so it has to be asked often, and cheaply
// when nobody waits. A snapshot that a session of awa-counterd holds makes folds stand down up to 0.6.9.
const waitsSQL = `
	with h as (select application_name from pg_stat_activity where backend_type = 'client backend' and backend_xmin is not null and pid <> pg_backend_pid() and datname = current_database())
	select clock_timestamp(),
	       exists (select from pg_stat_activity where application_name like 'awa-counterd%' and backend_type = 'client backend' and backend_xmin is not null),
	       exists (select from h), exists (select from h where application_name not like '` + testers + `%'),
	       w.pid, w.application_name
	from (select 1) one left join (
		select a.pid, a.application_name from (select distinct pid from pg_locks where not granted) l join pg_stat_activity a using (pid)
		where exists (select from unnest(pg_blocking_pids(a.pid)) b(pid) join pg_stat_activity s using (pid) where s.application_name like 'awa-counterd%')) w on true`

const waitsEvery = 10 * time.Millisecond

// stakeout is what was seen of sessions of awa-counterd.
type stakeout struct {
	looks   int
	pinned  int // one of them held a snapshot
	horizon int // anybody did: a fold is skipped
	others  int // anybody did but the test's own sessions, which look at both halves
	blocked []blocked
}

// waits looks for them until the context ends.
func waits(ctx context.Context, conn *pgx.Conn) (seen stakeout) {
	tick := time.NewTicker(waitsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return seen
		case <-tick.C:
		}
		rows, err := conn.Query(ctx, waitsSQL)
		if err != nil {
			continue
		}
		var at time.Time
		var pinned, horizon, others bool
		var pid *int32
		var who *string
		_, err = pgx.ForEachRow(rows, []any{&at, &pinned, &horizon, &others, &pid, &who}, func() error {
			if pid != nil {
				seen.blocked = append(seen.blocked, blocked{at, *pid, *who})
			}
			return nil
		})
		if err != nil {
			continue
		}
		seen.looks++
		if pinned {
			seen.pinned++
		}
		if horizon {
			seen.horizon++
		}
		if others {
			seen.others++
		}
	}
}
