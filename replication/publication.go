package replication

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/awa-counterd/awa-counterd/internal/base/pg"
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
	// AppendOnly: the tables have no primary key, so that nothing but INSERT and TRUNCATE may be published of
	// them; with more than that awa's own statements fail. awa's migrations bring more of these, so those that
	// are missing are added without a person.
	AppendOnly bool
}

// Sources says which tables of awa's changes come from.
type Sources interface {
	Published() []string
	Sources() []uint32
	LedgerPublished() []string // those without a primary key; maybe none
	LedgerSources() []uint32
}

// Needed lists the publications that a schema needs, given the name of the first.
func Needed(name string, s Sources) []Publication {
	out := []Publication{{Name: name, Tables: s.Published(), Relations: s.Sources()}}
	if tables := s.LedgerPublished(); len(tables) > 0 {
		out = append(out, Publication{Name: LedgerPublicationName(name), Tables: tables, Relations: s.LedgerSources(), AppendOnly: true})
	}
	return out
}

// PublicationName is the default name of the first: it serves one awa schema.
// A name that is cut or changed gets a hash, which tells it from others; so does one that ends like the name of a second
// publication, for it may be that of another schema.
func PublicationName(schema string) string {
	name := sanitize(schema)
	if name != schema || strings.HasSuffix(name, ledgerSuffix) {
		sum := sha256.Sum256([]byte(schema))
		name += "_" + hex.EncodeToString(sum[:4])
	}
	return "awa_counterd_" + name
}

// ledgerSuffix tells the name of the second from that of the first.
const ledgerSuffix = "_ledger"

// LedgerPublicationName is the name of the second.
func LedgerPublicationName(first string) string {
	return first[:min(len(first), 63-len(ledgerSuffix))] + ledgerSuffix
}

func (p Publication) publishes() string {
	if p.AppendOnly {
		return "insert, truncate"
	}
	return "insert, update, delete, truncate"
}

// CreateSQL is the statement that makes the publication.
func (p Publication) CreateSQL() string {
	return fmt.Sprintf(`CREATE PUBLICATION %s FOR TABLE %s WITH (publish = '%s', publish_via_partition_root = false)`,
		pgx.Identifier{p.Name}.Sanitize(), strings.Join(p.Tables, ", "), p.publishes())
}

// Ensure makes the publication when it is absent and checks it when it is present; added are the tables that it lacked. What is wrong
// with it is a *pg.Refusal.
func (p Publication) Ensure(ctx context.Context, c Conn) (seen Published, made bool, added []string, err error) {
	seen, err = p.Check(ctx, c)
	sql := p.CreateSQL()
	switch {
	case errors.Is(err, errIncomplete):
		sql, added = p.mendSQL(seen), seen.Lacks
	case !errors.Is(err, ErrNoPublication):
		return seen, false, nil, err
	}
	if err := Publish(ctx, c, sql); err != nil && !pg.IsDuplicate(err) {
		if pg.IsDenied(err) {
			r := pg.Refuse("have the owner of awa's tables run awa-counterd setup, or run: "+sql, "publication %s is missing or lacks a table, and this role may not change it", p.Name)
			r.Err = err
			return seen, false, nil, r
		}
		return seen, false, nil, fmt.Errorf("create publication %s: %w", p.Name, err)
	}
	seen, err = p.Check(ctx, c)
	return seen, len(added) == 0, added, err
}

// Plan is the statement that makes the publication, or adds what it lacks; "" when it is as it should be.
func (p Publication) Plan(ctx context.Context, c Conn) (what, sql string, err error) {
	seen, err := p.Check(ctx, c)
	switch {
	case errors.Is(err, ErrNoPublication):
		return "create publication " + p.Name, p.CreateSQL(), nil
	case errors.Is(err, errIncomplete):
		return "add what publication " + p.Name + " lacks", p.mendSQL(seen), nil
	}
	return "", "", err
}

// ErrNoPublication says that there is none of that name.
var ErrNoPublication = errors.New("no such publication")

// Published is what the catalog says of a publication.
type Published struct {
	OID uint32
	// State changes with every ALTER. The WAL is decoded by the publication as it was at each point,
	// so what was sent while it was another may be anything.
	State                            string
	All, ViaRoot                     bool
	Schemas                          bool // FOR TABLES IN SCHEMA
	Insert, Update, Delete, Truncate bool
	Relations                        []uint32          // leaves instead of parents
	Names                            map[uint32]string // of what is to be published
	Filtered                         []string          // of those to be published, that it names with a row filter
	Lacks                            []string          // tables that it has to name, whole, and does not
}

// Check looks the publication over.
func (p Publication) Check(ctx context.Context, c Conn) (Published, error) {
	seen, err := p.read(ctx, c)
	if err != nil {
		return seen, err
	}
	return seen, p.Validate(seen)
}

func (p Publication) read(ctx context.Context, c Conn) (Published, error) {
	var seen Published
	var names []string
	err := c.QueryRow(ctx, `
		with sent as materialized (
			select t.relid as oid from pg_publication p, pg_get_publication_tables(p.pubname::text) t where p.pubname = $1)
		select p.oid, p.xmin::text || coalesce((select string_agg(r.oid || '.' || r.xmin::text, ' ' order by r.oid) from pg_publication_rel r where r.prpubid = p.oid), ''),
		       puballtables, pubviaroot, pubinsert, pubupdate, pubdelete, pubtruncate,
		       array(select r.prrelid::regclass::text from pg_publication_rel r where r.prpubid = p.oid and to_jsonb(r) ->> 'prqual' is not null
		             and exists (select 1 from unnest($2::oid[]) ours (o) where r.prrelid = o or r.prrelid in (select relid from pg_partition_ancestors(o))) order by 1),
		       exists (select 1 from sent c where not exists (select 1 from pg_publication_rel r where r.prpubid = p.oid
		               and (r.prrelid = c.oid or r.prrelid in (select relid from pg_partition_ancestors(c.oid))))),
		       array(select oid from sent),
		       array(select r::regclass::text from unnest($2::oid[]) with ordinality u (r, i) order by i),
		       array(select t from unnest($3::text[]) with ordinality u (t, i)
		             where not exists (select 1 from pg_publication_rel r where r.prpubid = p.oid and r.prrelid = to_regclass(t)
		                               and to_jsonb(r) ->> 'prqual' is null) order by i)
		from pg_publication p where pubname = $1`, p.Name, p.Relations, p.Tables).
		Scan(&seen.OID, &seen.State, &seen.All, &seen.ViaRoot, &seen.Insert, &seen.Update, &seen.Delete, &seen.Truncate,
			&seen.Filtered, &seen.Schemas, &seen.Relations, &names, &seen.Lacks)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return seen, fmt.Errorf("publication %s: %w", p.Name, ErrNoPublication)
	case err != nil:
		return seen, fmt.Errorf("read publication %s: %w", p.Name, err)
	}
	seen.Names = make(map[uint32]string, len(names))
	for i, name := range names {
		seen.Names[p.Relations[i]] = name
	}
	return seen, nil
}

// Validate is nil when everything that the books rest on is sent; what is wrong is a *pg.Refusal.
func (p Publication) Validate(seen Published) error {
	name := pgx.Identifier{p.Name}.Sanitize()
	switch {
	case seen.All:
		return pg.Refuse(fmt.Sprintf("drop it and run: %s; or give another name with --publication", p.CreateSQL()),
			"publication %s is FOR ALL TABLES, under which awa's own DELETEs on tables without a primary key fail", p.Name)
	case seen.Schemas:
		return pg.Refuse(fmt.Sprintf("drop it and run: %s; or give another name with --publication", p.CreateSQL()),
			"publication %s is FOR TABLES IN SCHEMA, under which awa's own DELETEs on tables without a primary key fail", p.Name)
	case seen.ViaRoot:
		return pg.Refuse(fmt.Sprintf("run: ALTER PUBLICATION %s SET (publish_via_partition_root = false)", name),
			"publication %s publishes via the partition root, so a TRUNCATE of a leaf (how awa prunes) is never sent", p.Name)
	case p.AppendOnly && (seen.Update || seen.Delete):
		return pg.Refuse(fmt.Sprintf("run: ALTER PUBLICATION %s SET (publish = '%s')", name, p.publishes()),
			"publication %s publishes updates or deletes of tables without a primary key, under which awa's own statements on them fail", p.Name)
	case !seen.Insert || !seen.Truncate || !p.AppendOnly && (!seen.Update || !seen.Delete):
		return pg.Refuse(fmt.Sprintf("run: ALTER PUBLICATION %s SET (publish = '%s')", name, p.publishes()),
			"publication %s does not publish all of %s", p.Name, p.publishes())
	case len(seen.Filtered) > 0:
		mend := fmt.Sprintf("run: ALTER PUBLICATION %s DROP TABLE %s", name, strings.Join(seen.Filtered, ", "))
		if len(seen.Lacks) > 0 {
			mend += "; " + p.mendSQL(seen)
		}
		return pg.Refuse(mend, "publication %s (OID %d) has a row filter, so not every change is sent", p.Name, seen.OID)
	}
	return p.covers(seen)
}

// covers checks that every relation is in the publication.
func (p Publication) covers(seen Published) error {
	var missing []string
	for _, rel := range p.Relations {
		if !slices.Contains(seen.Relations, rel) {
			missing = append(missing, seen.Names[rel])
		}
	}
	if len(missing) == 0 {
		return nil
	}
	refusal := pg.Refuse("run: "+p.mendSQL(seen), "publication %s does not publish %s", p.Name, strings.Join(missing, ", "))
	switch {
	case len(seen.Lacks) == 0: // all that it has to name it does
		refusal.Remedy = "see that they are neither unlogged nor detached, and run it again"
	case len(missing) == len(p.Relations) || p.AppendOnly: // what setup mends
		refusal.Err, refusal.Remedy = errIncomplete, "have the owner of awa's tables run awa-counterd setup, or "+refusal.Remedy
	}
	return refusal
}

// errIncomplete marks a publication that is mended without a person: one that has none of the tables (they were dropped and created
// again, as awa's reset does, and took their place in it with them; or it was made for others), or one that lacks a table which a
// migration of awa's has brought. Any other that lacks some was made so by somebody.
var errIncomplete = errors.New("the publication lacks tables that awa has created since")

// mendSQL adds what a publication lacks, and takes nothing out of it: somebody reads what else it names, of awa's schema or of another,
// and of what is dropped nothing stays in it.
func (p Publication) mendSQL(seen Published) string {
	return fmt.Sprintf("ALTER PUBLICATION %s ADD TABLE %s", pgx.Identifier{p.Name}.Sanitize(), strings.Join(seen.Lacks, ", "))
}

const (
	publishWait  = 100 * time.Millisecond // for one lock, and between two tries
	publishTries = 50
)

// Publish runs the statement that makes a publication or adds to it. It locks one table after the other and keeps what it
// has, and a migration of awa's locks several of them in an order of its own. So it waits for each lock a tenth of what
// deadlock_timeout is by default, lets go of everything and tries again. The last try waits as long as the connection's
// lock_timeout says: an autovacuum gives way only to whoever has waited for deadlock_timeout.
func Publish(ctx context.Context, c Conn, sql string) error {
	for range publishTries {
		_, err := c.Exec(ctx, "SET LOCAL lock_timeout = '"+publishWait.String()+"'; "+sql)
		if !pg.IsLockTimeout(err) {
			return err
		}
		if err := pause(ctx, publishWait); err != nil {
			return err
		}
	}
	_, err := c.Exec(ctx, sql)
	return err
}

// NoMoreThan lists those of the publications, by OID, that publish no table but what the named ones do as well.
func NoMoreThan(ctx context.Context, c Conn, publications []uint32, named []string) ([]string, error) {
	rows, err := c.Query(ctx, `select p.pubname::text from pg_publication p where p.oid = any($1) and p.pubname <> all($2) and not p.puballtables
		and not exists (select 1 from pg_publication_tables t where t.pubname = p.pubname and not exists (select 1 from pg_publication_tables o
			where o.pubname = any($2) and o.schemaname = t.schemaname and o.tablename = t.tablename)) order by 1`, publications, named)
	if err != nil {
		return nil, fmt.Errorf("look at publications: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look at publications: %w", err)
	}
	return names, nil
}

// Alone reports whether a publication publishes nothing but those tables and their partitions, by name or with all of a schema's.
func Alone(ctx context.Context, c Conn, name string, tables []string) (oid uint32, alone bool, err error) {
	err = c.QueryRow(ctx, `
		with ours as (select to_regclass(t)::oid as oid from unnest($2::text[]) t where to_regclass(t) is not null)
		select p.oid, not p.puballtables and not exists (
			select 1 from (select r.prrelid as oid from pg_publication_rel r where r.prpubid = p.oid
				union select c.oid from pg_publication_tables t join pg_namespace n on n.nspname = t.schemaname
					join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename where t.pubname = p.pubname) has
			where has.oid not in (select oid from ours) and not exists (select 1 from pg_partition_ancestors(has.oid) a where a.relid in (select oid from ours)))
		from pg_publication p where p.pubname = $1`, name, tables).Scan(&oid, &alone)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 0, false, fmt.Errorf("publication %s: %w", name, ErrNoPublication)
	case err != nil:
		return 0, false, fmt.Errorf("look at publication %s: %w", name, err)
	}
	return oid, alone, nil
}
