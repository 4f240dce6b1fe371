package status

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/replication"
)

// otherPublications names publications of others under which awa's own statements fail: FOR ALL TABLES and FOR TABLES IN SCHEMA take
// in tables without a primary key, of which no UPDATE or DELETE can be published.
func (d *doctor) otherPublications(ctx context.Context) {
	type publication struct {
		Name   string
		Tables []string
	}
	ours := []string{}
	for _, pub := range replication.Needed(d.Names.Publication, d.layout) {
		ours = append(ours, pub.Name)
	}
	rows, err := d.Conn.Query(ctx, `
		select p.pubname::text, array_agg(c.oid::regclass::text order by c.oid) from pg_publication p
		join pg_publication_tables t on t.pubname = p.pubname join pg_namespace n on n.nspname = t.schemaname
		join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
		where n.nspname in ($1, 'awa') and (p.pubupdate or p.pubdelete) and p.pubname <> all($2) and (c.relreplident = 'n' or c.relreplident = 'd'
			and not exists (select 1 from pg_index i where i.indrelid = c.oid and i.indisprimary))
		group by 1 order by 1`, string(d.Schema), ours)
	var found []publication
	if err == nil {
		found, err = pgx.CollectRows(rows, pgx.RowToStructByPos[publication])
	}
	detail, remedy := "none takes in tables of awa's without a primary key", ""
	if len(found) > 0 {
		one := found[0]
		detail = fmt.Sprintf("publication %s publishes updates or deletes of %s, which has no replica identity: awa's own statements on it fail", one.Name, one.Tables[0])
		if more := len(one.Tables) - 1; more > 0 {
			detail = fmt.Sprintf("publication %s publishes updates or deletes of %s and %d more, which have no replica identity: awa's own statements on them fail", one.Name, one.Tables[0], more)
		}
		remedy = fmt.Sprintf("ALTER PUBLICATION %s SET (publish = 'insert, truncate')", pgx.Identifier{one.Name}.Sanitize())
	}
	d.check("other publications", err, len(found) == 0, detail, remedy)
}

// walLevelAfterRestart looks whether the server would start again: with a logical slot it does not below wal_level = logical. What
// the server's files say is for those to read whom a superuser lets; that a reload has found another value there, everybody may see.
func (d *doctor) walLevelAfterRestart(ctx context.Context) {
	const name = "wal_level after a restart"
	var there, logical, pending, may bool
	err := d.queryRow(ctx, `select exists (select 1 from pg_replication_slots where slot_name = $1), current_setting('wal_level') = 'logical',
		coalesce((select pending_restart from pg_settings where name = 'wal_level'), false),
		has_table_privilege('pg_file_settings', 'select') and has_function_privilege('pg_show_all_file_settings()', 'execute')`,
		[]any{d.Names.Slot}, &there, &logical, &pending, &may)
	var next *string
	if err == nil && may {
		err = d.queryRow(ctx, `select (select setting from pg_file_settings where name = 'wal_level' order by seqno desc limit 1)`, nil, &next)
	}
	lowered, to := logical && next != nil && *next != "logical", ""
	switch {
	case lowered:
		to = " to " + *next
	case !may && logical && pending:
		lowered = true
	case !may && err == nil:
		d.add(name, Passed, "no reload has found another one; whether the server's files have one that was not loaded yet, this role may not see", "")
		return
	}
	detail := "nothing lowers it at the next start"
	if lowered {
		detail = "the server's files lower wal_level" + to
		if there {
			detail += fmt.Sprintf(": with replication slot %s the server will not start any more", d.Names.Slot)
		}
	}
	d.check(name, err, !lowered, detail, "ALTER SYSTEM SET wal_level = 'logical'")
}
