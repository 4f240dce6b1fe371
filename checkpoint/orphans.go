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
	Renamed bool // its tables are those of the current schema
	Silent  bool // that nobody works on it is told only by the silence of who led it
}

// Orphans lists those beside the current schema, in whose name the relations are: of schemas that are not there, that
// are the current one by another name, or that led named ones; and if follows is set, which says that we go where awa
// goes, those whose leader has been silent for as long as a hung one's, or led before the tables had this form. One whose leader lock is held is none.
func Orphans(ctx context.Context, c Conn, current string, relations []uint32, left []string, follows bool) ([]Orphan, error) {
	rows, err := c.Query(ctx, `
		select c.awa_schema, c.slot_name, c.relations && $2,
		       to_regnamespace(quote_ident(c.awa_schema)) is not null and not c.relations && $2 and c.awa_schema <> all($3) from awa_counterd.checkpoint c left join awa_counterd.leader l using (awa_schema)
		where c.awa_schema <> $1 and (to_regnamespace(quote_ident(c.awa_schema)) is null or c.relations && $2 or c.awa_schema = any($3)
			or ($4 and coalesce(l.heartbeat_at, '-infinity') < clock_timestamp() - greatest($5::interval, 5 * l.max_staleness)))
		  and not exists (select 1 from `+advisoryLocks+` k where k.key = hashtextextended($6 || c.awa_schema, 0))
		order by 1`, current, relations, left, follows, hungAfter, LockKey(""))
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
