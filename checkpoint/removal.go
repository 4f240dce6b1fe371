package checkpoint

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Removal is a statement that takes away something that awa-counterd made.
type Removal struct{ What, SQL string }

// PlanRemoval takes the schema awa_counterd away, or only what is in it for this awa schema, under all of its names, while others use it: those
// that somebody leads or led, whose daemon has made something, and those of granted, for which a role has rights that are remembered here.
// It does so whatever form the tables have.
func PlanRemoval(ctx context.Context, c Conn, names, granted []string) ([]Removal, error) {
	var there bool
	if err := c.QueryRow(ctx, `select exists (select 1 from pg_namespace where nspname = $1)`, SchemaName).Scan(&there); err != nil || !there {
		return nil, err
	}
	tables, err := tablesBySchema(ctx, c)
	if err != nil {
		return nil, err
	}
	others := slices.ContainsFunc(granted, func(g string) bool { return !slices.Contains(names, g) })
	for _, t := range []string{"leader", checkpointTable} {
		if others || !slices.Contains(tables, t) {
			continue
		}
		if err := c.QueryRow(ctx, `select exists (select 1 from `+qualified(t)+` where awa_schema <> all($1))`, names).Scan(&others); err != nil {
			return nil, fmt.Errorf("look at schema %s: %w", SchemaName, err)
		}
	}
	if !others {
		return []Removal{{"drop schema " + SchemaName, "DROP SCHEMA " + SchemaName + " CASCADE"}}, nil
	}
	var out []Removal
	for _, name := range names {
		for _, t := range tables {
			out = append(out, Removal{
				fmt.Sprintf("empty %s of schema %s", qualified(t), name),
				fmt.Sprintf("DELETE FROM %s WHERE awa_schema = '%s'", qualified(t), name),
			})
		}
	}
	return out, nil
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
