// Command start measures how long a daemon takes to trust beside one huge leaf and writers that do not rest: the scan of
// that leaf lasts while tens of thousands of transactions are streamed, and has to be brought together with them.
// `make bench-start` runs it and writes its report. It judges nothing but that the counters are right in the end.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/report"
	"github.com/awa-counterd/awa-counterd/e2e/sidecar"
)

func main() {
	b := bench{}
	file := flag.String("report", "", "file to write the report to; standard output if empty")
	flag.StringVar(&b.binary, "daemon", "bin/awa-counterd", "the binary to measure")
	flag.IntVar(&b.rows, "rows", 20_000_000, "rows of the leaf")
	flag.IntVar(&b.rate, "rate", 5000, "transactions a second beside it")
	flag.IntVar(&b.rounds, "rounds", 3, "starts from nothing")
	flag.Parse()
	if err := b.run(context.Background(), *file); err != nil {
		fmt.Fprintln(os.Stderr, "start:", err)
		os.Exit(1)
	}
}

type bench struct {
	binary             string
	rows, rate, rounds int
	cluster            *cluster.Cluster
	conn               *pgx.Conn
	written            atomic.Int64
}

const (
	database = "postgres"
	writers  = 8
)

// round is one start.
type round struct {
	count   time.Duration // a plain grouped count of the leaf, beside the writers
	trusted time.Duration // from the start of the process to the marker
	written int64         // transactions in that time
	putOff  int           // scans that could not be taken in
	peak    int64         // kB
	cpu     time.Duration
}

func (b *bench) run(ctx context.Context, file string) (err error) {
	bin, err := cluster.Obtain(ctx, os.Stderr)
	if err != nil {
		return err
	}
	if b.cluster, err = cluster.Start(ctx, cluster.Options{Bin: bin, Settings: map[string]string{
		"shared_buffers": "1GB", "max_wal_size": "16GB", "autovacuum": "off",
	}}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.cluster.Close()) }()
	if b.conn, err = b.cluster.Connect(ctx, database); err != nil {
		return err
	}
	defer func() { _ = b.conn.Close(ctx) }()
	if err := b.fill(ctx); err != nil {
		return err
	}
	var all []round
	for range b.rounds {
		r, err := b.round(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "start: counted in %s; trusted after %s beside %.0f transactions a second, %d scans put off, %d MB\n", r.count.Round(10*time.Millisecond),
			r.trusted.Round(10*time.Millisecond), float64(r.written)/r.trusted.Seconds(), r.putOff, r.peak/1024)
		all = append(all, r)
	}
	return b.write(ctx, file, all)
}

// fill makes one leaf of many rows in a hundred groups, none of them counted.
func (b *bench) fill(ctx context.Context) error {
	if err := fleet.Install(ctx, b.conn, fleet.Layout{Schema: "awa", Slots: 4, Shape: fleet.Ledger}); err != nil {
		return err
	}
	for _, sql := range []string{
		`drop index awa.done_entries_0_job_id_idx`,
		fmt.Sprintf(`insert into awa.done_entries (ready_slot, ready_generation, job_id, kind, queue, state, priority, lane_seq)
			select 0, 0, i, 'job', 'queue ' || i %% 25, 'failed', 1 + i %% 4, i from generate_series(1, %d) i`, b.rows),
		`vacuum analyze awa.done_entries`, `checkpoint`,
	} {
		if _, err := b.conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) round(ctx context.Context) (r round, err error) {
	busy, rest := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer func() { rest(); wg.Wait() }()
	for i := range writers {
		wg.Go(func() { b.work(busy, i) })
	}
	began := time.Now()
	var groups int
	if err := b.conn.QueryRow(ctx, `select count(*) from (select queue, priority, enqueue_shard, count(*) from awa.done_entries_0 group by 1, 2, 3) g`).Scan(&groups); err != nil {
		return r, err
	}
	r.count = time.Since(began)
	before, began := b.written.Load(), time.Now()
	trusted := make(chan struct{})
	d, err := sidecar.Start(b.binary, nil, []string{"run", "--database-url", b.cluster.Socket(database), "--log-format", "json"}, func(_ string, e sidecar.Entry) {
		msg := fmt.Sprint(e["msg"])
		switch {
		case strings.HasPrefix(msg, "a scan is put off"), strings.HasPrefix(msg, "a scan took"):
			r.putOff++
		case msg == "trust: marker set" && r.trusted == 0:
			r.trusted, r.written = time.Since(began), b.written.Load()-before
			close(trusted)
		}
	})
	if err != nil {
		return r, err
	}
	late := time.AfterFunc(10*time.Minute, d.Kill)
	defer late.Stop()
	select {
	case <-trusted:
		rest() // the flush that a graceful end makes then leaves everything right
		wg.Wait()
		d.Signal(syscall.SIGTERM)
	case <-d.Done():
	}
	<-d.Done()
	if r.trusted == 0 || d.ExitCode() != 0 {
		return r, fmt.Errorf("the daemon ended with exit code %d, trusted after %s", d.ExitCode(), r.trusted)
	}
	r.peak, r.cpu = d.Usage()
	_, wrong, err := fleet.Compare(ctx, b.conn, "awa")
	if err == nil && len(wrong) > 0 {
		err = fmt.Errorf("%d groups wrong in the end, the first: %+v", len(wrong), wrong[0])
	}
	if err != nil {
		return r, err
	}
	teardown := exec.CommandContext(ctx, b.binary, "teardown", "--database-url", b.cluster.Socket(database))
	if said, err := teardown.CombinedOutput(); err != nil {
		return r, fmt.Errorf("teardown: %w: %s", err, said)
	}
	_, err = b.conn.Exec(ctx, `truncate awa.queue_terminal_live_counts`) // the next start finds everything wrong again
	return r, err
}

// work writes rows uncounted, one a transaction, at its share of the rate.
func (b *bench) work(ctx context.Context, i int) {
	conn, err := b.cluster.Connect(ctx, database)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, `set synchronous_commit = off`); err != nil {
		return
	}
	const every = 10 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	began, done := time.Now(), 0
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for due := int(time.Since(began).Seconds() * float64(b.rate) / writers); done < due && ctx.Err() == nil; done++ {
			n++
			_, err := conn.Exec(context.WithoutCancel(ctx), `insert into awa.done_entries (ready_slot, ready_generation, job_id, kind, queue, state, priority, lane_seq)
				values ($1, 0, nextval('awa.lane_seq'), 'job', $2, 'failed', $3, 1000000000 + nextval('awa.lane_seq'))`, n%4, fmt.Sprintf("queue %d", (n+i)%25), 1+n%4)
			if err != nil {
				return
			}
			b.written.Add(1)
		}
	}
}

func (b *bench) write(ctx context.Context, file string, all []round) error {
	head, err := report.Head(ctx, b.conn, "Benchmark: a start beside a huge leaf", "bench-start")
	if err != nil {
		return err
	}
	var s strings.Builder
	s.WriteString(head)
	fmt.Fprintf(&s, "One leaf of %d rows that nobody counted, and %d writers that insert uncounted rows, one a transaction, %d a second if the\n"+
		"machine lets them. The daemon starts from nothing: a replication slot, a scan of every slot, corrections, an audit. Two scans of the\n"+
		"huge leaf are part of it. The grouped count is a plain one of that leaf, beside the same writers.\n\n", b.rows, writers, b.rate)
	s.WriteString("| round | grouped count, s | until trusted, s | transactions/s meanwhile | scans put off | peak memory, MB | processor time, s |\n|---|---|---|---|---|---|---|\n")
	for i, r := range all {
		fmt.Fprintf(&s, "| %d | %.1f | %.1f | %.0f | %d | %d | %.1f |\n", i+1, r.count.Seconds(), r.trusted.Seconds(), float64(r.written)/r.trusted.Seconds(), r.putOff, r.peak/1024, r.cpu.Seconds())
	}
	s.WriteString("\nEvery counter was right in the end of each round.\n")
	return report.Write(file, s.String())
}
