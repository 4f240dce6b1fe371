package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/process"
)

// Part locks: for how long counter rows are locked. Somebody locks all counter rows of a slot as awa's pruner does at its
// end, many times a second, lets go at once, and notes how long that took: beside the daemon, beside #306's upserts,
// beside nobody. Beside the daemon, its own histogram is read too: an upper bound that includes the way there and back.

func locksPart() part {
	return part{name: "locks", title: "Locks on counter rows", rounds: 3, about: 6 * time.Minute, begin: beginLocks, show: showLocks}
}

// awa's pruner gives up at these; 10 ms from 0.6.0 on.
const (
	shortPatience = 10 * time.Millisecond
	longPatience  = 50 * time.Millisecond
)

func beginLocks(ctx context.Context, b *bed) (round, error) {
	// The server names who is waited for after deadlock_timeout: here after as long as awa's pruner waits.
	if err := b.start(ctx, map[string]string{"max_wal_size": "8GB", "log_lock_waits": "on", "deadlock_timeout": shortPatience.String()}); err != nil {
		return nil, err
	}
	return func(ctx context.Context, n int, p *roundResult) error {
		order := []string{nobody, theDaemon, inBand}
		if n%2 == 1 {
			slices.Reverse(order)
		}
		for _, who := range order {
			if err := b.locks(ctx, who, p); err != nil {
				return fmt.Errorf("beside %s: %w", who, err)
			}
		}
		return nil
	}, nil
}

func (b *bed) locks(ctx context.Context, who string, p *roundResult) (err error) {
	shape := fleet.Ledger
	if who == inBand {
		shape = fleet.Direct
	}
	d, err := b.base(ctx, "", shape, besideWriters+4)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.drop(context.WithoutCancel(ctx))) }()
	if err := d.visit(ctx); err != nil {
		return err
	}
	var r *running
	if who == theDaemon {
		if r, err = d.run(d.url(), nil, "--listen", "127.0.0.1:0"); err != nil {
			return err
		}
		defer r.Kill()
		if _, err := r.trusted(ctx); err != nil {
			return err
		}
	}
	l := load{writers: besideWriters, batch: besideBatch, rate: 4000. / besideBatch, counted: who == inBand, slots: 1, queues: 10}
	if _, err := d.write(ctx, l, b.lasting(3*time.Second)); err != nil { // makes the counter rows
		return err
	}
	if who == nobody { // counters that nobody touches, as many as beside the others
		if err := d.exec(ctx, `insert into awa.queue_terminal_live_counts (ready_slot, queue, priority, enqueue_shard, counter_bucket, live_terminal_count)
			select ready_slot, queue, priority, 0, 300, count(*) from awa.done_entries group by 1, 2, 3`); err != nil {
			return err
		}
	}
	from := len(b.cluster.Log())
	probing, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var waits []time.Duration
	var failed error
	var pid uint32
	wg.Go(func() { waits, pid, failed = d.pruner(probing) })
	_, err = d.write(ctx, l, b.lasting(30*time.Second))
	cancel()
	wg.Wait()
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	slices.Sort(waits)
	p.note("", who, "probes", float64(len(waits)))
	p.note("", who, "p50 ms", millis(waits, 0.5))
	p.note("", who, "p99 ms", millis(waits, 0.99))
	p.note("", who, "worst ms", millis(waits, 1))
	p.note("", who, "over 10 ms", float64(longer(waits, shortPatience)))
	p.note("", who, "over 50 ms", float64(longer(waits, longPatience)))
	if r != nil {
		p.note("", who, "behind the daemon", float64(cluster.WaitedFor(b.cluster.Log(), from, pid, "awa-counterd ")))
	}
	b.tell("beside %s: %d probes, p99 %.2f ms, worst %.2f ms", who, len(waits), millis(waits, 0.99), millis(waits, 1))
	if r == nil {
		return nil
	}
	if err := d.histogram(ctx, r, p); err != nil {
		return err
	}
	if err := d.righted(ctx); err != nil {
		return err
	}
	_, err = r.stop()
	return err
}

func longer(sorted []time.Duration, than time.Duration) int {
	i, _ := slices.BinarySearch(sorted, than)
	return len(sorted) - i
}

// pruner locks counter rows over and over, in one round trip each time, so that it holds them for as long as nobody.
func (d *base) pruner(ctx context.Context) (waits []time.Duration, pid uint32, err error) {
	err = d.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		pid = c.Conn().PgConn().PID()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
			lock := &pgx.Batch{}
			lock.Queue(fmt.Sprintf(`select set_config('lock_timeout', '%d', true)`, 4*longPatience.Milliseconds()))
			lock.Queue(`select 1 from awa.queue_terminal_live_counts where ready_slot = 0 for update`)
			began := time.Now()
			err := c.SendBatch(context.WithoutCancel(ctx), lock).Close() // one transaction
			waits = append(waits, time.Since(began))
			var e *pgconn.PgError
			if err != nil && (!errors.As(err, &e) || e.Code != "55P03") {
				return err
			}
		}
	})
	return waits, pid, err
}

// histogram notes the daemon's own measure of its transactions of corrections.
func (d *base) histogram(ctx context.Context, r *running, p *roundResult) error {
	var url string
	if _, err := r.until(ctx, func(e process.Entry) bool {
		url, _ = e["url"].(string)
		return e["msg"] == "listening"
	}); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"metrics", http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	limit, n, err := bucketOf(res.Body, "awa_counterd_correction_duration_seconds", 0.99)
	if err != nil {
		return err
	}
	p.note("", theDaemon, "corrections", n)
	p.note("", theDaemon, "own p99 ms", 1000*limit)
	return nil
}

// bucketOf is the upper limit of the bucket in which a quantile of a histogram lies, and how many it counts.
func bucketOf(metrics io.Reader, name string, q float64) (limit, count float64, err error) {
	type bucket struct{ limit, below float64 }
	var all []bucket
	lines := bufio.NewScanner(metrics)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name+`_bucket{le="`)
		if !ok {
			continue
		}
		le, value, ok := strings.Cut(rest, `"} `)
		below, err := strconv.ParseFloat(value, 64)
		if !ok || err != nil {
			return 0, 0, fmt.Errorf("a line of %s that is no bucket: %s", name, lines.Text())
		}
		at := math.Inf(1)
		if le != "+Inf" {
			if at, err = strconv.ParseFloat(le, 64); err != nil {
				return 0, 0, err
			}
		}
		all = append(all, bucket{at, below})
	}
	if err := lines.Err(); err != nil || len(all) == 0 {
		return 0, 0, errors.Join(err, fmt.Errorf("there is no histogram %s", name))
	}
	count = all[len(all)-1].below
	for _, b := range all {
		if b.below >= q*count {
			return b.limit, count, nil
		}
	}
	return math.Inf(1), count, nil
}

// mostOf the rounds; nothing where none has it.
func mostOf(s spread) string {
	if s.n == 0 {
		return ""
	}
	return number(s.high)
}

func showLocks(s *section, t *taken) {
	s.say("%d writers insert 4,000 rows a second, %d a transaction, into 20 groups of one slot. Every 10 ms somebody locks all counter rows of that slot, as awa's pruner does at\n"+
		"its end, and lets go at once. awa gives up after 10 ms from 0.6.0 on, before after 50 ms; who waits on the daemon's machine waits for the processor too, which\n"+
		"the row of nobody tells.", besideWriters, besideBatch)
	s.table("beside", "probes", "median, ms", "99th, ms", "worst of all rounds, ms", "over 10 ms", "of these, behind a session of the daemon's", "over 50 ms", "**99th ÷ beside nobody**", "**99th ÷ in-band**")
	for _, who := range []string{nobody, theDaemon, inBand} {
		v := func(what string) string { return t.spread("", who, what).in("") }
		s.row(who, v("probes"), v("p50 ms"), v("p99 ms"), number(t.spread("", who, "worst ms").high), number(t.spread("", who, "over 10 ms").high), mostOf(t.spread("", who, "behind the daemon")), number(t.spread("", who, "over 50 ms").high),
			bold(t.ratio("", who, nobody, "p99 ms")), bold(t.ratio("", who, inBand, "p99 ms")))
	}
	s.say("\nBy the daemon's own histogram, 99 of 100 transactions of corrections, sent to answered, took at most %s ms (%s of them a round).",
		t.spread("", theDaemon, "own p99 ms").times(), t.spread("", theDaemon, "corrections").in(""))
}
