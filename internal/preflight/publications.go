package preflight

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/internal/awa"
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

// otherPublications names publications of others under which statements fail that change or delete rows: FOR ALL TABLES and FOR TABLES IN
// SCHEMA take in tables without a primary key, of which no UPDATE or DELETE can be published. awa's own fail on some; into its ledger it only
// inserts, and it is awa-counterd that may have to delete from it.
func otherPublications(ctx context.Context, v *visit) []Finding {
	ours := []string{}
	for _, pub := range replication.Needed(v.Publication, v.Layout) {
		ours = append(ours, pub.Name)
	}
	ledger := []uint32{}
	for _, leaf := range v.Layout.Leaves {
		ledger = append(ledger, leaf.Ledger.OID)
	}
	rows, err := v.Conn.Query(ctx, awa.Barred+`
		select b.publication, array(select unnest(array_agg(b.relation::regclass::text order by b.relation) filter (where not l.is))),
			array(select unnest(array_agg(b.relation::regclass::text order by b.relation) filter (where l.is))),
			array_agg(distinct (case when l.is then b.mend else b.mend_all end) collate "C" order by (case when l.is then b.mend else b.mend_all end) collate "C" desc)
		from barred b join pg_namespace n on n.oid = b.namespace, lateral (select b.relation = any($3::oid[]) as is) l
		where n.nspname in ($1, 'awa') and b.publication <> all($2) and (b.deletes or not l.is) group by 1 order by 1`, string(v.Schema), ours, ledger)
	var wide []tooWide
	if err == nil {
		wide, err = pgx.CollectRows(rows, pgx.RowToStructByPos[tooWide])
	}
	detail, remedy := "none publishes updates or deletes of awa's tables without a primary key", ""
	if len(wide) > 0 {
		detail, remedy = wide[0].detail(), strings.Join(wide[0].Mends, "; ")
	}
	return found("other publications", err, len(wide) == 0, detail, remedy)
}

// tooWide is a publication that takes in tables of awa's without a replica identity.
type tooWide struct {
	Name   string
	Awas   []string // on which awa's own updates and deletes fail
	Ledger []string
	Mends  []string
}

func (w tooWide) detail() string {
	var fail []string
	if len(w.Awas) > 0 {
		fail = append(fail, "awa's own fail on "+someOf(w.Awas))
	}
	if len(w.Ledger) > 0 {
		fail = append(fail, "finish and reconcile cannot move changes of another generation, should there be any, out of "+someOf(w.Ledger)+", into which awa only inserts")
	}
	return fmt.Sprintf("publication %s publishes updates or deletes of tables that have no replica identity: %s", w.Name, strings.Join(fail, "; "))
}

func someOf(names []string) string {
	if more := len(names) - 1; more > 0 {
		return fmt.Sprintf("%s and %d more", names[0], more)
	}
	return names[0]
}
