package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Part start: how long a daemon takes to trust beside one huge leaf and writers that do not rest: the scan of that leaf
// lasts while tens of thousands of transactions are streamed, and has to be brought together with them.

func startPart() part {
	return part{
		name: "start", title: "A start beside a huge leaf", rounds: 3, begin: beginStart, show: showStart,
		page: "benchmark-start.md", print: printStart,
	}
}

const (
	startRows    = 20_000_000
	startRate    = 5000 // transactions a second
	startWriters = 8
)

// start is one leaf of many rows.
type start struct {
	*base
	written atomic.Int64
}

func beginStart(ctx context.Context, b *bed) (round, error) {
	if err := b.start(ctx, map[string]string{"shared_buffers": "1GB", "max_wal_size": "16GB", "autovacuum": "off"}); err != nil {
		return nil, err
	}
	base, err := b.base(ctx, "", fleet.Ledger, startWriters+1)
	if err != nil {
		return nil, err
	}
	b.later(func() error { base.pool.Close(); return nil })
	s := &start{base: base}
	return s.round, s.fill(ctx)
}

// fill makes one leaf of many rows in a hundred groups, none of them counted.
func (s *start) fill(ctx context.Context) error {
	return s.exec(ctx, `drop index awa.done_entries_0_job_id_idx`,
		fmt.Sprintf(`insert into awa.done_entries (ready_slot, ready_generation, job_id, kind, queue, state, priority, lane_seq)
			select 0, 0, i, 'job', 'queue ' || i %% 25, 'failed', 1 + i %% 4, i from generate_series(1, %d) i`, s.scaled(startRows, 20_000)),
		`vacuum analyze awa.done_entries`, `checkpoint`)
}

// round is one start from nothing.
func (s *start) round(ctx context.Context, n int, p *played) error {
	busy, rest := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer func() { rest(); wg.Wait() }()
	for i := range startWriters {
		wg.Go(func() { s.work(busy, i) })
	}
	began := time.Now()
	_, err := one[int](ctx, s.pool, `select count(*) from (select queue, priority, enqueue_shard, count(*) from awa.done_entries_0 group by 1, 2, 3) g`)
	if err != nil {
		return err
	}
	counted := time.Since(began)
	before := s.written.Load()
	r, err := s.run(s.url(), nil)
	if err != nil {
		return err
	}
	defer r.Kill()
	wall, err := r.trusted(ctx)
	if err != nil {
		return err
	}
	written := s.written.Load() - before
	rest() // the flush that a graceful end makes then leaves everything right
	wg.Wait()
	u, err := r.stop()
	if err != nil {
		return err
	}
	putOff := r.times("a scan is postponed") + r.times("a scan took")
	rate := float64(written) / wall.Seconds()
	p.note("", plainCount, "s", counted.Seconds())
	p.note("", theDaemon, "s", wall.Seconds())
	p.note("", theDaemon, "transactions/s", rate)
	p.note("", theDaemon, "put off", float64(putOff))
	p.note("", theDaemon, "peak MB", float64(u.peak)/1024)
	p.note("", theDaemon, "cpu s", u.cpu.Seconds())
	s.tell("round %d: counted in %s; trusted after %s beside %.0f transactions a second, %d scans put off, %d MB", n+1,
		counted.Round(10*time.Millisecond), wall.Round(10*time.Millisecond), rate, putOff, u.peak/1024)
	_, wrong, err := fleet.Compare(ctx, s.pool, "awa")
	if err == nil && len(wrong) > 0 {
		err = fmt.Errorf("%d groups wrong in the end, the first: %+v", len(wrong), wrong[0])
	}
	if err != nil {
		return err
	}
	teardown := exec.CommandContext(ctx, s.daemon, "teardown", "--database-url", s.cluster.Socket(s.name))
	if said, err := teardown.CombinedOutput(); err != nil {
		return fmt.Errorf("teardown: %w: %s", err, said)
	}
	return s.exec(ctx, `truncate awa.queue_terminal_live_counts`) // the next start finds everything wrong again
}

// work writes rows uncounted, one a transaction, at its share of the rate.
func (s *start) work(ctx context.Context, i int) {
	_ = s.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		if _, err := c.Exec(ctx, `set synchronous_commit = off`); err != nil {
			return err
		}
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		began, done := time.Now(), 0
		for n := 0; ; {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
			for due := int(time.Since(began).Seconds() * startRate / startWriters); done < due && ctx.Err() == nil; done++ {
				n++
				_, err := c.Exec(context.WithoutCancel(ctx), `insert into awa.done_entries (ready_slot, ready_generation, job_id, kind, queue, state, priority, lane_seq)
				values ($1, 0, nextval('awa.lane_seq'), 'job', $2, 'failed', $3, 1000000000 + nextval('awa.lane_seq'))`, n%4, fmt.Sprintf("queue %d", (n+i)%25), 1+n%4)
				if err != nil {
					return err
				}
				s.written.Add(1)
			}
		}
	})
}

func showStart(s *section, t *taken) {
	s.say("One leaf of %s rows that nobody counted, and %d writers that insert uncounted rows, one a transaction, %d a second if the machine lets them. The daemon\n"+
		"starts from nothing; two scans of the huge leaf are part of it. The peer is a plain grouped count of that leaf, beside the same writers.",
		number(startRows*t.Origin.Scale), startWriters, startRate)
	s.table("grouped count, s", "until trusted, s", "**ratio**", "transactions/s meanwhile", "scans put off", "peak memory, MB", "processor time, s")
	v := func(what string) string { return t.spread("", theDaemon, what).in("") }
	s.row(t.spread("", plainCount, "s").in(""), v("s"), bold(over(ratios(t.values("", theDaemon, "s"), t.values("", plainCount, "s")))),
		v("transactions/s"), v("put off"), v("peak MB"), v("cpu s"))
	s.say("\nEvery counter was right in the end of each round.")
}

// printStart is the report of this part alone.
func printStart(t *taken) string {
	var s strings.Builder
	s.WriteString(head(t, "Benchmark: a start beside a huge leaf", "bench-start"))
	fmt.Fprintf(&s, "One leaf of %.0f rows that nobody counted, and %d writers that insert uncounted rows, one a transaction, %d a second if the\n"+
		"machine lets them. The daemon starts from nothing: a replication slot, a scan of every slot, corrections, an audit. Two scans of the\n"+
		"huge leaf are part of it. The grouped count is a plain one of that leaf, beside the same writers.\n\n", startRows*t.Origin.Scale, startWriters, startRate)
	s.WriteString("| round | grouped count, s | until trusted, s | transactions/s meanwhile | scans put off | peak memory, MB | processor time, s |\n|---|---|---|---|---|---|---|\n")
	for i := range t.Rounds {
		v := func(what string) float64 { return t.values("", theDaemon, what)[i] }
		fmt.Fprintf(&s, "| %d | %.1f | %.1f | %.0f | %.0f | %.0f | %.1f |\n", i+1, t.values("", plainCount, "s")[i], v("s"), v("transactions/s"), v("put off"), v("peak MB"), v("cpu s"))
	}
	s.WriteString("\nEvery counter was right in the end of each round.\n")
	return s.String()
}
