package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// leadersOfAnyBuild is a relation that has the leaders' rows whatever the form of the table: a column that it lacks is null, and the
// bound is the default of --max-staleness. Each build so far has had awa_schema, instance, host, pid, version, heartbeat_at and state.
const leadersOfAnyBuild = `(select r ->> 'awa_schema' as awa_schema, r ->> 'instance' as instance, r ->> 'host' as host, (r ->> 'pid')::int as pid,
		r ->> 'version' as version, r ->> 'state' as state, (r ->> 'heartbeat_at')::timestamptz as heartbeat_at,
		coalesce((r ->> 'max_staleness')::interval, '2s') as max_staleness, coalesce((r ->> 'leaving')::boolean, false) as leaving
	from (select to_jsonb(x) as r from awa_counterd.leader x) rows)`

// checkpointsOfAnyBuild is the same of the checkpoints, as far as they say what a daemon has made, and whether it goes on from there.
const checkpointsOfAnyBuild = `(select r ->> 'awa_schema' as awa_schema, r ->> 'slot_name' as slot_name, coalesce(r ->> 'position', '') as position, coalesce(r ->> 'system_identifier', '') as system_identifier,
		array(select jsonb_array_elements_text(r -> 'publications')::oid) as publications, array(select jsonb_array_elements_text(r -> 'relations')::oid) as relations
	from (select to_jsonb(x) as r from awa_counterd.checkpoint x) rows where r ->> 'slot_name' is not null)`

// tablesOfAnyBuild is a relation that has the daemon's tables, in the form that they have; $1 is everyTable(). Other tables that stand
// there are somebody's, and so is one of such a name that says nothing of awa schemas.
const tablesOfAnyBuild = `(select c.oid, c.relname::text as name from pg_class c join pg_attribute a on a.attrelid = c.oid
	where c.relnamespace = to_regnamespace('awa_counterd') and c.relkind = 'r' and a.attname = 'awa_schema' and c.relname = any($1))`

// tablesBySchema lists the daemon's tables, each of which says something of each awa schema; in the order in which they were made, but
// who leads is last.
func tablesBySchema(ctx context.Context, c Conn) ([]string, error) {
	rows, err := c.Query(ctx, `select name from `+tablesOfAnyBuild+` t order by name = 'leader', oid`, everyTable())
	if err != nil {
		return nil, fmt.Errorf("list the tables in schema %s: %w", SchemaName, err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list the tables in schema %s: %w", SchemaName, err)
	}
	return out, nil
}

// has reports whether one of them is there.
func has(ctx context.Context, c Conn, table string) (bool, error) {
	tables, err := tablesBySchema(ctx, c)
	return slices.Contains(tables, table), err
}

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

// leaderOfAnotherBuild is ReadLeader on tables of another form. Who hangs there can be told, and who vouches; that a finish is under way
// tells its lock, and what it has asked for only a form that has this in the leader's row.
func leaderOfAnotherBuild(ctx context.Context, c Conn, awaSchema string) (l Leader, known bool, err error) {
	there, err := has(ctx, c, "leader")
	if err != nil || !there {
		return l, false, err
	}
	err = c.QueryRow(ctx, `
		select coalesce(instance, ''), coalesce(host, ''), coalesce(pid, 0), coalesce(version, ''), coalesce(state, ''),
			coalesce(extract(epoch from clock_timestamp() - heartbeat_at), 0)::float8 * 1e9, extract(epoch from max_staleness)::float8 * 1e9,
			exists (select 1 from `+advisoryLocks+` k where k.key = hashtextextended($2, 0) and k.pid <> pg_backend_pid()),
			held.finishing, leaving and held.finishing
		from `+leadersOfAnyBuild+` l, (select exists (select 1 from `+advisoryLocks+` k where k.key = hashtextextended($3, 0)) as finishing) held
		where awa_schema = $1`, awaSchema, LockKey(awaSchema), FinishKey(awaSchema)).
		Scan(&l.Instance, &l.Host, &l.PID, &l.Version, &l.State, (*nanoseconds)(&l.Heartbeat), (*nanoseconds)(&l.Bound), &l.Leads, &l.Finishing, &l.Leaving)
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
