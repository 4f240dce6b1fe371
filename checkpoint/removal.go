package checkpoint

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Removal is a statement that takes away something that awa-counterd made.
type Removal struct {
	What, SQL string
	Drops     bool // which takes the ownership of the schema
}

// PlanRemoval takes the schema awa_counterd away, or only what is in it for this awa schema, under all of its names, while others use it: those
// that somebody leads or led, whose daemon has made something, and those of granted, for which a role has rights that are remembered here.
// It does so whatever form the tables have. What others have made in it or of its tables stays, and so does what that needs.
func PlanRemoval(ctx context.Context, c Conn, names, granted []string) (out []Removal, rest Rest, err error) {
	var there bool
	if err := c.QueryRow(ctx, `select exists (select 1 from pg_namespace where nspname = $1)`, SchemaName).Scan(&there); err != nil || !there {
		return nil, Rest{}, err
	}
	tables, err := tablesBySchema(ctx, c)
	if err != nil {
		return nil, Rest{}, err
	}
	others := slices.ContainsFunc(granted, func(g string) bool { return !slices.Contains(names, g) })
	for _, t := range []string{"leader", checkpointTable} {
		if others || !slices.Contains(tables, t) {
			continue
		}
		if err := c.QueryRow(ctx, `select exists (select 1 from `+qualified(t)+` where awa_schema <> all($1))`, names).Scan(&others); err != nil {
			return nil, Rest{}, fmt.Errorf("look at schema %s: %w", SchemaName, err)
		}
	}
	if others {
		return empty(tables, names), Rest{}, nil
	}
	way, err := inTheWay(ctx, c)
	if err != nil {
		return nil, Rest{}, err
	}
	rest.way = way
	dropTables, err := dropTables(ctx, c)
	switch {
	case err != nil:
		return nil, Rest{}, err
	case slices.ContainsFunc(way, obstacle.needs): // all or none: a form that lacks some is no build's
		out, rest.tables = empty(tables, names), strings.TrimSuffix(dropTables, ";\n")
	case len(way) == 0:
		out = []Removal{{"drop schema " + SchemaName, dropTables + "DROP SCHEMA " + SchemaName, true}}
	case dropTables != "":
		out = []Removal{{"drop awa-counterd's tables in schema " + SchemaName, strings.TrimSuffix(dropTables, ";\n"), true}}
	}
	return out, rest, nil
}

// empty removes what is stored of schemas.
func empty(tables, names []string) (out []Removal) {
	for _, name := range names {
		for _, t := range tables {
			out = append(out, Removal{
				fmt.Sprintf("empty %s of schema %s", qualified(t), name),
				fmt.Sprintf("DELETE FROM %s WHERE awa_schema = '%s'", qualified(t), name), false,
			})
		}
	}
	return out
}

// dropTables is the statement that drops the daemon's tables, which it locks in the order in which they were made; "" where there are none.
func dropTables(ctx context.Context, c Conn) (string, error) {
	var tables []string
	err := c.QueryRow(ctx, `select coalesce(array_agg('awa_counterd.' || name order by oid), '{}') from `+tablesOfAnyBuild+` t`, everyTable()).Scan(&tables)
	if err != nil {
		return "", fmt.Errorf("list the tables in schema %s: %w", SchemaName, err)
	}
	if len(tables) == 0 {
		return "", nil
	}
	return "DROP TABLE " + strings.Join(tables, ", ") + ";\n", nil
}

// obstacle is something that others have made, and that would have to go with the schema.
type obstacle struct {
	What  string // kind and name
	SQL   string // what drops it; "" where that is not one plain statement
	Needs bool   // it depends on the daemon's tables; else it only stands in the schema
}

func (o obstacle) needs() bool { return o.Needs }

// inTheWay lists what is in the schema that awa-counterd has not made, and what depends on its tables, by name. What PostgreSQL drops with a table
// (indexes, triggers, its place in a publication) is not in the way. For a member stands its extension, which it goes with.
func inTheWay(ctx context.Context, c Conn) ([]obstacle, error) {
	rows, err := c.Query(ctx, `
		with recursive goes (classid, objid) as (
			select 'pg_class'::regclass::oid, t.oid from `+tablesOfAnyBuild+` t
			union select d.classid, d.objid from goes g join pg_depend d on d.refclassid = g.classid and d.refobjid = g.objid where d.deptype <> 'n'),
		stays as (
			select d.classid, d.objid, d.objsubid, true as needs from goes g join pg_depend d on d.refclassid = g.classid and d.refobjid = g.objid where d.deptype = 'n'
			union all select d.classid, d.objid, d.objsubid, false from pg_depend d
			where d.refclassid = 'pg_namespace'::regclass and d.refobjid = to_regnamespace('awa_counterd')::oid and d.deptype = 'n'),
		objects as (
			select case when r.oid is null then s.classid else 'pg_class'::regclass end as classid, coalesce(r.ev_class, s.objid) as objid, s.objsubid, s.needs
			from stays s left join pg_rewrite r on s.classid = 'pg_rewrite'::regclass and r.oid = s.objid
			where not exists (select 1 from goes g where g.classid = s.classid and g.objid = s.objid)),
		named as (
			select i.type, i.identity, o.needs from objects o left join pg_depend e on e.classid = o.classid and e.objid = o.objid and e.deptype = 'e',
				pg_identify_object(coalesce(e.refclassid, o.classid), coalesce(e.refobjid, o.objid), coalesce(e.refobjsubid, o.objsubid)) i)
		select type || ' ' || identity, case when type in ('table', 'view', 'materialized view', 'foreign table', 'sequence', 'function', 'procedure', 'aggregate', 'type', 'extension')
			then 'DROP ' || upper(type) || ' ' || identity else '' end, bool_or(needs)
		from named group by type, identity order by 1`, everyTable())
	if err != nil {
		return nil, fmt.Errorf("look what others have made in schema %s: %w", SchemaName, err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[obstacle])
	if err != nil {
		return nil, fmt.Errorf("look what others have made in schema %s: %w", SchemaName, err)
	}
	return out, nil
}

// namedObstacles is how many of them are named.
const namedObstacles = 6

// Rest is what PlanRemoval leaves of the schema; the zero Rest is nothing.
type Rest struct {
	way    []obstacle
	tables string // what drops the daemon's own, where they stay
}

// Note says why the schema stays and what removes it; "" where nothing is in the way. plain names statements alone: a teardown would clear a
// marker that has to stand.
func (r Rest) Note(plain bool) string {
	if len(r.way) == 0 {
		return ""
	}
	var then []string
	if plain {
		then = slices.DeleteFunc([]string{r.tables, "DROP SCHEMA " + SchemaName}, func(sql string) bool { return sql == "" })
	}
	what, mend := name(r.way, then...)
	if !plain {
		mend += "; then awa-counterd teardown"
	}
	return fmt.Sprintf("schema %s is left, for others made what is in it or depends on it: %s; if nobody needs that, %s", SchemaName, what, mend)
}

// name names obstacles, and what takes them away, and then runs statements.
func name(way []obstacle, then ...string) (what, mend string) {
	var names, drop []string
	for _, o := range way[:min(len(way), namedObstacles)] {
		names = append(names, o.What)
		if o.SQL != "" {
			drop = append(drop, o.SQL)
		}
	}
	what, mend = strings.Join(names, ", "), "take it away"
	if more := len(way) - len(names); more > 0 {
		what += fmt.Sprintf(", and %d more", more)
	}
	switch run := "run: " + strings.Join(append(drop, then...), "; "); {
	case len(drop) > 0:
		mend = run
	case len(then) > 0:
		mend += "; then " + run
	}
	return what, mend
}

// Swept lists the schemas of which a sweep has left nothing but who led, a silent one (Orphan.Silent), if there is nothing else here
// beside names and granted: with the last schema these go as well. Should one of those daemons come back, it finds that everything was
// removed.
func Swept(ctx context.Context, c Conn, names, granted []string) ([]string, error) {
	tables, err := tablesBySchema(ctx, c)
	if err != nil || !slices.Contains(tables, "leader") || !slices.Contains(tables, checkpointTable) || slices.ContainsFunc(granted, func(g string) bool { return !slices.Contains(names, g) }) {
		return nil, err
	}
	rows, err := c.Query(ctx, `select l.awa_schema, l.heartbeat_at < clock_timestamp() - greatest($2::interval, 5 * l.max_staleness)
			and not exists (select 1 from awa_counterd.checkpoint p where p.awa_schema = l.awa_schema)
			and not exists (select 1 from `+advisoryLocks+` k where k.key = hashtextextended($3 || l.awa_schema, 0))
		from `+leadersOfAnyBuild+` l where l.awa_schema <> all($1) order by 1`, names, hungAfter, LockKey(""))
	if err != nil {
		return nil, fmt.Errorf("look who else leads: %w", err)
	}
	var out []string
	var schema string
	var swept, others bool
	_, err = pgx.ForEachRow(rows, []any{&schema, &swept}, func() error {
		out, others = append(out, schema), others || !swept
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look who else leads: %w", err)
	}
	if others {
		return nil, nil
	}
	return out, nil
}
