// Command size measures what many groups cost: memory, processor time, and the time from the start of the
// daemon to a trusted marker, with every group wrong at first. `make bench` runs it and writes
// docs/reports/benchmark-size.md. It judges nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/report"
	"github.com/awa-counterd/awa-counterd/e2e/sidecar"
)

// world is how many of everything there are.
type world struct {
	queues, priorities int
	buckets            int // counter rows a group: awa's own, of which one is wrong
}

const slots = 16

func (w world) groups() int { return slots * w.queues * w.priorities }

var worlds = []world{
	{60, 4, 256},
	{1500, 4, 1},
	{3750, 4, 1},
	{7500, 4, 1},
	{15000, 4, 1},
}

type found struct {
	world
	trusted time.Duration
	peak    int64 // kB
	cpu     time.Duration
}

func main() {
	binary := flag.String("daemon", "bin/awa-counterd", "the binary to measure")
	file := flag.String("report", "", "file to write the report to; standard output if empty")
	limit := flag.String("gomemlimit", "", "GOMEMLIMIT of the daemon; that of the unit in deploy/ if empty")
	only := flag.Int("only", -1, "measure only this one of the worlds")
	flag.Parse()
	if *limit == "" {
		var err error
		if *limit, err = shipped(); err != nil {
			fmt.Fprintln(os.Stderr, "size:", err)
			os.Exit(1)
		}
	}
	if err := run(context.Background(), *binary, *file, *limit, *only); err != nil {
		fmt.Fprintln(os.Stderr, "size:", err)
		os.Exit(1)
	}
}

// shipped is the limit that the systemd unit sets: what is measured here is what it is made for.
func shipped() (string, error) {
	text, err := os.ReadFile("deploy/awa-counterd.service")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if limit, ok := strings.CutPrefix(strings.TrimSpace(line), "Environment=GOMEMLIMIT="); ok {
			return limit, nil
		}
	}
	return "", errors.New("deploy/awa-counterd.service sets no GOMEMLIMIT")
}

func run(ctx context.Context, binary, file, limit string, only int) (err error) {
	bin, err := cluster.Obtain(ctx, os.Stderr)
	if err != nil {
		return err
	}
	c, err := cluster.Start(ctx, cluster.Options{Bin: bin, Settings: map[string]string{"max_wal_size": "8GB"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	var all []found
	for i, w := range worlds {
		if only >= 0 && i != only {
			continue
		}
		f, err := one(ctx, c, binary, limit, fmt.Sprint("size", i), w)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "size: %d groups, %d counter rows: trusted after %s, %d MB, %s of processor time\n",
			w.groups(), w.groups()*w.buckets, f.trusted.Round(10*time.Millisecond), f.peak/1024, f.cpu.Round(10*time.Millisecond))
		all = append(all, f)
	}
	conn, err := c.Connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	return write(ctx, conn, file, limit, all)
}

// one measures a world in a database of its own.
func one(ctx context.Context, c *cluster.Cluster, binary, limit, database string, w world) (found, error) {
	admin, err := c.Connect(ctx, "postgres")
	if err != nil {
		return found{}, err
	}
	defer func() { _ = admin.Close(ctx) }()
	if _, err := admin.Exec(ctx, "create database "+database); err != nil {
		return found{}, err
	}
	if err := fill(ctx, c, database, w); err != nil {
		return found{}, err
	}
	f, err := measure(binary, limit, c.Socket(database), w)
	if err != nil {
		return found{}, err
	}
	if _, err := admin.Exec(ctx, `select pg_drop_replication_slot(slot_name) from pg_replication_slots`); err != nil {
		return found{}, err
	}
	_, err = admin.Exec(ctx, "drop database "+database+" with (force)")
	return f, err
}

// fill makes one row a group that nobody counted, and counter rows as awa has them, which come to 0.
func fill(ctx context.Context, c *cluster.Cluster, database string, w world) error {
	conn, err := c.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := fleet.Install(ctx, conn, fleet.Layout{Schema: "awa", Slots: slots, Shape: fleet.Ledger}); err != nil {
		return err
	}
	groups := fmt.Sprintf("generate_series(0, %d) s, generate_series(1, %d) q, generate_series(1, %d) p", slots-1, w.queues, w.priorities)
	_, err = conn.Exec(ctx, fmt.Sprintf(`
		insert into awa.done_entries (ready_slot, ready_generation, job_id, kind, queue, state, priority, lane_seq)
		select s, s, row_number() over (), 'job', 'queue-' || q, 'failed', p, row_number() over () from %[1]s;
		insert into awa.queue_terminal_live_counts (ready_slot, queue, priority, enqueue_shard, counter_bucket, live_terminal_count)
		select s, 'queue-' || q, p, 0, b, case when %[2]d = 1 then 3 when b %% 2 = 0 then 1 else -1 end from %[1]s, generate_series(0, %[3]d) b
		order by 1, 2, 3, 4, 5`, groups, w.buckets, w.buckets-1))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, `vacuum analyze`)
	return err
}

func measure(binary, limit, url string, w world) (found, error) {
	f := found{world: w}
	began, trusted := time.Now(), make(chan struct{})
	d, err := sidecar.Start(binary, []string{"GOMEMLIMIT=" + limit}, []string{"run", "--database-url", url, "--status-interval", "1s", "--log-format", "json"},
		func(_ string, e sidecar.Entry) {
			if e["msg"] == "trust: marker set" && f.trusted == 0 {
				f.trusted = time.Since(began)
				close(trusted)
			}
		})
	if err != nil {
		return f, err
	}
	select {
	case <-trusted:
		d.Signal(syscall.SIGTERM) // its checkpoint of all of it, which a graceful end waits for, belongs to the price
	case <-d.Done():
	}
	<-d.Done()
	if f.trusted == 0 || d.ExitCode() != 0 {
		return f, fmt.Errorf("the daemon ended with exit code %d, trusted after %s", d.ExitCode(), f.trusted)
	}
	f.peak, f.cpu = d.Usage()
	return f, nil
}

func write(ctx context.Context, conn *pgx.Conn, file, limit string, all []found) error {
	head, err := report.Head(ctx, conn, "Benchmark: many groups", "bench")
	if err != nil {
		return err
	}
	var s strings.Builder
	s.WriteString(head)
	s.WriteString("The ledger shape, every group wrong when the daemon starts. The time runs from the start of its process to a trusted marker:\n" +
		"connecting, the replication slot, a scan of every slot, a correction of every group, its echo, and an audit. Memory and processor time\n" +
		"are of the whole life of the process, which ends with a checkpoint of all groups.\n")
	if limit != "" {
		fmt.Fprintf(&s, "GOMEMLIMIT was %s; the unit in deploy/ sets one.\n", limit)
	}
	s.WriteString("\n| groups | counter rows | trusted after | peak memory | processor time |\n|---|---|---|---|---|\n")
	for _, f := range all {
		fmt.Fprintf(&s, "| %d | %d | %.1f s | %d MB | %.1f s |\n", f.groups(), f.groups()*f.buckets, f.trusted.Seconds(), f.peak/1024, f.cpu.Seconds())
	}
	return report.Write(file, s.String())
}
