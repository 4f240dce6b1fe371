package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
)

// upgrade is everything after the migration: side by side, the old ones leave, finish, two laps.
func (tr *trial) upgrade(ctx context.Context) error {
	if err := tr.sideBySide(ctx); err != nil {
		return fmt.Errorf("side by side: %w", err)
	}
	if err := tr.leave(ctx); err != nil {
		return fmt.Errorf("the old ones leave: %w", err)
	}
	if err := tr.quiet(ctx, &tr.res.Stopped); err != nil {
		return err
	}
	if err := tr.weighNaive(ctx); err != nil {
		return err
	}
	tr.fleet.tell("resume")
	if err := tr.finish(ctx); err != nil {
		return fmt.Errorf("finish: %w", err)
	}
	// Nobody is left to mend anything now.
	acted, folded := tr.actions(), tr.stream.sums().Folds
	tr.watch.over = time.Now()
	tr.alone.began = tr.watch.over
	from, err := generation(ctx, tr.conn)
	if err != nil {
		return err
	}
	alone := []func(context.Context, int64) error{tr.operate, tr.turn}
	if tr.plan.New == "0.6.0b2" { // what its operators do makes its ring stand
		slices.Reverse(alone)
	}
	for _, do := range append(alone, tr.fold) {
		if err := do(ctx, from); err != nil {
			return err
		}
	}
	if err := tr.quiet(ctx, &tr.res.TwoLaps); err != nil {
		return err
	}
	tr.res.Actions = less(tr.actions(), acted)
	n, folds := jobsOf(tr.res.Actions), tr.stream.sums().Folds-folded
	tr.res.Acted, tr.res.Folds = &n, &folds
	return nil
}

// sideBySide is the mixed fleet. The daemon is killed in its first part; in the rest it has to be
// trusted and right.
func (tr *trial) sideBySide(ctx context.Context) error {
	if tr.plan.Leads == "new" {
		tr.fleet.stop("old-first")
	}
	if err := tr.fleet.start(ctx, "new-first"); err != nil {
		return err
	}
	from, err := generation(ctx, tr.conn)
	if err != nil {
		return err
	}
	produced := tr.produced()
	g, during := errgroup.WithContext(ctx)
	during, over := context.WithCancel(during)
	defer over()
	g.Go(func() error { return tr.fleet.crashes(during) })
	tormented := make(chan struct{})
	g.Go(func() error {
		defer close(tormented)
		if tr.daemon == nil {
			return nil
		}
		select { // it is killed from its first word on, not before it ever worked
		case <-tr.daemon.vouched:
		case <-time.After(10 * time.Second):
		case <-during.Done():
			return nil
		}
		return tr.daemon.torment(during, tr.plan.Kills, tr.plan.Every, tr.plan.Seed)
	})
	began, moved := time.Now(), time.Now()
	tr.mixed.began = began
	for {
		if err := pause(during, 500*time.Millisecond); err != nil {
			return errors.Join(err, g.Wait())
		}
		name, pid, err := leaders(ctx, tr.conn)
		if err != nil {
			return err
		}
		now, err := generation(ctx, tr.conn)
		if err != nil {
			return err
		}
		tr.res.Turns = append(tr.res.Turns, now-from)
		if name != "" {
			tr.rings = append(tr.rings, old(name))
		}
		if tr.plan.Leads == moves && name != "" && time.Since(moved) > 4*time.Second {
			moved = time.Now()
			if _, err := tr.conn.Exec(ctx, `select pg_terminate_backend($1)`, pid); err != nil {
				return err
			}
		}
		lasted := time.Since(began)
		enough := lasted > tr.plan.Mix && tr.stream.sums().RowsUncounted >= tr.plan.Rows && tr.produced()-produced >= tr.plan.Jobs && tr.plan.awaited(float64(now-from)/16)
		select {
		case <-tormented:
		default:
			enough = false
		}
		if enough || lasted > tr.plan.Limit {
			break
		}
	}
	// Some seconds without a death, in which the marker has to be worth something; as many without the daemon, so that errors compare.
	if err := pause(ctx, 6*time.Second); err != nil {
		return err
	}
	over()
	now, err := generation(ctx, tr.conn)
	if err != nil {
		return err
	}
	tr.res.MixLaps, tr.mixed.ended = float64(now-from)/16, time.Now()
	return g.Wait()
}

func (tr *trial) produced() int {
	olds, news := tr.fleet.tallies()
	return olds.Made["produced"] + news.Made["produced"]
}

// leave replaces the old workers, one after the other; a new one takes the lead and the last queue.
func (tr *trial) leave(ctx context.Context) error {
	tr.examine(ctx, together)
	tr.ask(ctx, together, namesWithin, (*answer).names)
	if err := tr.fleet.start(ctx, "new-last"); err != nil {
		return err
	}
	tr.fleet.stop("old-first")
	tr.ask(ctx, lastOld, namesWithin, (*answer).names)
	tr.fleet.stop("old-second")
	return nil
}

// quiet stops what comes in, waits until nothing is worked on, and compares.
func (tr *trial) quiet(ctx context.Context, c *comparison) error {
	tr.fleet.tell("pause")
	handled, still := -1, 0
	_ = tr.until(ctx, 6*time.Second, func() (bool, error) {
		olds, news := tr.fleet.tallies()
		n := olds.Made["handled"] + news.Made["handled"]
		if still++; n != handled {
			handled, still = n, 0
		}
		return still > 15, nil // a tally comes once a second
	})
	began := time.Now()
	for {
		l, err := takeLook(ctx, tr.conn)
		if err != nil {
			return err
		}
		*c = comparison{Groups: l.groups, Wrong: len(l.wrong), Jobs: l.jobs(), Seconds: time.Since(began).Seconds(), Set: l.set}
		for g, d := range l.wrong {
			c.First = describe(g, d, time.Since(began))
			break
		}
		// A control does not get right by being waited for, and need not.
		if len(l.wrong) == 0 || tr.daemon == nil || time.Since(began) > bound+time.Second {
			break
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	now, err := counts(ctx, tr.conn)
	if err != nil {
		return err
	}
	c.Apart = apart(now)
	return nil
}

// weighNaive compares the naive consumer's sums with the rows, once it has read everything.
func (tr *trial) weighNaive(ctx context.Context) error {
	var end uint64
	if err := tr.conn.QueryRow(ctx, `select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint`).Scan(&end); err != nil {
		return err
	}
	if err := tr.until(ctx, 20*time.Second, func() (bool, error) { return tr.stream.at() >= end, nil }); err != nil {
		return fmt.Errorf("the naive consumer lags: %w", err)
	}
	now, err := counts(ctx, tr.conn)
	if err != nil {
		return err
	}
	inBand := make(map[string]int64)
	rows, err := tr.conn.Query(ctx, `select queue, sum(n)::bigint from (
		select queue, terminal_delta as n from awa.queue_terminal_count_deltas
		union all select queue, live_terminal_count from awa.queue_terminal_live_counts) x group by 1`)
	if err != nil {
		return err
	}
	for rows.Next() {
		var queue string
		var n int64
		if err := rows.Scan(&queue, &n); err != nil {
			return err
		}
		inBand[queue] = n
	}
	if err := rows.Err(); err != nil {
		return err
	}
	tr.res.Naive, tr.res.Doubled = tr.stream.missed(tr.stream.start, now, inBand)
	return nil
}

// mostFinishes is how often an operator would run it.
const mostFinishes = 3

// finishingFor is about how long the load goes on until finish has ended the daemon's work. A control has nothing to end, and goes on for as
// long: ledger rows that wait for a fold are the more, and errors, the longer there is load.
const finishingFor = 4 * time.Second

// finish ends the daemon's work.
func (tr *trial) finish(ctx context.Context) error {
	if tr.daemon == nil {
		return pause(ctx, finishingFor)
	}
	s := tr.res.Daemon
	tr.ask(ctx, departed, 0, (*answer).names)
	within := safeWithin
	if tr.o.patient {
		within += time.Minute
	} else {
		// awa leaves the rows of workers that are gone; it takes half a minute until they look dead.
		if _, err := tr.conn.Exec(ctx, `update awa.runtime_instances set last_seen_at = last_seen_at - interval '1 min'
			where version in ('0.6.0-alpha.9', '0.6.0-beta.1')`); err != nil {
			return err
		}
	}
	tr.ask(ctx, finishing, within, func(a *answer) bool { return strings.HasPrefix(a.Next, safe) })
	// awa's new leader may fold, and drop what the old one left, when daemons have left already: then it has to be run again.
	for s.Finish = -1; s.Finish != 0 && s.Tries < mostFinishes; s.Tries++ {
		code, out, errs := tr.daemon.command(ctx, "finish", "--quiet-period", quiet.String(), "--timeout", "60s")
		s.Finish, s.Said = code, lastLine(out)
		if code != 0 {
			s.Said = lastLine(errs) + "; " + tr.ring(ctx)
			s.Refused = append(s.Refused, s.Said)
		}
	}
	s.DaemonExit = tr.daemon.end(10 * time.Second)
	left, err := tr.leftBehind(ctx)
	if err != nil {
		return err
	}
	s.Left = left
	return nil
}

// ring says where it stands, and what in it keeps a fold or a prune away.
func (tr *trial) ring(ctx context.Context) (text string) {
	err := tr.conn.QueryRow(ctx, `
		with r as (select current_slot, generation from awa.queue_ring_state where singleton),
		d as (select d.ready_slot, d.ready_generation, count(*) as n, sum(d.terminal_delta) as sum, s.generation
		      from awa.queue_terminal_count_deltas d join awa.queue_ring_slots s on s.slot = d.ready_slot group by 1, 2, 5),
		b as (select ready_slot, ready_generation, count(*) as n from awa.leases group by 1, 2),
		c as (select c.ready_slot, c.ready_generation, count(*) as n from awa.lease_claims c
		      where not exists (select from awa.lease_claim_closures x where (x.claim_slot, x.job_id, x.run_lease) = (c.claim_slot, c.job_id, c.run_lease)) group by 1, 2)
		select format('%s ready rows without an end in the oldest slot; ring at slot %s, generation %s; ledger rows of other generations: %s; leases: %s; claims without a closure row: %s',
			(select count(*) from awa.ready_entries e where ready_slot = (select slot from awa.queue_ring_slots where slot <> r.current_slot and queue_ring_slots.generation >= 0 order by queue_ring_slots.generation limit 1) and `+withoutEnd+`),
			current_slot, generation,
			(select string_agg(format('slot %s generation %s (the slot is at %s): %s rows, sum %s', ready_slot, ready_generation, d.generation, n, sum), ', ') from d where ready_generation <> d.generation),
			(select string_agg(format('slot %s generation %s: %s', ready_slot, ready_generation, n), ', ') from b),
			(select string_agg(format('slot %s generation %s: %s', ready_slot, ready_generation, n), ', ') from c)) from r`).Scan(&text)
	if err != nil {
		return err.Error()
	}
	return text
}

// leftBehind lists what is still there of awa-counterd.
func (tr *trial) leftBehind(ctx context.Context) (left []string, err error) {
	// A session ends a moment after its process has.
	_ = tr.until(ctx, 2*time.Second, func() (bool, error) {
		left, err = nil, nil
		rows, e := tr.conn.Query(ctx, `
			select 'slot ' || slot_name from pg_replication_slots where slot_name like 'awa_counterd%'
			union all select 'publication ' || pubname from pg_publication where pubname like 'awa_counterd%'
			union all select 'schema ' || nspname from pg_namespace where nspname = 'awa_counterd'
			union all select 'session ' || application_name from pg_stat_activity where application_name like 'awa-counterd%'
			union all select 'counter rows of bucket ' || counter_bucket from awa.queue_terminal_live_counts where counter_bucket > 255 group by counter_bucket`)
		if e != nil {
			err = e
			return true, nil
		}
		defer rows.Close()
		for rows.Next() {
			var what string
			if err = rows.Scan(&what); err != nil {
				return true, nil
			}
			left = append(left, what)
		}
		return len(left) == 0, nil
	})
	return left, err
}

// sumUp ends the fleet, and takes what its errors were from the server's log.
func (tr *trial) sumUp(ctx context.Context) error {
	tr.fleet.stop("new-first", "new-last")
	tr.res.JobsOld, tr.res.JobsNew = tr.fleet.tallies()
	tr.res.Stream = tr.stream.sums()
	if tr.daemon == nil {
		tr.res.Watch = tr.watch.judge(bound, nil)
	} else {
		s := tr.res.Daemon
		var errs map[string]int
		s.Kills, s.Audits, s.Prunes, tr.watch.windows, errs = tr.daemon.said()
		s.Errors = kinds(errs, 10)
		tr.res.Watch = tr.watch.judge(bound, func(g group, d int64, at time.Time) bool { return tr.stream.explains(g, d, at, bound) })
	}
	led := 0
	for _, o := range tr.rings {
		if o {
			led++
		}
	}
	tr.res.LedByOld = float64(led) / float64(max(1, len(tr.rings)))
	text := tr.cluster.Log()
	if tr.daemon != nil {
		tr.res.Daemon.Deadlocks = cluster.Deadlocks(text, "awa-counterd")
	}
	log := readLog(text)
	tr.res.Errors = make(map[string]int)
	for i := range log {
		c := &log[i]
		switch {
		case !c.ofWorker() || c.ours():
		case c.prune() && strings.HasPrefix(c.who, "old"):
			tr.res.Prunes.FailedOld++
		case c.prune():
			tr.res.Prunes.FailedNew++
		default:
			tr.res.Errors[c.kind()]++
		}
	}
	tr.res.Prunes.Waits, tr.res.Prunes.Looks = len(tr.waits.blocked), tr.waits.looks
	tr.res.Prunes.Pinned, tr.res.Prunes.Horizon, tr.res.Prunes.Others = tr.waits.pinned, tr.waits.horizon, &tr.waits.others
	tr.res.Prunes.WeBlocked, tr.res.Prunes.Logged = behind(tr.waits.blocked, statements(text, ourSessions), log, tr.plan.prunePatience()), tr.plan.logsStatements()
	tr.res.MixHolds, tr.res.Holds = holds(log, tr.mixed, ""), holds(log, tr.alone, "new")
	return ctx.Err()
}
