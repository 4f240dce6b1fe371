package awa

import (
	"context"
	"fmt"
)

// state is read at every look, so that what was done to a table between two looks is found even if it was undone
// before the second. All of it but the names is told by marks that nothing puts back:
//
//   - a leaf that was detached and attached again has another row in pg_inherits;
//   - a table that was rewritten by ALTER TABLE, as by SET UNLOGGED and SET LOGGED, has another TOAST table. A
//     TRUNCATE, a VACUUM FULL and a CLUSTER give the table and its TOAST table new files, and keep both OIDs: what
//     pg_class says of files changes with every prune, and so does its xmin;
//   - a name is told as it is: scans go by names, and two leaves that swap theirs would be scanned one for the other;
//   - persistence and the types of the columns that we read are told as they are. To have been otherwise they take a
//     rewrite.
//
// What takes a table out of its schema or renames its columns, and puts it back, is told by the stream, which describes
// the table again before its next change (Catalog): the names that it tells have to stand where they stood.
func (l *Layout) state(ctx context.Context, q Querier) (string, error) {
	oids := append(l.OIDs(), l.Rollups, l.RollupDeltas)
	var state string
	err := q.QueryRow(ctx, `
		select coalesce(md5(string_agg(concat_ws(' ', c.oid, c.relname, c.relnamespace, c.relkind, c.relpersistence, c.reltoastrelid, i.inhparent, i.xmin,
		       (select string_agg(a.attname || '.' || a.attnum || '.' || a.atttypid, ' ' order by a.attnum)
		        from pg_attribute a where a.attrelid = c.oid and a.attname = any($2))), '; ' order by c.oid)), '')
		from pg_class c left join pg_inherits i on i.inhrelid = c.oid where c.oid = any($1)`, oids,
		[]string{slotColumn, queueColumn, priorityColumn, shardColumn, countColumn, bucketColumn, deltaColumn}).Scan(&state)
	if err != nil {
		return "", fmt.Errorf("read the state of awa's tables: %w", err)
	}
	return state, nil
}
