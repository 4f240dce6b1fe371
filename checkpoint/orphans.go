package checkpoint

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Orphan is what is stored of an awa schema that nobody works on any more.
type Orphan struct {
	Schema  string
	Slot    string
	Renamed bool   // its tables are those of the current schema
	Silent  bool   // that nobody works on it is told only by the silence of who led it
	Now     string // the schema that its tables are in now; "" where that is not known
}

// Here is what Orphans goes by.
type Here struct {
	Schema    string   // the current awa schema
	Relations []uint32 // its tables
	Tables    []string // the names of awa's tables in any schema
	Left      []string // schemas that this process led before
	Follows   bool     // we go where awa goes
}

// Orphans lists those beside the current schema: of schemas that are not there, that are the current one by another name, or that this
// process has left; and those whose leader has been silent for as long as a hung one's, or led before the tables had this form, if we
// follow awa, or if what it followed is the current schema's, and its name is another awa's by now. One whose leader lock is held is none.
// The OIDs in a checkpoint that was restored from another cluster are those of other tables.
func Orphans(ctx context.Context, c Conn, h Here) ([]Orphan, error) {
	rows, err := c.Query(ctx, `
		select awa_schema, slot_name, ours and not another, there and not (ours and not another) and awa_schema <> all($4),
			coalesce((select min(t.relnamespace::regnamespace::text) from pg_class t where t.oid = any(relations) and t.relname = any($3)), '')
		from (select c.awa_schema, c.slot_name, c.relations, c.relations && $2 as ours,
				to_regnamespace(quote_ident(c.awa_schema)) is not null as there,
				exists (select 1 from pg_class t where t.relnamespace = to_regnamespace(quote_ident(c.awa_schema)) and t.relname = any($3)) as another,
				coalesce(l.heartbeat_at, '-infinity') < clock_timestamp() - greatest($6::interval, 5 * l.max_staleness) as silent
			from (select awa_schema, slot_name, case when system_identifier = (select system_identifier::text from pg_control_system()) then relations else '{}' end as relations
				from awa_counterd.checkpoint) c left join awa_counterd.leader l using (awa_schema)
			where c.awa_schema <> $1 and not exists (select 1 from `+advisoryLocks+` k where k.key = hashtextextended($7 || c.awa_schema, 0))) o
		where not there or ours and not another or awa_schema = any($4) or silent and ($5 or ours)
		order by 1`, h.Schema, h.Relations, h.Tables, h.Left, h.Follows, hungAfter, LockKey(""))
	if err != nil {
		return nil, fmt.Errorf("look for what daemons of other schemas have left: %w", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Orphan])
	if err != nil {
		return nil, fmt.Errorf("look for what daemons of other schemas have left: %w", err)
	}
	return out, nil
}

// RemoveSchema takes away all that is stored of an awa schema.
func RemoveSchema(ctx context.Context, c Conn, awaSchema string) error {
	return removeFrom(ctx, c, awaSchema, Tables())
}

// ForgetSchema takes away what is worth nothing without the stream of an awa schema. Who led it is left: a daemon that finds that
// gone takes it for a finish, and leaves.
func ForgetSchema(ctx context.Context, c Conn, awaSchema string) error {
	return removeFrom(ctx, c, awaSchema, []string{"checkpoint", "books"})
}

func removeFrom(ctx context.Context, c Conn, awaSchema string, tables []string) error {
	tx, err := c.Begin(ctx)
	if err != nil {
		return fmt.Errorf("remove what is stored of schema %s: %w", awaSchema, err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	for _, t := range tables {
		if _, err := tx.Exec(ctx, fmt.Sprintf(`delete from %s.%s where awa_schema = $1`, SchemaName, t), awaSchema); err != nil {
			return fmt.Errorf("remove what is stored of schema %s: %w", awaSchema, err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("remove what is stored of schema %s: %w", awaSchema, err)
	}
	return nil
}
