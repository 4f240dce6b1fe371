package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Part oneshot: `awa-counterd reconcile` on a large table: its time against a plain grouped count of the same table and against awa's own
// rebuild, its memory, and how long writers wait for a lock without it, beside it and beside the rebuild. On the ledger, and on #306.

func oneshotPart() part {
	return part{
		name: "oneshot", title: "The one-shot", rounds: 3, about: 10 * time.Minute, still: true, begin: beginOneshot, show: showOneshot,
		page: "benchmark-reconcile.md", print: printOneshot,
	}
}

const oneshotRows = 20_000_000

// oneshot is a large table.
type oneshot struct{ *base }

const (
	besideNothing   = "nothing"
	besideReconcile = "reconcile, over and over"
	besideRebuild   = "awa's rebuild, over and over"
)

func beginOneshot(ctx context.Context, b *bed) (round, error) {
	err := b.start(ctx, map[string]string{
		"wal_level": "minimal", "max_wal_senders": "0", "shared_buffers": "1GB", "max_wal_size": "8GB", "autovacuum": "off",
		// The server names who is waited for after deadlock_timeout: here after as long as awa's pruner waits at most.
		"log_lock_waits": "on", "deadlock_timeout": longPatience.String(),
	})
	if err != nil {
		return nil, err
	}
	var all []*oneshot
	for _, shape := range oneshotShapes() {
		base, err := b.base(ctx, "", shape, 10)
		if err != nil {
			return nil, err
		}
		b.later(func() error { base.pool.Close(); return nil })
		o := &oneshot{base}
		if err := o.fill(ctx); err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return func(ctx context.Context, n int, p *roundResult) error {
		for _, o := range all {
			if _, err := o.count(ctx); err != nil { // warms the cache
				return err
			}
			if err := o.times(ctx, n, p); err != nil {
				return fmt.Errorf("%s: %w", o.Shape, err)
			}
		}
		return all[0].waits(ctx, p)
	}, nil
}

// oneshotShapes are what it is measured on; the writers' waits on the first only.
func oneshotShapes() []string { return []string{fleet.Ledger, fleet.Direct} }

// fill loads the table as a cluster has it: many rows, some hundred groups, vacuumed.
func (o *oneshot) fill(ctx context.Context) error {
	for slot := range ringSlots {
		err := o.exec(ctx, fmt.Sprintf(`drop index awa.done_entries_%d_job_id_idx`, slot), fmt.Sprintf(`
			insert into awa.done_entries (ready_slot, ready_generation, job_id, kind, queue, priority, lane_seq, enqueue_shard, attempted_at)
			select %[1]d, 7, i, 'job', 'queue ' || i %% 5, 1 + i %% 2, i, i %% 2, now() from generate_series(1, %[2]d) i`, slot, o.scaled(oneshotRows, 16_000)/ringSlots))
		if err != nil {
			return err
		}
	}
	return o.exec(ctx, `vacuum analyze awa.done_entries`)
}

// times measures a count, a check, the run that corrects everything, and awa's rebuild, on one shape.
func (o *oneshot) times(ctx context.Context, n int, p *roundResult) error {
	plain, err := o.count(ctx)
	if err != nil {
		return err
	}
	check, err := o.reconcile(ctx, "--check")
	if err != nil {
		return err
	}
	if err := o.exec(ctx, `truncate awa.queue_terminal_live_counts`); err != nil { // everything is wrong again
		return err
	}
	repair, err := o.reconcile(ctx)
	if err != nil {
		return err
	}
	w := o.Writer(true)
	w.Silent = true
	began := time.Now()
	if err := fleet.Do(ctx, o.pool, func(tx pgx.Tx) error { return w.Rebuild(ctx, tx) }); err != nil {
		return err
	}
	rebuilt := time.Since(began)
	p.note(o.Shape, plainCount, "s", plain.Seconds())
	p.note(o.Shape, theDaemon, "s", check.wall.Seconds())
	p.note(o.Shape, theDaemon, "repair s", repair.wall.Seconds())
	p.note(o.Shape, awasRebuild, "repair s", rebuilt.Seconds())
	p.note(o.Shape, theDaemon, "cpu s", check.cpu.Seconds())
	p.note(o.Shape, theDaemon, "peak MB", float64(max(check.peak, repair.peak))/1024)
	o.tell("round %d, %s: grouped count %.2f s, reconcile --check %.2f s, ratio %.2f; reconcile %.2f s, awa's rebuild %.2f s", n+1, o.Shape, plain.Seconds(),
		check.wall.Seconds(), check.wall.Seconds()/plain.Seconds(), repair.wall.Seconds(), rebuilt.Seconds())
	return nil
}

// reconcile runs the binary once.
func (o *oneshot) reconcile(ctx context.Context, args ...string) (used, error) {
	cmd := exec.CommandContext(ctx, o.daemon, append([]string{"reconcile", "--json", "--database-url", o.cluster.Socket(o.name)}, args...)...)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(began)
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) { // 3: something was wrong
		return used{}, fmt.Errorf("reconcile: %w: %s", err, out)
	}
	return ended(cmd, took), nil
}

func (o *oneshot) count(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	_, err := one[int](ctx, o.pool, `select count(*) from (select ready_slot, queue, priority, enqueue_shard, count(*) from awa.done_entries group by 1, 2, 3, 4) g`)
	return time.Since(began), err
}

// waits measures counted and uncounted writers' transactions, the slowest of which tells the worst
// wait for a lock: alone, beside reconcile over and over, beside rebuilds over and over.
func (o *oneshot) waits(ctx context.Context, p *roundResult) error {
	quiet := func(ctx context.Context) error { <-ctx.Done(); return nil }
	beside := []struct {
		name string
		run  func(context.Context) error
	}{
		{besideNothing, quiet},
		{besideReconcile, func(ctx context.Context) error {
			for ctx.Err() == nil {
				if _, err := o.reconcile(ctx); err != nil && ctx.Err() == nil {
					return err
				}
			}
			return nil
		}},
		{besideRebuild, func(ctx context.Context) error {
			w := o.Writer(true)
			w.Silent = true
			for ctx.Err() == nil {
				if err := fleet.Do(ctx, o.pool, func(tx pgx.Tx) error { return w.Rebuild(ctx, tx) }); err != nil && ctx.Err() == nil {
					return err
				}
			}
			return nil
		}},
	}
	for _, m := range beside {
		from := len(o.cluster.Log())
		took, err := o.beside(ctx, m.run)
		if err != nil {
			return fmt.Errorf("writers beside %s: %w", m.name, err)
		}
		p.note("writers", m.name, "transactions", float64(len(took)))
		p.note("writers", m.name, "p50 ms", millis(took, 0.5))
		p.note("writers", m.name, "p99 ms", millis(took, 0.99))
		p.note("writers", m.name, "slowest ms", millis(took, 1))
		if m.name == besideReconcile {
			p.note("writers", m.name, "behind it", float64(o.waitedBehindUs(ctx, from)))
		}
	}
	return nil
}

// waitedBehindUs counts how often a writer has waited for more than 50 ms behind a session of the one-shot's, from a byte of the log on.
func (o *oneshot) waitedBehindUs(ctx context.Context, from int) (times int) {
	log := o.cluster.Log()
	for _, c := range o.pool.AcquireAllIdle(ctx) {
		times += cluster.WaitedFor(log, from, c.Conn().PgConn().PID(), "awa-counterd ")
		c.Release()
	}
	return times
}

func (o *oneshot) beside(ctx context.Context, run func(context.Context) error) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, o.lasting(15*time.Second))
	defer cancel()
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	for i := range 8 {
		w := o.Writer(i < 4)
		w.Silent = true
		wg.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for n := 0; ctx.Err() == nil; n++ {
				k := fleet.Key{Slot: int32((n + i) % ringSlots), Queue: fmt.Sprintf("queue %d", n%5), Priority: int16(1 + n%2), Shard: int16(i % 2)}
				const lane = "1000000000 + nextval('awa.lane_seq')"
				began := time.Now()
				// What has begun is let finish: a wait that the end of the measurement cuts off would not count.
				err := fleet.Do(context.WithoutCancel(ctx), o.pool, func(tx pgx.Tx) error { return w.Insert(context.WithoutCancel(ctx), tx, k, 1, "", lane) })
				if err == nil {
					mu.Lock()
					took = append(took, time.Since(began))
					mu.Unlock()
				}
				select {
				case <-ctx.Done():
				case <-tick.C:
				}
			}
		})
	}
	err := run(ctx)
	wg.Wait()
	slices.Sort(took)
	return took, err
}

func showOneshot(s *section, t *taken) {
	s.say("%s rows in 16 leaves. A plain grouped count of the whole table, then `awa-counterd reconcile --check`. The correcting run finds every group\n"+
		"wrong, and looks a second time, so it scans twice; awa's rebuild scans once, and keeps everybody out meanwhile.", number(oneshotRows*t.Origin.Scale))
	s.table("shape", "grouped count, s", "reconcile --check, s", "**ratio**", "correcting run, s", "awa's rebuild, s", "**ratio**", "processor time of the check, s", "peak memory, MB")
	picture := dots{title: "The one-shot ÷ its peers", axis: "ratio; less is better", mark: 1}
	for _, shape := range oneshotShapes() {
		v := func(who, what string) string { return t.spread(shape, who, what).in("") }
		check, repair := checkRatio(t, shape), t.ratio(shape, theDaemon, awasRebuild, "repair s")
		s.row(shape, v(plainCount, "s"), v(theDaemon, "s"), bold(check), v(theDaemon, "repair s"), v(awasRebuild, "repair s"), bold(repair), v(theDaemon, "cpu s"), v(theDaemon, "peak MB"))
		picture.add("check ÷ grouped count, "+shape, check, 0)
		picture.add("correcting run ÷ awa's rebuild, "+shape, repair, 1)
	}
	share := ratios(t.values(fleet.Ledger, theDaemon, "cpu s"), t.values(fleet.Ledger, theDaemon, "s"))
	for i := range share {
		share[i] *= 100
	}
	s.say("\nWhere the time goes: %s %% of the check's on the ledger is processor time of its own, the rest is the server's scan.", over(share).in(""))
	s.say("\n4 counted and 4 uncounted writers on the ledger's table, one row a transaction, 20 ms apart. The slowest transaction tells the worst wait for a lock, or for the\n"+
		"processor. By the server's own log of waits, the last column is how often a writer waited for more than %s behind a session of the one-shot's.", longPatience)
	s.table("beside", "transactions", "median, ms", "99th, ms", "slowest of all rounds, ms", "**slowest ÷ beside nothing**", "**slowest ÷ beside the rebuild**", "waits behind it")
	for _, who := range []string{besideNothing, besideReconcile, besideRebuild} {
		v := func(what string) string { return t.spread("writers", who, what).in("") }
		s.row(who, v("transactions"), v("p50 ms"), v("p99 ms"), mostOf(t.spread("writers", who, "slowest ms")), bold(t.ratio("writers", who, besideNothing, "slowest ms")),
			bold(t.ratio("writers", who, besideRebuild, "slowest ms")), mostOf(t.spread("writers", who, "behind it")))
	}
	s.picture(t.Part, "The one-shot against a count and awa's rebuild", picture.svg())
}

// checkRatio is the check by the plain count, within each round.
func checkRatio(t *taken, shape string) spread {
	return over(ratios(t.values(shape, theDaemon, "s"), t.values(shape, plainCount, "s")))
}

// printOneshot is the report of this part alone.
func printOneshot(t *taken) string {
	var s strings.Builder
	s.WriteString(head(t, "Benchmark: the one-shot", "bench-reconcile"))
	fmt.Fprintf(&s, "## Time\n\n%.0f rows in 16 leaves. A plain grouped count of the whole table, then `reconcile --check`, in turn. The correcting\n"+
		"`reconcile` finds every group wrong and looks a second time, so it scans twice.\n\n| round | shape | grouped count, s | reconcile --check, s | ratio | reconcile, s | awa's rebuild, s |\n|---|---|---|---|---|---|---|\n", oneshotRows*t.Origin.Scale)
	for i := range t.Rounds {
		for _, shape := range oneshotShapes() {
			v := func(who, what string) float64 { return t.values(shape, who, what)[i] }
			fmt.Fprintf(&s, "| %d | %s | %.2f | %.2f | %.2f | %.2f | %.2f |\n", i+1, shape, v(plainCount, "s"), v(theDaemon, "s"), v(theDaemon, "s")/v(plainCount, "s"), v(theDaemon, "repair s"), v(awasRebuild, "repair s"))
		}
	}
	peak := t.spread(fleet.Ledger, theDaemon, "peak MB")
	fmt.Fprintf(&s, "\nMedian ratio %.2f on the ledger, %.2f on #306. Peak memory of the runs on the ledger: %.0f to %.0f MB.\n\n",
		checkRatio(t, fleet.Ledger).median, checkRatio(t, fleet.Direct).median, peak.low, peak.high)
	s.WriteString("## Writers\n\n4 counted and 4 uncounted writers on the ledger's table, one row a transaction, 20 ms apart. The slowest transaction tells the\n" +
		"worst wait for a lock. Of the medians, and the worst, of the rounds.\n\n| beside | transactions | median, ms | 99th, ms | slowest, ms |\n|---|---|---|---|---|\n")
	for _, who := range []string{besideNothing, besideReconcile, besideRebuild} {
		v := func(what string) spread { return t.spread("writers", who, what) }
		fmt.Fprintf(&s, "| %s | %.0f | %.1f | %.1f | %.1f |\n", who, v("transactions").median, v("p50 ms").median, v("p99 ms").median, v("slowest ms").high)
	}
	s.WriteString("\nThe machine is shared and noisy: ratios last, times do not.\n")
	return s.String()
}
