// Command drain measures how fast the daemon drains a backlog, against pg_recvlogical writing to
// nowhere: the same publications, the same backlog, the same transport, and the ledger shape against #306, all
// in one run. `make bench` runs it and writes docs/reports/benchmark.md. It judges nothing.
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
	b.shapes = []*shape{{name: fleet.Direct, database: "direct"}, {name: fleet.Ledger, database: "ledger"}}
	if err := b.run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "drain:", err)
		os.Exit(1)
	}
}

type bench struct {
	binary      string
	rows, batch int
	rounds      int
	tcp         bool
	report      string
	cluster     *cluster.Cluster
	shapes      []*shape
	peak        int64 // kB, the daemon's
}

// shape is what is measured on one shape of awa's counters, in a database of its own.
type shape struct {
	*bench
	name, database string
	pool           *pgxpool.Pool
	slot           string
	changes        []float64 // decoded row changes in the backlog of each round
	daemon, other  []float64 // seconds
	ratios         []float64 // of the daemon's rate to the peer's
}

const peer = "peer"

func (b *bench) run(ctx context.Context) (err error) {
	bin, err := cluster.Obtain(ctx, os.Stderr)
	if err != nil {
		return err
	}
	if _, err := cluster.Program(bin, "pg_recvlogical"); err != nil {
		return fmt.Errorf("the peer is missing: %w (the distribution's client package brings it)", err)
	}
	if b.cluster, err = cluster.Start(ctx, cluster.Options{Bin: bin, Settings: map[string]string{"max_wal_size": "8GB"}}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.cluster.Close()) }()
	for _, s := range b.shapes {
		s.bench = b
		if err := s.prepare(ctx); err != nil {
			return err
		}
		defer s.pool.Close()
	}
	for round := range b.rounds {
		order := slices.Clone(b.shapes)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, s := range order {
			if err := s.round(ctx, round); err != nil {
				return err
			}
		}
	}
	return b.write(ctx)
}

// url is how both sides connect.
func (s *shape) url() string {
	if s.tcp {
		return s.cluster.URL(cluster.Superuser, "", s.database)
	}
	return s.cluster.Socket(s.database)
}

func (b *bench) transport() string {
	if b.tcp {
		return "loopback TCP"
	}
	return "Unix socket"
}

// prepare makes the database, and lets the daemon make publications, slot and checkpoint, and leave in peace.
func (s *shape) prepare(ctx context.Context) error {
	admin, err := s.cluster.Connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer func() { _ = admin.Close(ctx) }()
	if _, err := admin.Exec(ctx, "create database "+s.database); err != nil {
		return err
	}
	conn, err := s.cluster.Connect(ctx, s.database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := fleet.Install(ctx, conn, fleet.Layout{Schema: "awa", Slots: 16, Shape: s.name}); err != nil {
		return err
	}
	if s.pool, err = pgxpool.New(ctx, s.cluster.Socket(s.database)); err != nil {
		return err
	}
	if _, err := s.watch(ctx, func(e map[string]any) bool { return e["msg"] == "trust: marker set" }); err != nil {
		return err
	}
	return s.pool.QueryRow(ctx, `select slot_name from pg_replication_slots where database = current_database()`).Scan(&s.slot)
}

func (s *shape) round(ctx context.Context, round int) error {
	if _, err := s.pool.Exec(ctx, `select pg_copy_logical_replication_slot($1, $2)`, s.slot, peer); err != nil {
		return err
	}
	if err := s.fill(ctx); err != nil {
		return err
	}
	var end string
	if err := s.pool.QueryRow(ctx, `select pg_current_wal_flush_lsn()::text`).Scan(&end); err != nil {
		return err
	}
	measures := []func(context.Context, string) error{s.measurePeer, s.measureDaemon}
	if round%2 == 1 {
		slices.Reverse(measures)
	}
	for _, m := range measures {
		if err := m(ctx, end); err != nil {
			return err
		}
	}
	s.ratios = append(s.ratios, s.other[round]/s.daemon[round])
	fmt.Fprintf(os.Stderr, "round %d, %s: daemon %.0f changes/s, pg_recvlogical %.0f changes/s, ratio %.2f\n",
		round+1, s.name, s.rate(round), s.changes[round]/s.other[round], s.ratios[round])
	_, err := s.pool.Exec(ctx, `select pg_drop_replication_slot($1)`, peer)
	return err
}

// rate is the daemon's, in decoded row changes a second.
func (s *shape) rate(round int) float64 { return s.changes[round] / s.daemon[round] }

// fill makes a backlog of the wanted number of decoded row changes, every other transaction counted. A counted
// one also changes a counter row (#306), or appends a row of the ledger for each bucket.
func (s *shape) fill(ctx context.Context) error {
	changes := 0
	for i := 0; changes < s.rows; i++ {
		w := fleet.Layout{Schema: "awa", Shape: s.name}.Writer(i%2 == 0)
		w.Silent = true
		k := fleet.Key{Slot: int32(i % 16), Queue: []string{"billing", "email", "reports"}[i%3], Priority: int16(1 + i%2)}
		if err := fleet.Do(ctx, s.pool, func(tx pgx.Tx) error { return w.Insert(ctx, tx, k, s.batch, "", "") }); err != nil {
			return err
		}
		changes += s.batch
		switch {
		case w.Counted && s.name == fleet.Ledger:
			changes += s.batch // consecutive jobs, each in a bucket of its own
		case w.Counted:
			changes++
		}
	}
	s.changes = append(s.changes, float64(changes))
	return nil
}

func (s *shape) measurePeer(ctx context.Context, end string) error {
	var publications string
	if err := s.pool.QueryRow(ctx, `select string_agg(pubname, ',' order by pubname) from pg_publication`).Scan(&publications); err != nil {
		return err
	}
	cmd := s.cluster.Command(ctx, "pg_recvlogical", "-d", s.url(), "--slot", peer, "--start", "-f", "/dev/null",
		"-F", "0", "-n", "--endpos", end, "-o", "proto_version=2", "-o", "streaming=on", "-o", "messages=true", "-o", "publication_names="+publications)
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_recvlogical: %w: %s", err, out)
	}
	s.other = append(s.other, time.Since(began).Seconds())
	return nil
}

func (s *shape) measureDaemon(ctx context.Context, end string) error {
	target, err := pglogrepl.ParseLSN(end)
	if err != nil {
		return err
	}
	took, err := s.watch(ctx, func(e map[string]any) bool {
		text, _ := e["position"].(string)
		at, err := pglogrepl.ParseLSN(text)
		return e["msg"] == "status" && err == nil && at >= target
	})
	if err != nil {
		return err
	}
	s.daemon = append(s.daemon, took.Seconds())
	return nil
}

// watch runs the daemon until it logs what is waited for, returns how long that took from the start
// of the process, and stops it gracefully.
func (s *shape) watch(ctx context.Context, done func(map[string]any) bool) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, s.binary, "run", "--database-url", s.url(), "--status-interval", "100ms", "--log-format", "json")
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
		s.peak = max(s.peak, usage.Maxrss)
	}
	return took, nil
}

func (b *bench) write(ctx context.Context) error {
	head, err := report.Head(ctx, b.shapes[0].pool, "Benchmark: draining a backlog", "bench")
	if err != nil {
		return err
	}
	var s strings.Builder
	s.WriteString(head)
	fmt.Fprintf(&s, "A stopped daemon leaves a backlog of %d row changes in transactions of %d rows, every other one counted as binaries of that\n"+
		"shape count: one counter row in #306, a row of the ledger for each bucket in the ledger shape. Then the daemon is started, and\n"+
		"`pg_recvlogical` writing to /dev/null reads a copy of the same slot: same publications, same options, same %s,\n"+
		"in turn, the order alternating. The daemon's time runs from the start of its process to its position passing the end of\n"+
		"the backlog, so it includes connecting, the checks and loading the checkpoint; it corrects all of it on the way.\n\n", b.rows, b.batch, b.transport())
	s.WriteString("| round | shape | daemon, changes/s | pg_recvlogical, changes/s | ratio |\n|---|---|---|---|---|\n")
	for i := range b.rounds {
		for _, sh := range b.shapes {
			fmt.Fprintf(&s, "| %d | %s | %.0f | %.0f | %.2f |\n", i+1, sh.name, sh.rate(i), sh.changes[i]/sh.other[i], sh.ratios[i])
		}
	}
	var across []float64
	for i := range b.rounds {
		across = append(across, b.shapes[1].rate(i)/b.shapes[0].rate(i))
	}
	fmt.Fprintf(&s, "\nMedian ratio to the peer: %.2f in #306, %.2f in the ledger shape. The daemon on the ledger against #306, by decoded row change: %.2f.\n"+
		"The daemon's peak memory was %d MB. The machine is shared and noisy: ratios last, rates do not.\n",
		median(b.shapes[0].ratios), median(b.shapes[1].ratios), median(across), b.peak/1024)
	return report.Write(b.report, s.String())
}

func median(of []float64) float64 { return slices.Sorted(slices.Values(of))[len(of)/2] }
