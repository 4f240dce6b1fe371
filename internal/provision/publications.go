package provision

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/replication"
)

// publication is one that has to do with a schema's daemon.
type publication struct {
	OID    uint32
	Name   string
	Named  bool     // by its default, by a flag, or by the environment, from which run has its name as well
	Used   bool     // by the daemon that has written the checkpoint
	Only   bool     // it publishes no table that the daemon's own would not
	Counts bool     // it publishes counters, which nobody but the daemon has a use for
	Tables []string // of awa's, that it names
	Others bool     // the daemon of another schema works with it
}

// ours reports that a teardown drops it, whoever named it: what the daemon was told to use may be others' as well.
func (p publication) ours() bool { return (p.Named || p.Used) && p.Only && !p.Others }

// leave says why one that is left may have to be removed; "" where it has nothing to do with awa-counterd. plain is as of checkpoint.Rest.
func (p publication) leave(plain bool) string {
	which := "publication " + p.Name
	if p.Used {
		which += ", which the daemon used,"
	}
	switch {
	case p.ours():
		return ""
	case (p.Named || p.Used) && p.Only:
		return which + " is left, for the daemon of another schema of awa's works with it as well"
	case (p.Named || p.Used) && len(p.Tables) > 0:
		return fmt.Sprintf("%s is left, for it publishes other tables as well; if nobody else reads awa's from it, run: ALTER PUBLICATION %s DROP TABLE %s",
			which, quote(p.Name), strings.Join(p.Tables, ", "))
	case p.Named || p.Used:
		return fmt.Sprintf("%s is left, for it publishes other tables as well; if nobody needs it, run: DROP PUBLICATION %s", which, quote(p.Name))
	case p.Only && p.Counts && !p.Others:
		run := "awa-counterd teardown --publication " + p.Name
		if plain {
			run = "DROP PUBLICATION " + quote(p.Name)
		}
		return fmt.Sprintf("%s is left, which publishes awa's counters; if awa-counterd created it, run: %s", which, run)
	}
	return ""
}

// publications lists what a daemon of these names may have created or used, by name. mine are all names that its schema has or had, and
// those of schemas that go with it.
func publications(ctx context.Context, c *pgx.Conn, n Names, mine []string) ([]publication, error) {
	if err := checkpoint.CheckTells(ctx, c); err != nil {
		return nil, err
	}
	made, err := checkpoint.ReadMade(ctx, c, string(n.Schema))
	if err != nil && !pg.IsDenied(err) {
		return nil, err
	}
	now, err := nowCalled(ctx, c, string(n.Schema))
	if err != nil {
		return nil, err
	}
	tables := n.Schema.Published()
	if now != "" && now != n.Schema {
		tables = slices.Concat(tables, now.Published())
	}
	rows, err := c.Query(ctx, `
		with ours as (select to_regclass(t)::oid as oid, t = any($4) as counts from unnest($3::text[]) t where to_regclass(t) is not null),
		leaves as (select t.pubname, bool_and(o.oid is not null) as only, bool_or(coalesce(o.counts, false)) as counts
			from pg_publication_tables t join pg_namespace n on n.nspname = t.schemaname join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
			left join lateral (select * from ours where ours.oid = c.oid or ours.oid in (select relid from pg_partition_ancestors(c.oid)) limit 1) o on true
			group by 1)
		select p.oid, p.pubname::text, p.pubname = any($1), p.oid = any($2), not p.puballtables and coalesce(l.only, true), coalesce(l.counts, false),
			array(select r.prrelid::regclass::text from pg_publication_rel r where r.prpubid = p.oid
				and (r.prrelid in (select oid from ours) or exists (select 1 from ours where ours.oid in (select relid from pg_partition_ancestors(r.prrelid)))) order by 1),
			false
		from pg_publication p left join leaves l using (pubname) order by 1`,
		[]string{n.Publication, replication.LedgerPublicationName(n.Publication)}, append([]uint32{}, made.Publications...), tables, slices.Concat(n.Schema.Counting(), now.Counting()))
	if err != nil {
		return nil, fmt.Errorf("look for publications: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[publication])
	if err != nil {
		return nil, fmt.Errorf("look for publications: %w", err)
	}
	oids := make([]uint32, 0, len(all))
	for _, p := range all {
		oids = append(oids, p.OID)
	}
	used, err := checkpoint.UsedByOthers(ctx, c, mine, oids)
	if err != nil && !pg.IsDenied(err) {
		return nil, err
	}
	for i := range all {
		all[i].Others = slices.Contains(used, all[i].OID)
	}
	return all, nil
}
