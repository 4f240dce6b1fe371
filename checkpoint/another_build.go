package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// leadersOfAnyBuild is a relation that has the leaders' rows whatever the form of the table: a column that it lacks is null, and the
// bound is the default of --max-staleness. Each build so far has had awa_schema, instance, host, pid, version, heartbeat_at and state.
const leadersOfAnyBuild = `(select r ->> 'awa_schema' as awa_schema, r ->> 'instance' as instance, r ->> 'host' as host, (r ->> 'pid')::int as pid,
		r ->> 'version' as version, r ->> 'state' as state, (r ->> 'heartbeat_at')::timestamptz as heartbeat_at,
		coalesce((r ->> 'max_staleness')::interval, '2s') as max_staleness
	from (select to_jsonb(x) as r from awa_counterd.leader x) rows)`

// OtherForm says which build's tables are there instead of those that this one needs, and who leads; "" where there are none.
func OtherForm(ctx context.Context, c Conn, awaSchema string) (string, error) {
	others, err := ExistsInOtherForm(ctx, c)
	if err != nil || !others {
		return "", err
	}
	leader, known, err := leaderOfAnotherBuild(ctx, c, awaSchema)
	switch {
	case err != nil:
		return "", err
	case !known:
		return "has tables in the form of another version", nil
	case !leader.Leads:
		return fmt.Sprintf("has tables in the form of version %s", leader.Version), nil
	}
	return fmt.Sprintf("has tables in the form of version %s, whose daemon leads (%s)", leader.Version, leader.Process()), nil
}

// leaderOfAnotherBuild is ReadLeader on tables of another form. Who hangs there can be told, and who vouches; whether a finish is under
// way cannot.
func leaderOfAnotherBuild(ctx context.Context, c Conn, awaSchema string) (l Leader, known bool, err error) {
	var there bool
	if err := c.QueryRow(ctx, `select to_regclass('awa_counterd.leader') is not null`).Scan(&there); err != nil {
		return l, false, fmt.Errorf("look for a leader of another build: %w", err)
	}
	if !there {
		return l, false, nil
	}
	err = c.QueryRow(ctx, `
		select coalesce(instance, ''), coalesce(host, ''), coalesce(pid, 0), coalesce(version, ''), coalesce(state, ''),
			coalesce(extract(epoch from clock_timestamp() - heartbeat_at), 0)::float8 * 1e9, extract(epoch from max_staleness)::float8 * 1e9,
			exists (select 1 from `+advisoryLocks+` k where k.key = hashtextextended($2, 0) and k.pid <> pg_backend_pid())
		from `+leadersOfAnyBuild+` l where awa_schema = $1`, awaSchema, LockKey(awaSchema)).
		Scan(&l.Instance, &l.Host, &l.PID, &l.Version, &l.State, (*nanoseconds)(&l.Heartbeat), (*nanoseconds)(&l.Bound), &l.Leads)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Leader{}, false, nil
	case err != nil:
		return Leader{}, false, fmt.Errorf("read the leader of another build: %w", err)
	}
	l.Version, l.DryRun = strings.CutSuffix(l.Version, dryRun)
	l.Another = true
	return l, true, nil
}
