package provision

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/replication"
)

// publication is one that has to do with a schema's daemon.
type publication struct {
	Name   string
	Named  bool // by its default or by a flag
	Used   bool // by the daemon that has written the checkpoint
	Only   bool // it publishes no table that the daemon's own would not
	Counts bool // it publishes counters, which nobody but the daemon has a use for
}

// ours reports that a teardown drops it. What the daemon was told to use may be others' as well.
func (p publication) ours() bool { return p.Named || p.Used && p.Only }

// leave says why one that is left may have to be removed; "" where it has nothing to do with awa-counterd.
func (p publication) leave() string {
	const mend = "run: awa-counterd teardown --publication "
	switch {
	case p.ours():
		return ""
	case p.Used:
		return fmt.Sprintf("publication %s, which the daemon used, is left, for it publishes other tables as well; if nobody else needs it, %s%s", p.Name, mend, p.Name)
	case p.Only && p.Counts:
		return fmt.Sprintf("publication %s is left, which publishes awa's counters; if awa-counterd created it, %s%s", p.Name, mend, p.Name)
	}
	return ""
}

// publications lists what a daemon of these names may have created or used, by name.
func publications(ctx context.Context, c *pgx.Conn, n Names, now awa.Schema) ([]publication, error) {
	made, err := checkpoint.ReadMade(ctx, c, string(n.Schema))
	if err != nil && !pg.IsDenied(err) {
		return nil, err
	}
	tables := n.Schema.Published()
	if now != n.Schema {
		tables = slices.Concat(tables, now.Published())
	}
	rows, err := c.Query(ctx, `
		with ours as (select to_regclass(t)::oid as oid, t = any($4) as counts from unnest($3::text[]) t where to_regclass(t) is not null),
		leaves as (select t.pubname, bool_and(o.oid is not null) as only, bool_or(coalesce(o.counts, false)) as counts
			from pg_publication_tables t join pg_namespace n on n.nspname = t.schemaname join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
			left join lateral (select * from ours where ours.oid = c.oid or ours.oid in (select relid from pg_partition_ancestors(c.oid)) limit 1) o on true
			group by 1)
		select p.pubname::text, p.pubname = any($1), p.oid = any($2), not p.puballtables and coalesce(l.only, true), coalesce(l.counts, false)
		from pg_publication p left join leaves l using (pubname) order by 1`,
		[]string{n.Publication, replication.LedgerPublicationName(n.Publication)}, append([]uint32{}, made.Publications...), tables, slices.Concat(n.Schema.Counting(), now.Counting()))
	if err != nil {
		return nil, fmt.Errorf("look for publications: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[publication])
	if err != nil {
		return nil, fmt.Errorf("look for publications: %w", err)
	}
	return all, nil
}
