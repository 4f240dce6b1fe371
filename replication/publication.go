package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/awa-counterd/awa-counterd/internal/pg"
)

// Conn is what this package needs of a connection; a *pgx.Conn is one.
type Conn interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Publication is what has to be published.
type Publication struct {
	Name   string
	Tables []string // qualified; partitioned ones by their parent
	// Relations are the tables that changes come from, leaves instead of parents, as OIDs.
	Relations []uint32
}

// PublicationName is the default name: one publication serves one awa schema.
func PublicationName(schema string) string { return "awa_counterd_" + plain(schema) }

const publishes = "insert, update, delete, truncate"

// CreateSQL is the statement that makes the publication.
func (p Publication) CreateSQL() string {
	return fmt.Sprintf(`CREATE PUBLICATION %s FOR TABLE %s WITH (publish = '%s', publish_via_partition_root = false)`,
		pgx.Identifier{p.Name}.Sanitize(), strings.Join(p.Tables, ", "), publishes)
}

// Ensure makes the publication when it is absent, checks it when it is present, and returns its OID.
// What is wrong with it is a *pg.Refusal.
func (p Publication) Ensure(ctx context.Context, c Conn) (oid uint32, made bool, err error) {
	oid, err = p.Check(ctx, c)
	sql := p.CreateSQL()
	switch {
	case errors.Is(err, errEmptied):
		sql = p.alterSQL()
	case !errors.Is(err, ErrNoPublication):
		return oid, false, err
	}
	if _, err := c.Exec(ctx, sql); err != nil && !pg.IsDuplicate(err) {
		if pg.IsDenied(err) {
			r := pg.Refuse("have the owner of awa's tables run: "+sql, "publication %s is missing and this role may not make it", p.Name)
			r.Err = err
			return 0, false, r
		}
		return 0, false, fmt.Errorf("make publication %s: %w", p.Name, err)
	}
	oid, err = p.Check(ctx, c)
	return oid, true, err
}

// ErrNoPublication says that there is none of that name.
var ErrNoPublication = errors.New("no such publication")

// Check looks the publication over.
func (p Publication) Check(ctx context.Context, c Conn) (uint32, error) {
	var oid uint32
	var all, viaRoot, ins, upd, del, trunc bool
	err := c.QueryRow(ctx, `select oid, puballtables, pubviaroot, pubinsert, pubupdate, pubdelete, pubtruncate
		from pg_publication where pubname = $1`, p.Name).Scan(&oid, &all, &viaRoot, &ins, &upd, &del, &trunc)
	name := pgx.Identifier{p.Name}.Sanitize()
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 0, fmt.Errorf("publication %s: %w", p.Name, ErrNoPublication)
	case err != nil:
		return 0, fmt.Errorf("read publication %s: %w", p.Name, err)
	case all:
		return 0, pg.Refuse(fmt.Sprintf("drop it and run: %s; or name another one with --publication", p.CreateSQL()),
			"publication %s is FOR ALL TABLES, under which awa's own DELETEs on tables without a primary key fail", p.Name)
	case viaRoot:
		return 0, pg.Refuse(fmt.Sprintf("run: ALTER PUBLICATION %s SET (publish_via_partition_root = false)", name),
			"publication %s publishes via the partition root, so a TRUNCATE of a leaf (how awa prunes) is never sent", p.Name)
	case !ins || !upd || !del || !trunc:
		return 0, pg.Refuse(fmt.Sprintf("run: ALTER PUBLICATION %s SET (publish = '%s')", name, publishes),
			"publication %s does not publish all of insert, update, delete and truncate", p.Name)
	}
	return oid, p.covers(ctx, c, oid)
}

// covers checks that every relation is in the publication, whole.
func (p Publication) covers(ctx context.Context, c Conn, oid uint32) error {
	var published []uint32
	var filtered bool
	err := c.QueryRow(ctx, `
		select array(select c.oid from pg_publication_tables t join pg_namespace n on n.nspname = t.schemaname
		             join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename where t.pubname = $1),
		       exists (select 1 from pg_publication_rel r where r.prpubid = $2 and to_jsonb(r) ->> 'prqual' is not null)`, p.Name, oid).
		Scan(&published, &filtered)
	if err != nil {
		return fmt.Errorf("read the tables of publication %s: %w", p.Name, err)
	}
	if filtered {
		return pg.Refuse(fmt.Sprintf("drop publication %s and run: %s", p.Name, p.CreateSQL()),
			"publication %s (OID %d) has a row filter, so not every change is sent", p.Name, oid)
	}
	var missing []string
	for _, rel := range p.Relations {
		if slices.Contains(published, rel) {
			continue
		}
		var name string
		if err := c.QueryRow(ctx, `select $1::oid::regclass::text`, rel).Scan(&name); err != nil {
			return fmt.Errorf("name relation %d: %w", rel, err)
		}
		missing = append(missing, name)
	}
	if len(missing) == 0 {
		return nil
	}
	refusal := pg.Refuse("run: "+p.alterSQL(), "publication %s does not publish %s", p.Name, strings.Join(missing, ", "))
	if len(missing) == len(p.Relations) {
		refusal.Err = errEmptied
	}
	return refusal
}

// errEmptied marks a publication that has none of the tables left: they were dropped and made anew,
// as awa's reset does, and took their place in it with them. That is mended without a person; one
// that lacks some of them was made so by somebody.
var errEmptied = errors.New("the publication has none of awa's tables any more")

func (p Publication) alterSQL() string {
	return fmt.Sprintf("ALTER PUBLICATION %s SET TABLE %s", pgx.Identifier{p.Name}.Sanitize(), strings.Join(p.Tables, ", "))
}
