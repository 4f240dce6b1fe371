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

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Part oneshot: `awa-counterd reconcile` on a large table: its time against a plain grouped count of the same table, its
// memory, and how long writers wait for a lock without it, beside it and beside awa's own rebuild.

func oneshotPart() part {
	return part{
		name: "oneshot", title: "The one-shot", rounds: 3, begin: beginOneshot, show: showOneshot,
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
	})
	if err != nil {
		return nil, err
	}
	base, err := b.base(ctx, "", fleet.Direct, 10)
	if err != nil {
		return nil, err
	}
	b.later(func() error { base.pool.Close(); return nil })
	o := &oneshot{base}
	if err := o.fill(ctx); err != nil {
		return nil, err
	}
	if _, err := o.count(ctx); err != nil { // warms the cache
		return nil, err
	}
	return o.round, nil
}

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

func (o *oneshot) round(ctx context.Context, n int, p *played) error {
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
	p.note("", plainCount, "s", plain.Seconds())
	p.note("", theDaemon, "s", check.wall.Seconds())
	p.note("", theDaemon, "repair s", repair.wall.Seconds())
	p.note("", theDaemon, "cpu s", check.cpu.Seconds())
	p.note("", theDaemon, "peak MB", float64(max(check.peak, repair.peak))/1024)
	o.tell("round %d: grouped count %.2f s, reconcile --check %.2f s, ratio %.2f", n+1, plain.Seconds(), check.wall.Seconds(), check.wall.Seconds()/plain.Seconds())
	return o.waits(ctx, p)
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
func (o *oneshot) waits(ctx context.Context, p *played) error {
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
			w := fleet.Writer{Schema: "awa", Counted: true}
			for ctx.Err() == nil {
				if err := fleet.Do(ctx, o.pool, func(tx pgx.Tx) error { return w.Rebuild(ctx, tx) }); err != nil && ctx.Err() == nil {
					return err
				}
			}
			return nil
		}},
	}
	for _, m := range beside {
		took, err := o.beside(ctx, m.run)
		if err != nil {
			return fmt.Errorf("writers beside %s: %w", m.name, err)
		}
		p.note("writers", m.name, "transactions", float64(len(took)))
		p.note("writers", m.name, "p50 ms", millis(took, 0.5))
		p.note("writers", m.name, "p99 ms", millis(took, 0.99))
		p.note("writers", m.name, "slowest ms", millis(took, 1))
	}
	return nil
}

func (o *oneshot) beside(ctx context.Context, run func(context.Context) error) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, o.lasting(15*time.Second))
	defer cancel()
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	for i := range 8 {
		w := fleet.Writer{Schema: "awa", Counted: i < 4, Silent: true}
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
	s.say("%s rows in 16 leaves, #306's shape. A plain grouped count of the whole table, then `awa-counterd reconcile --check`. The correcting run finds every group\n"+
		"wrong, and looks a second time, so it scans twice.", number(oneshotRows*t.Origin.Scale))
	s.table("grouped count, s", "reconcile --check, s", "**ratio**", "correcting run, s", "processor time of the check, s", "peak memory, MB")
	s.row(t.spread("", plainCount, "s").in(""), t.spread("", theDaemon, "s").in(""), bold(over(ratios(t.values("", theDaemon, "s"), t.values("", plainCount, "s")))),
		t.spread("", theDaemon, "repair s").in(""), t.spread("", theDaemon, "cpu s").in(""), t.spread("", theDaemon, "peak MB").in(""))
	s.say("\n4 counted and 4 uncounted writers on the same table, one row a transaction, 20 ms apart. The slowest transaction tells the worst wait for a lock.")
	s.table("beside", "transactions", "median, ms", "99th, ms", "slowest, ms", "**slowest ÷ beside nothing**")
	for _, who := range []string{besideNothing, besideReconcile, besideRebuild} {
		v := func(what string) string { return t.spread("writers", who, what).in("") }
		s.row(who, v("transactions"), v("p50 ms"), v("p99 ms"), v("slowest ms"), bold(t.ratio("writers", who, besideNothing, "slowest ms")))
	}
}

// printOneshot is the report of this part alone.
func printOneshot(t *taken) string {
	var s strings.Builder
	s.WriteString(head(t, "Benchmark: the one-shot", "bench-reconcile"))
	fmt.Fprintf(&s, "## Time\n\n%.0f rows in 16 leaves. A plain grouped count of the whole table, then `reconcile --check`, in turn. The correcting\n"+
		"`reconcile` finds every group wrong and looks a second time, so it scans twice.\n\n| round | grouped count, s | reconcile --check, s | ratio |\n|---|---|---|---|\n", oneshotRows*t.Origin.Scale)
	plain, check := t.values("", plainCount, "s"), t.values("", theDaemon, "s")
	for i := range t.Rounds {
		fmt.Fprintf(&s, "| %d | %.2f | %.2f | %.2f |\n", i+1, plain[i], check[i], check[i]/plain[i])
	}
	peak := t.spread("", theDaemon, "peak MB")
	fmt.Fprintf(&s, "\nMedian ratio %.2f. The correcting run took %.2f s. Peak memory of the runs: %.0f to %.0f MB.\n\n",
		over(ratios(check, plain)).median, t.spread("", theDaemon, "repair s").median, peak.low, peak.high)
	s.WriteString("## Writers\n\n4 counted and 4 uncounted writers on the same table, one row a transaction, 20 ms apart. The slowest transaction tells the\n" +
		"worst wait for a lock. Of the medians, and the worst, of the rounds.\n\n| beside | transactions | median, ms | 99th, ms | slowest, ms |\n|---|---|---|---|---|\n")
	for _, who := range []string{besideNothing, besideReconcile, besideRebuild} {
		v := func(what string) spread { return t.spread("writers", who, what) }
		fmt.Fprintf(&s, "| %s | %.0f | %.1f | %.1f | %.1f |\n", who, v("transactions").median, v("p50 ms").median, v("p99 ms").median, v("slowest ms").high)
	}
	s.WriteString("\nThe machine is shared and noisy: ratios last, times do not.\n")
	return s.String()
}
