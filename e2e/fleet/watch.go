package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Watch samples marker, counters and rows in one snapshot, over and over, and finds drift that is
// older than a bound while the marker is set.
//
// The fleet records every uncounted write with its time, so most drift is explained by writes that
// are still young. What no young write explains may be the echo of an event (a correction that met
// a prune, a clamp, a rebuild) and then lasts one flush; so it counts as too old once it has stood,
// sample by sample, for grace. Young means younger than bound less grace: together, nothing older
// than the bound passes.
type Watch struct {
	Schema string
	Bound  time.Duration
	// Unvouched reports that the daemon cannot clear the marker at this moment, because it is dead or
	// cut off; nil for never. What is dishonest then is counted apart.
	Unvouched func() bool
	// Unlogged reports that a fault of this moment drives counters wrong without a record, less than
	// Bound ago; nil for never. Then drift may be unexplained for as long as Bound.
	Unlogged func() bool

	Samples, Trusted int
	Sparse           int           // samples too long after the one before to follow an unexplained drift
	Dishonest        int           // trusted samples with a drift older than the bound
	Excused          int           // dishonest ones while nobody could have cleared the marker
	First            *Wrong        // the first of the dishonest
	Set              bool          // the marker, at the last look
	Oldest           time.Duration // oldest drift while trusted: age of the youngest writes that explain it

	since map[Key]standing // what is unexplained
	last  time.Time        // the look before
}

// standing is an unexplained drift that was seen look after look.
type standing struct {
	from    time.Time
	missing bool // rows that no counter has; else counts that no row has
}

const grace = 500 * time.Millisecond

// Look takes one sample.
func (w *Watch) Look(ctx context.Context, q Querier) error {
	rows, err := q.Query(ctx, fmt.Sprintf(`
		with d as materialized (select * from (%[2]s) x where n <> c),
		trust as (select coalesce(bool_or(terminal_counter_trusted_at is not null), false) as t from %[1]s.queue_ring_state),
		log as materialized (
			select ready_slot as s, queue as q, priority as p, enqueue_shard as h, delta, at,
			       sum(delta) over (partition by ready_slot, queue, priority, enqueue_shard order by at desc) as run
			from fleet_log.uncounted_%[1]s where at > statement_timestamp() - 2 * $1::interval),
		recent as (
			select s, q, p, h, sum(least(delta, 0))::bigint as low, sum(greatest(delta, 0))::bigint as high
			from log where at > statement_timestamp() - $1::interval group by 1, 2, 3, 4),
		why as (select s, q, p, h, max(at) as at from log join d using (s, q, p, h) where run = d.n - d.c group by 1, 2, 3, 4),
		upset as materialized (select ready_slot, max(at) as at from fleet_log.disturbed_%[1]s where at > statement_timestamp() - 2 * $1::interval group by 1)
		select trust.t, d.s, d.q, d.p, d.h, d.n, d.c, coalesce(r.low, 0), coalesce(r.high, 0),
		  case when exists (select 1 from upset x where (x.ready_slot is null or x.ready_slot = d.s) and x.at > why.at) then 0
		       else coalesce(extract(epoch from statement_timestamp() - why.at), 0) end::float8
		from trust left join d on true left join recent r using (s, q, p, h) left join why using (s, q, p, h)`, w.Schema, drifts(w.Schema)), w.Bound-grace)
	if err != nil {
		return fmt.Errorf("sample: %w", err)
	}
	var trusted bool
	var s *int32
	var queue *string
	var p, h *int16
	var n, c *int64
	var low, high int64
	var age float64
	oldest := time.Duration(0)
	unexplained := make(map[Key]Wrong)
	_, err = pgx.ForEachRow(rows, []any{&trusted, &s, &queue, &p, &h, &n, &c, &low, &high, &age}, func() error {
		if s == nil {
			return nil
		}
		oldest = max(oldest, time.Duration(age*float64(time.Second)))
		if drift := *n - *c; drift < low || drift > high {
			k := Key{*s, *queue, *p, *h}
			unexplained[k] = Wrong{Key: k, Rows: *n, Counter: *c}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("sample: %w", err)
	}
	w.judge(time.Now(), trusted, oldest, unexplained)
	return nil
}

func (w *Watch) judge(now time.Time, trusted bool, oldest time.Duration, unexplained map[Key]Wrong) {
	w.Samples++
	since := make(map[Key]standing, len(unexplained))
	// Between looks that are far apart a drift may have been corrected and another have come.
	apart := now.Sub(w.last) > grace/2
	if apart && !w.last.IsZero() {
		w.Sparse++
	}
	for k, d := range unexplained {
		s := standing{now, d.Rows > d.Counter}
		// So is a drift the other way: the counters were corrected between the looks, and clamped, say.
		if then, ok := w.since[k]; ok && !apart && then.missing == s.missing {
			s = then
		}
		since[k] = s
	}
	w.since, w.last = since, now
	w.Set = trusted
	if !trusted {
		return
	}
	w.Trusted++
	excused := w.Unvouched != nil && w.Unvouched()
	if !excused {
		w.Oldest = max(w.Oldest, oldest)
	}
	limit := grace
	if w.Unlogged != nil && w.Unlogged() {
		limit = w.Bound
	}
	for k, s := range since {
		if now.Sub(s.from) > limit {
			if excused {
				w.Excused++
				return
			}
			w.Dishonest++
			if w.First == nil {
				wrong := unexplained[k]
				w.First = &wrong
			}
			return
		}
	}
}
