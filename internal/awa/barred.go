package awa

import "fmt"

// Barred begins a query: barred has a row for each table and publication under which the server refuses an UPDATE or a DELETE, of those that
// the publication publishes, for there is nothing to tell by whose row it was. mend is the statement after which it refuses no DELETE, and
// mend_all also no UPDATE.
//
// That is REPLICA IDENTITY FULL: the consumer, whoever it is, goes on hearing of everything, and it costs nothing where rows are only inserted
// and truncated. Deletes taken out of the publication would be taken from all of its tables, FOR ALL TABLES from the whole database, and
// its consumer would not hear of them. Only with a list of columns is that the way out: it would have to cover the identity.
const Barred = `with sent as materialized (
		select p.oid as pub, t.relid from pg_publication p, pg_get_publication_tables(p.pubname::text) t where p.pubupdate or p.pubdelete),
	barred as (
		select c.oid as relation, c.relnamespace as namespace, p.pubname::text as publication, p.pubupdate as updates, p.pubdelete as deletes,
			case when l.listed then format('ALTER PUBLICATION %I SET (publish = %L)', p.pubname, concat_ws(', ', case when p.pubinsert then 'insert' end, case when p.pubupdate then 'update' end, case when p.pubtruncate then 'truncate' end)) else f.full_identity end as mend,
			case when l.listed then format('ALTER PUBLICATION %I SET (publish = %L)', p.pubname, concat_ws(', ', case when p.pubinsert then 'insert' end, case when p.pubtruncate then 'truncate' end)) else f.full_identity end as mend_all
		from pg_class c, pg_publication p, lateral (select format('ALTER TABLE %s REPLICA IDENTITY FULL', c.oid::regclass) as full_identity) f, lateral (select exists (select 1 from pg_publication_rel r where r.prpubid = p.oid and to_jsonb(r) ->> 'prattrs' is not null
			and (r.prrelid = c.oid or r.prrelid in (select relid from pg_partition_ancestors(c.oid)))) as listed) l
		where c.relkind = 'r' and (c.relreplident = 'n' or c.relreplident = 'f' and l.listed or c.relreplident = 'd'
				and not exists (select 1 from pg_index i where i.indrelid = c.oid and i.indisprimary))
			and exists (select 1 from sent s where s.pub = p.oid and (s.relid = c.oid or s.relid in (select relid from pg_partition_ancestors(c.oid)))))`

// MayDropStale tells whether the current user has the right to, and by which publications nobody has (Barred), with what mends that.
func (l *Layout) MayDropStale(leaf Leaf) string {
	return fmt.Sprintf(`%s select has_table_privilege(%[2]s, 'DELETE'), coalesce(array_agg(publication order by publication), '{}'), coalesce(array_agg(distinct mend), '{}')
		from barred where relation = %[2]s::regclass and deletes`, Barred, literal(l.LedgerOf(leaf)))
}
