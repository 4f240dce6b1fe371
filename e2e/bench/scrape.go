package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/process"
)

// Part scrape: what Prometheus costs the daemon: its processor time at 10,000 groups, beside writers, while nobody asks for /metrics,
// while somebody does each second, and 50 times a second: a single scrape costs so little that only many of them stand out.

func scrapePart() part {
	return part{name: "scrape", title: "A scrape each second", rounds: 3, about: 10 * time.Minute, begin: beginScrape, show: showScrape, page: "benchmark-scrape.md", print: printScrape}
}

const (
	unasked   = "nobody asks"
	scraped   = "a scrape a second"
	besieged  = "50 scrapes a second" // the listener answers 200 requests a second
	manyAsked = 50
)

// askers turn from round to round.
func askers(round int) []string {
	all := []string{unasked, scraped, besieged}
	n := round % len(all)
	return append(slices.Clone(all[n:]), all[:n]...)
}

func beginScrape(ctx context.Context, b *bed) (round, error) {
	if err := b.start(ctx, map[string]string{"max_wal_size": "8GB"}); err != nil {
		return nil, err
	}
	const writers = 4
	d, err := b.base(ctx, "", fleet.Ledger, writers+1)
	if err != nil {
		return nil, err
	}
	w := world{queues: b.scaled(157, 2), priorities: 4, buckets: 1}
	if err := d.populate(ctx, w); err != nil {
		return nil, err
	}
	r, err := d.run(d.url(), nil, "--listen", "0")
	if err != nil {
		return nil, err
	}
	b.later(func() error { _, err := r.stop(); return err })
	var url string
	if _, err := r.until(ctx, func(e process.Entry) bool {
		url, _ = e["url"].(string)
		return e["msg"] == "listening"
	}); err != nil {
		return nil, err
	}
	if _, err := r.trusted(ctx); err != nil {
		return nil, err
	}
	// More queues than have series of their own, each with uncounted writes: as many series as there can be.
	l := load{writers: writers, batch: 5, rate: 400, slots: ringSlots, queues: b.scaled(100, 2)}
	return func(ctx context.Context, n int, p *roundResult) error {
		p.note("", theDaemon, "groups", float64(w.groups()))
		for _, who := range askers(n) {
			if err := d.asked(ctx, who, r, url+"metrics", l, p); err != nil {
				return fmt.Errorf("%s: %w", who, err)
			}
		}
		return nil
	}, nil
}

// asked measures the daemon's processor time beside writers while somebody asks, or nobody does.
func (d *base) asked(ctx context.Context, who string, r *running, url string, l load, p *roundResult) error {
	s := &scraper{url: url}
	if every := map[string]time.Duration{scraped: time.Second, besieged: time.Second / manyAsked}[who]; every > 0 {
		s.begin(ctx, every)
	}
	var did written
	var wrote error
	var wg sync.WaitGroup
	length := d.lasting(time.Minute)
	wg.Go(func() { did, wrote = d.write(ctx, l, length+2*d.lasting(2*time.Second)) })
	defer wg.Wait()
	if err := pause(ctx, d.lasting(2*time.Second)); err != nil {
		return errors.Join(err, s.end())
	}
	before, began, asked := processor(r.PID()), time.Now(), s.count()
	err := pause(ctx, length)
	took, seconds, answered := processor(r.PID())-before, time.Since(began).Seconds(), s.count()-asked
	err = errors.Join(err, s.end())
	wg.Wait()
	if err = errors.Join(err, wrote); err != nil {
		return err
	}
	p.note("", who, "ms/s", float64(took.Microseconds())/1000/seconds)
	p.note("", who, "rows/s", did.perSecond())
	p.note("", who, "scrapes/s", float64(answered)/seconds)
	if answered > 0 {
		slices.Sort(s.took)
		p.note("", who, "answer ms", millis(s.took, 0.5))
		p.note("", who, "KiB", float64(s.bytes)/1024)
	}
	d.tell("scrape, %s: %.2f ms/s at %.0f rows/s, %d answers", who, float64(took.Microseconds())/1000/seconds, did.perSecond(), answered)
	return nil
}

// scraper asks as Prometheus does: one connection, compressed.
type scraper struct {
	url    string
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	took   []time.Duration
	bytes  int64 // of the last answer, as it came
	failed error
}

func (s *scraper) begin(ctx context.Context, every time.Duration) {
	ctx, s.cancel = context.WithCancel(ctx)
	s.wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			began := time.Now()
			n, err := scrape(ctx, s.url)
			if ctx.Err() != nil {
				return
			}
			s.mu.Lock()
			s.took, s.bytes, s.failed = append(s.took, time.Since(began)), n, errors.Join(s.failed, err)
			s.mu.Unlock()
		}
	})
}

func (s *scraper) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.took)
}

func (s *scraper) end() error {
	if s.cancel == nil {
		return nil
	}
	s.cancel()
	s.wg.Wait()
	return s.failed
}

// scrape asks once, and returns how many bytes came.
func scrape(ctx context.Context, url string) (int64, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	q.Header.Set("Accept", "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1")
	q.Header.Set("Accept-Encoding", "gzip") // set by hand, so that it comes as it was sent
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		return 0, err
	}
	defer func() { _ = a.Body.Close() }()
	n, err := io.Copy(io.Discard, a.Body)
	if err == nil && a.StatusCode != http.StatusOK {
		err = fmt.Errorf("a scrape was answered with %s", a.Status)
	}
	return n, err
}

// perScrape is what one scrape took of the daemon's processor time, in ms, round by round.
func perScrape(t *taken, who string) []float64 {
	with, without, rate := t.values("", who, "ms/s"), t.values("", unasked, "ms/s"), t.values("", who, "scrapes/s")
	for i := range with {
		with[i] = (with[i] - without[i]) / rate[i]
	}
	return with
}

// share is what a scrape a second takes of the daemon's processor time, in percent: by what one of many costs, for the difference that
// a single one makes is smaller than what a minute differs from the next.
func share(t *taken) []float64 {
	one, without := perScrape(t, besieged), t.values("", unasked, "ms/s")
	for i := range one {
		one[i] = 100 * one[i] / without[i]
	}
	return one
}

func showScrape(s *section, t *taken) {
	s.say("%s groups beside %s uncounted rows a second on more queues than have series of their own. The processor time is the daemon's.", t.spread("", theDaemon, "groups").in(""),
		t.spread("", unasked, "rows/s").in(""))
	s.table("who asks for /metrics", "processor, ms/s", "**÷ while nobody asks**", "one scrape, ms of processor time", "answer after, ms", "KiB, compressed")
	for _, who := range []string{unasked, scraped, besieged} {
		v := func(what string) string { return t.spread("", who, what).in("") }
		if who == unasked {
			s.row(who, v("ms/s"), "", "", "", "")
			continue
		}
		s.row(who, v("ms/s"), bold(t.ratio("", who, unasked, "ms/s")), over(perScrape(t, who)).in(""), v("answer ms"), v("KiB"))
	}
	s.say("\nOne scrape each second takes %s %% of the daemon's processor time, by what one of 50 a second takes: what a single one makes is less than what one minute differs\n"+
		"from the next.", over(share(t)).in(""))
}

// printScrape is the report of this part alone.
func printScrape(t *taken) string {
	s := &section{}
	showScrape(s, t)
	return head(t, "Benchmark: a scrape each second", "bench-scrape") + s.text.String()
}
