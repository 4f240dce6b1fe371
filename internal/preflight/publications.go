package preflight

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/replication"
)

func publications(ctx context.Context, v *visit) (out []Finding) {
	for _, pub := range replication.Needed(v.Publication, v.Layout) {
		out = append(out, publication(ctx, v, pub)...)
	}
	return out
}

func publication(ctx context.Context, v *visit, pub replication.Publication) []Finding {
	name := "publication " + pub.Name
	_, err := pub.Check(ctx, v.Conn)
	refusal, wrong := errors.AsType[*pg.Refusal](err)
	switch {
	case errors.Is(err, replication.ErrNoPublication):
		return append(found(name, nil, true, "is missing; the daemon creates it if its role owns awa's tables", ""), mayPublish(ctx, v, pub)...)
	case wrong:
		return found(name, nil, false, refusal.Problem, strings.TrimPrefix(refusal.Remedy, "run: "))
	}
	return found(name, err, true, "publishes everything that the daemon needs", "")
}

func mayPublish(ctx context.Context, v *visit, pub replication.Publication) []Finding {
	var owns, may bool
	err := v.queryRow(ctx, `select pg_has_role($1::text, c.relowner, 'usage'), has_database_privilege($1::text, current_database(), 'create')
		from pg_class c where c.oid = $2::text::regclass`, []any{v.Role, v.Layout.Schema.RowsTable()}, &owns, &may)
	return found("may create publication "+pub.Name, err, owns && may, "role "+v.Role, "as the owner of awa's tables: "+pub.CreateSQL())
}

func planPublications(ctx context.Context, v *visit) (out []Step, err error) {
	if v.Layout == nil {
		return nil, nil
	}
	for _, pub := range replication.Needed(v.Publication, v.Layout) {
		what, sql, err := pub.Plan(ctx, v.Conn)
		if err != nil {
			return nil, err
		}
		if sql != "" {
			out = append(out, Step{What: what, SQL: sql})
		}
	}
	return out, nil
}

// otherPublications names publications of others under which awa's own statements fail: FOR ALL TABLES and FOR TABLES IN SCHEMA take
// in tables without a primary key, of which no UPDATE or DELETE can be published.
func otherPublications(ctx context.Context, v *visit) []Finding {
	type tooWide struct {
		Name   string
		Tables []string
	}
	ours := []string{}
	for _, pub := range replication.Needed(v.Publication, v.Layout) {
		ours = append(ours, pub.Name)
	}
	rows, err := v.Conn.Query(ctx, `
		select p.pubname::text, array_agg(c.oid::regclass::text order by c.oid) from pg_publication p
		join pg_publication_tables t on t.pubname = p.pubname join pg_namespace n on n.nspname = t.schemaname
		join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
		where n.nspname in ($1, 'awa') and (p.pubupdate or p.pubdelete) and p.pubname <> all($2) and (c.relreplident = 'n' or c.relreplident = 'd'
			and not exists (select 1 from pg_index i where i.indrelid = c.oid and i.indisprimary))
		group by 1 order by 1`, string(v.Schema), ours)
	var wide []tooWide
	if err == nil {
		wide, err = pgx.CollectRows(rows, pgx.RowToStructByPos[tooWide])
	}
	detail, remedy := "none publishes updates or deletes of awa's tables without a primary key", ""
	if len(wide) > 0 {
		one := wide[0]
		detail = fmt.Sprintf("publication %s publishes updates or deletes of %s, which has no replica identity: awa's own statements on it fail", one.Name, one.Tables[0])
		if more := len(one.Tables) - 1; more > 0 {
			detail = fmt.Sprintf("publication %s publishes updates or deletes of %s and %d more, which have no replica identity: awa's own statements on them fail", one.Name, one.Tables[0], more)
		}
		remedy = fmt.Sprintf("ALTER PUBLICATION %s SET (publish = 'insert, truncate')", quote(one.Name))
	}
	return found("other publications", err, len(wide) == 0, detail, remedy)
}
