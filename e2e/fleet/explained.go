package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Unexplained lists the groups that are wrong by something else than what went uncounted since a moment. Whoever
// corrected a group after that moment left it right as of his snapshot; so what it is wrong by now is the sum of its last
// uncounted changes, as many as came after the snapshot: none of them, all, or some. A new leader's prune and a
// rebuild forgive what came before them, which leaves such a sum as well. A poisoned counter is in no record.
//
// The writers that do not count must have stopped, and the server must have track_commit_timestamp on.
func Unexplained(ctx context.Context, q Querier, schema string, since time.Time) ([]Wrong, error) {
	c, err := found(ctx, q, schema)
	if err != nil {
		return nil, err
	}
	rows, err := q.Query(ctx, fmt.Sprintf(`
		with d as materialized (select * from (%[2]s) x where n <> c),
		log as materialized (%[1]s)
		select s, q, p, h, n, c from d where not exists (select 1 from log where (log.s, log.q, log.p, log.h) = (d.s, d.q, d.p, d.h) and run = n - c)`,
		uncounted(schema, "$1::timestamptz", recordedSince), drifts(schema, c)), since, longest)
	if err != nil {
		return nil, fmt.Errorf("explain what is wrong: %w", err)
	}
	wrong, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (w Wrong, err error) {
		return w, r.Scan(&w.Slot, &w.Queue, &w.Priority, &w.Shard, &w.Rows, &w.Counter)
	})
	if err != nil {
		return nil, fmt.Errorf("explain what is wrong: %w", err)
	}
	return wrong, nil
}

// UnexplainedBuckets is the same by bucket, and says less: the record has no buckets, so every bucket of a group is
// explained of which anything went uncounted.
func UnexplainedBuckets(ctx context.Context, q Querier, schema string, since time.Time) ([]WrongBucket, error) {
	_, wrong, err := CompareBuckets(ctx, q, schema)
	if err != nil {
		return nil, err
	}
	rows, err := q.Query(ctx, `select distinct s, q, p, h from (`+uncounted(schema, "$1::timestamptz", recordedSince)+`) x`, since, longest)
	if err != nil {
		return nil, fmt.Errorf("explain what is wrong by bucket: %w", err)
	}
	changed := make(map[Key]bool)
	var k Key
	if _, err := pgx.ForEachRow(rows, []any{&k.Slot, &k.Queue, &k.Priority, &k.Shard}, func() error { changed[k] = true; return nil }); err != nil {
		return nil, fmt.Errorf("explain what is wrong by bucket: %w", err)
	}
	var unexplained []WrongBucket
	for _, w := range wrong {
		if !changed[w.Key] {
			unexplained = append(unexplained, w)
		}
	}
	return unexplained, nil
}

// recordedSince is before every record of what was committed after $1: $2 is how long a transaction may take.
const recordedSince = "$1::timestamptz - $2::interval"

// uncounted lists what went uncounted and was committed after a moment, when that was, and what it and all later changes of its group
// come to. What was recorded no later than another moment was committed before the first one.
func uncounted(schema, committed, recorded string) string {
	return fmt.Sprintf(`select s, q, p, h, at, sum(delta) over (partition by s, q, p, h order by at desc) as run
		from (select ready_slot as s, queue as q, priority as p, enqueue_shard as h, delta, pg_xact_commit_timestamp(xmin) as at
		      from fleet_log.uncounted_%s u where u.at > %s) x
		where at > %s`, schema, recorded, committed)
}
