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
// The fleet records every uncounted write. Corrections take what was written in the order of commits,
// so an honest drift is the sum of a group's last writes, and as old as the first of these. What is
// no such sum, or one of writes older than the bound less grace, may be the echo of an event (a
// correction that met a prune, a clamp, a rebuild) and then lasts one flush; so it counts as too old
// once it has stood, sample by sample, for grace: together, nothing older than the bound passes. A
// group that was seen right within the bound has no older drift.
//
// The server must have track_commit_timestamp on: writes are not recorded in the order of commits.
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
	Sparse           int           // samples too long after the one before to follow a drift
	Dishonest        int           // trusted samples with a drift older than the bound
	Excused          int           // dishonest ones while nobody could have cleared the marker
	First            *Wrong        // the first of the dishonest
	Set              bool          // the marker, at the last look
	Off              int64         // jobs by which the counters of all queues were wrong, added up, at the last look
	Oldest           time.Duration // the longest that a drift can have stood while trusted

	since map[Key]standing
	last  time.Time // the look before
}

// standing is the drift of a group, followed from look to look.
type standing struct {
	wrong   time.Time // the group was right then; zero if no look tells
	old     time.Time // from when on no young writes sum up to it; zero if some do
	missing bool      // rows that no counter has; else counts that no row has
}

const (
	grace   = 500 * time.Millisecond
	longest = 20 * time.Second // that a transaction takes from its record of a write to its commit
)

// Look takes one sample.
func (w *Watch) Look(ctx context.Context, q Querier) error {
	shape, err := found(ctx, q, w.Schema)
	if err != nil {
		return fmt.Errorf("sample: %w", err)
	}
	began := time.Now()
	rows, err := q.Query(ctx, fmt.Sprintf(`
		with d as materialized (select * from (%[2]s) x where n <> c),
		trust as (select coalesce(bool_or(terminal_counter_trusted_at is not null), false) as t from %[1]s.queue_ring_state),
		log as materialized (%[3]s),
		why as (select s, q, p, h, max(at) as at from log join d using (s, q, p, h) where run = d.n - d.c group by 1, 2, 3, 4),
		upset as materialized (select ready_slot, max(at) as at from fleet_log.disturbed_%[1]s where at > statement_timestamp() - 2 * $1::interval group by 1)
		select trust.t, d.s, d.q, d.p, d.h, d.n, d.c, extract(epoch from statement_timestamp() - why.at)::float8,
		  exists (select 1 from upset x where (x.ready_slot is null or x.ready_slot = d.s) and x.at > why.at)
		from trust left join d on true left join why using (s, q, p, h)`, w.Schema, drifts(w.Schema, shape),
		uncounted(w.Schema, "statement_timestamp() - 2 * $1::interval", "statement_timestamp() - $2::interval")), w.Bound, longest)
	if err != nil {
		return fmt.Errorf("sample: %w", err)
	}
	var trusted, upset bool
	var s *int32
	var queue *string
	var p, h *int16
	var n, c *int64
	var age *float64
	var seen []drift
	_, err = pgx.ForEachRow(rows, []any{&trusted, &s, &queue, &p, &h, &n, &c, &age, &upset}, func() error {
		if s == nil {
			return nil
		}
		d := drift{Wrong: Wrong{Key{*s, *queue, *p, *h}, *n, *c}, upset: upset}
		if age != nil {
			d.summed, d.age = true, time.Duration(*age*float64(time.Second))
		}
		seen = append(seen, d)
		return nil
	})
	if err != nil {
		return fmt.Errorf("sample: %w", err)
	}
	w.judge(began, trusted, seen)
	return nil
}

// drift is a group's, in one sample.
type drift struct {
	Wrong
	summed bool          // it is the sum of the group's last uncounted writes
	age    time.Duration // the age of the first of these
	upset  bool          // an event since then may have made it, too
}

func (w *Watch) judge(now time.Time, trusted bool, seen []drift) {
	w.Samples++
	// Between looks that are far apart a drift may have been corrected and another have come.
	apart := now.Sub(w.last) > grace/2
	if apart && !w.last.IsZero() {
		w.Sparse++
	}
	excused := trusted && w.Unvouched != nil && w.Unvouched()
	limit := grace
	blind := w.Unlogged != nil && w.Unlogged()
	if blind {
		limit = w.Bound
	}
	since := make(map[Key]standing)
	var late *Wrong
	for _, d := range seen {
		s := w.follow(now, apart, d)
		since[d.Key] = s
		if s.late(now, w.Bound, limit) {
			late = &d.Wrong
		}
		if trusted && !excused {
			w.Oldest = max(w.Oldest, w.age(now, d, s, blind))
		}
	}
	w.since, w.last = since, now
	w.Set, w.Off = trusted, off(seen)
	if !trusted {
		return
	}
	w.Trusted++
	switch {
	case late == nil:
	case excused:
		w.Excused++
	default:
		w.Dishonest++
		if w.First == nil {
			w.First = late
		}
	}
}

// off is how wrong the counters of queues are, as their readers add groups up.
func off(seen []drift) (total int64) {
	queues := make(map[string]int64)
	for _, d := range seen {
		queues[d.Queue] += d.Rows - d.Counter
	}
	for _, n := range queues {
		total += max(n, -n)
	}
	return total
}

// late: an old drift stands for longer than allowed, and was not right within the bound.
func (s standing) late(now time.Time, bound, allowed time.Duration) bool {
	return !s.old.IsZero() && now.Sub(s.old) > allowed && (s.wrong.IsZero() || now.Sub(s.wrong) > bound)
}

// follow goes on with what the look before saw of a group.
func (w *Watch) follow(now time.Time, apart bool, d drift) standing {
	s := standing{missing: d.Rows > d.Counter}
	if !apart {
		s.wrong = w.last
	}
	then, ok := w.since[d.Key]
	ok = ok && !apart
	if ok {
		s.wrong = then.wrong
	}
	if d.summed && d.age <= w.Bound-grace {
		return s
	}
	s.old = now
	// A drift the other way is another one: the counters were corrected between the looks, and clamped, say.
	if ok && !then.old.IsZero() && then.missing == s.missing {
		s.old = then.old
	}
	return s
}

// age is how long a drift can have stood. blind: it may be no sum of writes at all.
func (w *Watch) age(now time.Time, d drift, s standing, blind bool) time.Duration {
	age := d.age
	if !s.old.IsZero() {
		age = now.Sub(s.old)
		if d.summed && !blind {
			age += w.Bound - grace
		}
	}
	switch {
	case !s.wrong.IsZero():
		return min(age, now.Sub(s.wrong))
	case d.upset: // then its writes say little
		return 0
	}
	return age
}
