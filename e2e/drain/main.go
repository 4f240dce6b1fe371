// Command drain measures how fast the daemon drains a backlog, against pg_recvlogical writing to
// nowhere: the same publication, the same backlog, the same transport, in one run. `make bench`
// runs it and writes docs/benchmark.md. It judges nothing.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/report"
)

func main() {
	b := bench{}
	flag.StringVar(&b.binary, "daemon", "bin/awa-counterd", "the binary to measure")
	flag.IntVar(&b.rows, "rows", 1_000_000, "row changes in the backlog")
	flag.IntVar(&b.batch, "batch", 100, "rows a transaction")
	flag.IntVar(&b.rounds, "rounds", 5, "rounds; each with a backlog of its own, the order alternates")
	flag.BoolVar(&b.tcp, "tcp", false, "over loopback TCP instead of the Unix socket")
	flag.StringVar(&b.report, "report", "", "file to write the report to; standard output if empty")
	flag.Parse()
	if err := b.run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "drain:", err)
		os.Exit(1)
	}
}

type bench struct {
	binary        string
	rows, batch   int
	rounds        int
	tcp           bool
	report        string
	cluster       *cluster.Cluster
	pool          *pgxpool.Pool
	slot          string
	daemon, other []float64 // rows a second
	ratios        []float64
	peak          int64 // kB, the daemon's
}

const (
	database = "postgres"
	peer     = "peer"
)

func (b *bench) run(ctx context.Context) (err error) {
	bin, err := cluster.Obtain(ctx, os.Stderr)
	if err != nil {
		return err
	}
	if _, err := os.Stat(bin + "/pg_recvlogical"); err != nil {
		return fmt.Errorf("the peer is missing: %w (the distribution's client package brings it)", err)
	}
	if b.cluster, err = cluster.Start(ctx, cluster.Options{Bin: bin, Settings: map[string]string{"max_wal_size": "8GB"}}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.cluster.Close()) }()
	conn, err := b.cluster.Connect(ctx, database)
	if err != nil {
		return err
	}
	if err := fleet.Install(ctx, conn, fleet.Layout{Schema: "awa", Slots: 16}); err != nil {
		return err
	}
	if err := conn.Close(ctx); err != nil {
		return err
	}
	if b.pool, err = pgxpool.New(ctx, b.cluster.Socket(database)); err != nil {
		return err
	}
	defer b.pool.Close()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	for round := range b.rounds {
		if err := b.round(ctx, round); err != nil {
			return err
		}
	}
	return b.write(ctx)
}

// url is how both sides connect.
func (b *bench) url() string {
	if b.tcp {
		return b.cluster.URL(cluster.Superuser, "", database)
	}
	return b.cluster.Socket(database)
}

func (b *bench) transport() string {
	if b.tcp {
		return "loopback TCP"
	}
	return "Unix socket"
}

// prepare lets the daemon make publication, slot and checkpoint, and leave in peace.
func (b *bench) prepare(ctx context.Context) error {
	_, err := b.watch(ctx, func(e map[string]any) bool { return e["msg"] == "trust: marker set" })
	if err != nil {
		return err
	}
	return b.pool.QueryRow(ctx, `select slot_name from pg_replication_slots`).Scan(&b.slot)
}

func (b *bench) round(ctx context.Context, round int) error {
	if _, err := b.pool.Exec(ctx, `select pg_copy_logical_replication_slot($1, $2)`, b.slot, peer); err != nil {
		return err
	}
	if err := b.fill(ctx); err != nil {
		return err
	}
	var end string
	if err := b.pool.QueryRow(ctx, `select pg_current_wal_flush_lsn()::text`).Scan(&end); err != nil {
		return err
	}
	measures := []func(context.Context, string) error{b.measurePeer, b.measureDaemon}
	if round%2 == 1 {
		slices.Reverse(measures)
	}
	for _, m := range measures {
		if err := m(ctx, end); err != nil {
			return err
		}
	}
	d, o := b.daemon[round], b.other[round]
	b.ratios = append(b.ratios, d/o)
	fmt.Fprintf(os.Stderr, "round %d: daemon %.0f rows/s, pg_recvlogical %.0f rows/s, ratio %.2f\n", round+1, d, o, d/o)
	_, err := b.pool.Exec(ctx, `select pg_drop_replication_slot($1)`, peer)
	return err
}

func (b *bench) fill(ctx context.Context) error {
	w := fleet.Writer{Schema: "awa", Silent: true}
	for i := range b.rows / b.batch {
		k := fleet.Key{Slot: int32(i % 16), Queue: []string{"billing", "email", "reports"}[i%3], Priority: int16(1 + i%2)}
		if err := fleet.Do(ctx, b.pool, func(tx pgx.Tx) error { return w.Insert(ctx, tx, k, b.batch, "", "") }); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) measurePeer(ctx context.Context, end string) error {
	var publication string
	if err := b.pool.QueryRow(ctx, `select pubname from pg_publication`).Scan(&publication); err != nil {
		return err
	}
	cmd := b.cluster.Command(ctx, "pg_recvlogical", "-d", b.url(), "--slot", peer, "--start", "-f", "/dev/null",
		"-F", "0", "-n", "--endpos", end, "-o", "proto_version=2", "-o", "streaming=on", "-o", "messages=true", "-o", "publication_names="+publication)
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_recvlogical: %w: %s", err, out)
	}
	b.other = append(b.other, float64(b.rows)/time.Since(began).Seconds())
	return nil
}

func (b *bench) measureDaemon(ctx context.Context, end string) error {
	target, err := pglogrepl.ParseLSN(end)
	if err != nil {
		return err
	}
	took, err := b.watch(ctx, func(e map[string]any) bool {
		text, _ := e["position"].(string)
		at, err := pglogrepl.ParseLSN(text)
		return e["msg"] == "status" && err == nil && at >= target
	})
	if err != nil {
		return err
	}
	b.daemon = append(b.daemon, float64(b.rows)/took.Seconds())
	return nil
}

// watch runs the daemon until it logs what is waited for, returns how long that took from the start
// of the process, and stops it gracefully.
func (b *bench) watch(ctx context.Context, done func(map[string]any) bool) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, b.binary, "run", "--database-url", b.url(), "--status-interval", "100ms", "--log-format", "json")
	out, err := cmd.StderrPipe()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	took := time.Duration(0)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var e map[string]any
		if json.Unmarshal(lines.Bytes(), &e) == nil && took == 0 && done(e) {
			took = time.Since(began)
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				return 0, err
			}
		}
	}
	if err := cmd.Wait(); err != nil || took == 0 {
		return 0, fmt.Errorf("the daemon ended early: %w", err)
	}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		b.peak = max(b.peak, usage.Maxrss)
	}
	return took, nil
}

func (b *bench) write(ctx context.Context) error {
	head, err := report.Head(ctx, b.pool, "Benchmark: draining a backlog", "bench")
	if err != nil {
		return err
	}
	var s strings.Builder
	s.WriteString(head)
	fmt.Fprintf(&s, "A stopped daemon leaves a backlog of %d inserted rows in transactions of %d. Then the daemon is started, and\n"+
		"`pg_recvlogical` writing to /dev/null reads a copy of the same slot: same publication, same options, same %s,\n"+
		"in turn, the order alternating. The daemon's time runs from the start of its process to its position passing the end of\n"+
		"the backlog, so it includes connecting, the checks and loading the checkpoint; it corrects all of it on the way.\n\n", b.rows, b.batch, b.transport())
	s.WriteString("| round | daemon, rows/s | pg_recvlogical, rows/s | ratio |\n|---|---|---|---|\n")
	for i := range b.ratios {
		fmt.Fprintf(&s, "| %d | %.0f | %.0f | %.2f |\n", i+1, b.daemon[i], b.other[i], b.ratios[i])
	}
	sorted := slices.Sorted(slices.Values(b.ratios))
	fmt.Fprintf(&s, "\nMedian ratio %.2f. The daemon's peak memory was %d MB. The machine is shared and noisy: the ratio lasts, the rates do not.\n",
		sorted[len(sorted)/2], b.peak/1024)
	return report.Write(b.report, s.String())
}
