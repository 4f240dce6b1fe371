// Command oneshot measures `awa-counterd reconcile` on a large table: its time against a plain grouped
// count of the same table, its memory, and how long writers wait for a lock without it, beside it and
// beside awa's own rebuild, in one run. `make bench-reconcile` runs it and writes
// docs/reports/benchmark-reconcile.md. It judges nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/report"
)

func main() {
	b := bench{}
	flag.StringVar(&b.binary, "daemon", "bin/awa-counterd", "the binary to measure")
	flag.IntVar(&b.rows, "rows", 20_000_000, "rows of done_entries, in 16 leaves")
	flag.IntVar(&b.rounds, "rounds", 3, "rounds of each")
	flag.StringVar(&b.report, "report", "", "file to write the report to; standard output if empty")
	flag.Parse()
	if err := b.run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "oneshot:", err)
		os.Exit(1)
	}
}

type bench struct {
	binary       string
	rows, rounds int
	report       string
	cluster      *cluster.Cluster
	pool         *pgxpool.Pool
	out          strings.Builder
	peaks        []int64 // kB
}

const database = "postgres"

func (b *bench) run(ctx context.Context) (err error) {
	bin, err := cluster.Obtain(ctx, os.Stderr)
	if err != nil {
		return err
	}
	if b.cluster, err = cluster.Start(ctx, cluster.Options{Bin: bin, Settings: map[string]string{
		"wal_level": "minimal", "max_wal_senders": "0", "shared_buffers": "1GB", "max_wal_size": "8GB", "autovacuum": "off",
	}}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.cluster.Close()) }()
	if b.pool, err = pgxpool.New(ctx, b.cluster.Socket(database)); err != nil {
		return err
	}
	defer b.pool.Close()
	if err := b.fill(ctx); err != nil {
		return err
	}
	if err := b.times(ctx); err != nil {
		return err
	}
	if err := b.waits(ctx); err != nil {
		return err
	}
	return b.write(ctx)
}

// fill loads the table as a cluster has it: many rows, some hundred groups, vacuumed.
func (b *bench) fill(ctx context.Context) error {
	conn, err := b.cluster.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := fleet.Install(ctx, conn, fleet.Layout{Schema: "awa", Slots: 16}); err != nil {
		return err
	}
	for slot := range 16 {
		_, err := conn.Exec(ctx, fmt.Sprintf(`
			drop index awa.done_entries_%[1]d_job_id_idx;
			insert into awa.done_entries (ready_slot, ready_generation, job_id, kind, queue, priority, lane_seq, enqueue_shard, attempted_at)
			select %[1]d, 7, i, 'job', 'queue ' || i %% 5, 1 + i %% 2, i, i %% 2, now() from generate_series(1, %[2]d) i`, slot, b.rows/16))
		if err != nil {
			return err
		}
	}
	_, err = conn.Exec(ctx, `vacuum analyze awa.done_entries`)
	return err
}

// reconcile runs the binary once.
func (b *bench) reconcile(ctx context.Context, args ...string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, b.binary, append([]string{"reconcile", "--json", "--database-url", b.cluster.Socket(database)}, args...)...)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(began)
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) {
		return 0, fmt.Errorf("reconcile: %w: %s", err, out)
	}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		b.peaks = append(b.peaks, usage.Maxrss)
	}
	return took, nil
}

func (b *bench) count(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	var groups int
	err := b.pool.QueryRow(ctx, `select count(*) from (select ready_slot, queue, priority, enqueue_shard, count(*) from awa.done_entries group by 1, 2, 3, 4) g`).Scan(&groups)
	return time.Since(began), err
}

func (b *bench) times(ctx context.Context) error {
	fmt.Fprintf(&b.out, "## Time\n\n%d rows in 16 leaves. A plain grouped count of the whole table, then `reconcile --check`, in turn. The first\n"+
		"`reconcile` corrects every group (nothing was counted) and looks a second time, so it scans twice.\n\n| round | grouped count, s | reconcile --check, s | ratio |\n|---|---|---|---|\n", b.rows)
	if _, err := b.count(ctx); err != nil { // warms the cache
		return err
	}
	var ratios []float64
	for i := range b.rounds {
		plain, err := b.count(ctx)
		if err != nil {
			return err
		}
		check, err := b.reconcile(ctx, "--check")
		if err != nil {
			return err
		}
		ratios = append(ratios, check.Seconds()/plain.Seconds())
		fmt.Fprintf(&b.out, "| %d | %.2f | %.2f | %.2f |\n", i+1, plain.Seconds(), check.Seconds(), ratios[i])
	}
	repair, err := b.reconcile(ctx)
	if err != nil {
		return err
	}
	slices.Sort(ratios)
	fmt.Fprintf(&b.out, "\nMedian ratio %.2f. The correcting run took %.2f s. Peak memory of the runs: %d to %d MB.\n\n",
		ratios[len(ratios)/2], repair.Seconds(), slices.Min(b.peaks)/1024, slices.Max(b.peaks)/1024)
	return nil
}

// waits measures counted and uncounted writers' transactions, the slowest of which tells the worst
// wait for a lock: alone, beside reconcile over and over, beside rebuilds over and over.
func (b *bench) waits(ctx context.Context) error {
	b.out.WriteString("## Writers\n\n4 counted and 4 uncounted writers on the same table, one row a transaction, 20 ms apart. The slowest transaction tells the\n" +
		"worst wait for a lock.\n\n| beside | transactions | median, ms | 99th, ms | slowest, ms |\n|---|---|---|---|---|\n")
	beside := []struct {
		name string
		run  func(context.Context) error
	}{
		{"nothing", func(ctx context.Context) error { <-ctx.Done(); return nil }},
		{"reconcile, over and over", func(ctx context.Context) error {
			for ctx.Err() == nil {
				if _, err := b.reconcile(ctx); err != nil && ctx.Err() == nil {
					return err
				}
			}
			return nil
		}},
		{"nothing", func(ctx context.Context) error { <-ctx.Done(); return nil }},
		{"awa's rebuild, over and over", func(ctx context.Context) error {
			w := fleet.Writer{Schema: "awa", Counted: true}
			for ctx.Err() == nil {
				if err := fleet.Do(ctx, b.pool, func(tx pgx.Tx) error { return w.Rebuild(ctx, tx) }); err != nil && ctx.Err() == nil {
					return err
				}
			}
			return nil
		}},
	}
	for _, m := range beside {
		took, err := b.beside(ctx, m.run)
		if err != nil {
			return err
		}
		at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000 }
		fmt.Fprintf(&b.out, "| %s | %d | %.1f | %.1f | %.1f |\n", m.name, len(took), at(0.5), at(0.99), at(1))
	}
	b.out.WriteString("\n")
	return nil
}

func (b *bench) beside(ctx context.Context, run func(context.Context) error) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
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
				k := fleet.Key{Slot: int32((n + i) % 16), Queue: fmt.Sprintf("queue %d", n%5), Priority: int16(1 + n%2), Shard: int16(i % 2)}
				const lane = "1000000000 + nextval('awa.lane_seq')"
				began := time.Now()
				// What has begun is let finish: a wait that the end of the measurement cuts off would not count.
				err := fleet.Do(context.WithoutCancel(ctx), b.pool, func(tx pgx.Tx) error { return w.Insert(context.WithoutCancel(ctx), tx, k, 1, "", lane) })
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

func (b *bench) write(ctx context.Context) error {
	head, err := report.Head(ctx, b.pool, "Benchmark: the one-shot", "bench-reconcile")
	if err != nil {
		return err
	}
	return report.Write(b.report, head+b.out.String()+"The machine is shared and noisy: ratios last, times do not.\n")
}
