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
// lasts while tens of thousands of transactions are streamed, and has to be brought together with them. It has to last longer than
// shortJournal transactions, after which a journal of fixed length refused such a scan, again and again. A hash aggregate is done with
// 20,000,000 rows in two seconds; so the server sorts them, and the leaf grows until that takes long enough.

func startPart() part {
	return part{
		name: "start", title: "A start beside a huge leaf", rounds: 3, about: 12 * time.Minute, begin: beginStart, show: showStart,
		page: "benchmark-start.md", print: printStart,
	}
}

const (
	startRows    = 20_000_000
	startRate    = 5000 // transactions a second
	startWriters = 8

	shortJournal = 65_536           // transactions
	startLasts   = 20 * time.Second // of a grouped count; half as much again as those take at startRate
	startMost    = 4                // times startRows, at most
)

// start is one leaf of many rows.
type start struct {
	*base
	rows    int // of the leaf
	written atomic.Int64
}

func beginStart(ctx context.Context, b *bed) (round, error) {
	if err := b.start(ctx, map[string]string{
		"shared_buffers": "1GB", "max_wal_size": "16GB", "autovacuum": "off",
		"enable_hashagg": "off", "max_parallel_workers_per_gather": "0",
	}); err != nil {
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

// fill makes one leaf of many rows in a hundred groups, none of them counted, and as many of them as it takes.
func (s *start) fill(ctx context.Context) error {
	if err := s.exec(ctx, `drop index awa.done_entries_0_job_id_idx`); err != nil {
		return err
	}
	least, lasts := s.scaled(startRows, 20_000), time.Duration(float64(startLasts)*min(s.scale, 1))
	for n := least; ; n = least / 2 {
		if err := s.grow(ctx, n); err != nil {
			return err
		}
		took, err := s.count(ctx)
		if err != nil || took >= lasts {
			return err
		}
		if s.rows >= startMost*least {
			return fmt.Errorf("%d rows are counted in %s, and a count of %s is wanted: set work_mem lower, or take more rows", s.rows, took.Round(10*time.Millisecond), lasts)
		}
	}
}

func (s *start) grow(ctx context.Context, n int) error {
	from := s.rows + 1
	s.rows += n
	return s.exec(ctx,
		fmt.Sprintf(`insert into awa.done_entries (ready_slot, ready_generation, job_id, kind, queue, state, priority, lane_seq)
			select 0, 0, i, 'job', 'queue ' || i %% 25, 'failed', 1 + i %% 4, i from generate_series(%d, %d) i`, from, s.rows),
		`vacuum analyze awa.done_entries`, `checkpoint`)
}

// count is the peer: a plain grouped count of the huge leaf.
func (s *start) count(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	_, err := one[int](ctx, s.pool, `select count(*) from (select queue, priority, enqueue_shard, count(*) from awa.done_entries_0 group by 1, 2, 3) g`)
	return time.Since(began), err
}

// round is one start from nothing.
func (s *start) round(ctx context.Context, n int, p *roundResult) error {
	busy, rest := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer func() { rest(); wg.Wait() }()
	for i := range startWriters {
		wg.Go(func() { s.work(busy, i) })
	}
	before := s.written.Load()
	counted, err := s.count(ctx)
	if err != nil {
		return err
	}
	meanwhile := s.written.Load() - before
	if s.scale >= 1 && meanwhile <= shortJournal {
		return fmt.Errorf("%d transactions were written while the leaf was counted, and more than %d are wanted: the machine does not let the writers", meanwhile, shortJournal)
	}
	before = s.written.Load()
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
	p.note("", plainCount, "rows", float64(s.rows))
	p.note("", plainCount, "s", counted.Seconds())
	p.note("", plainCount, "transactions", float64(meanwhile))
	p.note("", theDaemon, "s", wall.Seconds())
	p.note("", theDaemon, "transactions/s", rate)
	p.note("", theDaemon, "put off", float64(putOff))
	p.note("", theDaemon, "peak MB", float64(u.peak)/1024)
	p.note("", theDaemon, "cpu s", u.cpu.Seconds())
	s.tell("round %d: counted in %s, while %d transactions were written; trusted after %s beside %.0f transactions a second, %d scans put off, %d MB", n+1,
		counted.Round(10*time.Millisecond), meanwhile, wall.Round(10*time.Millisecond), rate, putOff, u.peak/1024)
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

// scanBound is the time until trusted by that of two grouped counts: a start scans the huge leaf twice, and is not to do much besides.
func scanBound(t *taken) spread {
	twice := t.values("", plainCount, "s")
	for i := range twice {
		twice[i] *= 2
	}
	return over(ratios(t.values("", theDaemon, "s"), twice))
}

func showStart(s *section, t *taken) {
	s.say("One leaf of %s rows that nobody counted, and %d writers that insert uncounted rows, one a transaction, %d a second if the machine lets them. The daemon\n"+
		"starts from nothing; two scans of the huge leaf are part of it. The peer is a plain grouped count of that leaf, beside the same writers.\n"+
		"The server sorts for both (`enable_hashagg` is off), so that a scan lasts longer than %s transactions take to write.",
		t.spread("", plainCount, "rows").in(""), startWriters, startRate, number(shortJournal))
	s.table("grouped count, s", "transactions written during it", "until trusted, s", "**ratio**", "**÷ two counts**", "transactions/s meanwhile", "scans put off", "peak memory, MB", "processor time, s")
	v := func(what string) string { return t.spread("", theDaemon, what).in("") }
	s.row(t.spread("", plainCount, "s").in(""), t.spread("", plainCount, "transactions").in(""), v("s"),
		bold(over(ratios(t.values("", theDaemon, "s"), t.values("", plainCount, "s")))), bold(scanBound(t)),
		v("transactions/s"), v("put off"), v("peak MB"), v("cpu s"))
	s.say("\nEvery counter was right in the end of each round.")
}

// printStart is the report of this part alone.
func printStart(t *taken) string {
	var s strings.Builder
	s.WriteString(head(t, "Benchmark: a start beside a huge leaf", "bench-start"))
	fmt.Fprintf(&s, "One leaf of rows that nobody counted, and %d writers that insert uncounted rows, one a transaction, %d a second if the\n"+
		"machine lets them. The daemon starts from nothing: a replication slot, a scan of every slot, corrections, an audit. Two scans of the\n"+
		"huge leaf are part of it. The grouped count is a plain one of that leaf, beside the same writers. The server sorts for both\n"+
		"(`enable_hashagg` is off), so that a scan lasts longer than %d transactions take to write.\n\n", startWriters, startRate, shortJournal)
	s.WriteString("| round | rows | grouped count, s | transactions written during it | until trusted, s | transactions/s meanwhile | scans put off | peak memory, MB | processor time, s |\n|---|---|---|---|---|---|---|---|---|\n")
	for i := range t.Rounds {
		peer := func(what string) float64 { return t.values("", plainCount, what)[i] }
		v := func(what string) float64 { return t.values("", theDaemon, what)[i] }
		fmt.Fprintf(&s, "| %d | %.0f | %.1f | %.0f | %.1f | %.0f | %.0f | %.0f | %.1f |\n", i+1, peer("rows"), peer("s"), peer("transactions"), v("s"), v("transactions/s"), v("put off"), v("peak MB"), v("cpu s"))
	}
	s.WriteString("\nEvery counter was right in the end of each round.\n")
	return s.String()
}
