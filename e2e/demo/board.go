package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jedib0t/go-pretty/v6/table"
	"golang.org/x/term"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// board shows what happens: redrawn in place on a terminal, a line now and then elsewhere.
type board struct {
	out    io.Writer
	live   bool
	pool   *pgxpool.Pool
	schema string
	actor  *actor
	fleet  *fleet.Fleet

	began  time.Time
	act    string // what the play is at
	watch  fleet.Watch
	last   map[string]int64
	lastAt time.Time
	rates  map[string]float64
}

func newBoard(out *os.File, pool *pgxpool.Pool, schema string, a *actor, f *fleet.Fleet) *board {
	return &board{
		out: out, live: term.IsTerminal(int(out.Fd())),
		pool: pool, schema: schema, watch: fleet.Watch{Schema: schema, Bound: maxStaleness}, actor: a, fleet: f, began: time.Now(),
		last: make(map[string]int64), rates: make(map[string]float64),
	}
}

// run plays for a while: SIGKILL at the half, a new start a second later.
func (b *board) run(ctx context.Context, length time.Duration) error {
	b.act = "pre-#290 and post-#290 writers at work"
	half, again := time.After(length/2), (<-chan time.Time)(nil)
	end := time.After(length)
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	period := 500 * time.Millisecond
	if !b.live {
		period = 2 * time.Second
	}
	draw := time.NewTicker(period)
	defer draw.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
			if err := b.sample(ctx); err != nil {
				return err
			}
		case <-draw.C:
			if err := b.draw(ctx); err != nil {
				return err
			}
		case <-half:
			b.act = "the daemon was killed with SIGKILL; the writers go on"
			b.say(b.act)
			b.actor.kill()
			again = time.After(time.Second)
		case <-again:
			b.act = "the daemon was started again and resumes from its checkpoint"
			b.say(b.act)
			if err := b.actor.start(); err != nil {
				return err
			}
		case <-end:
			return nil
		}
	}
}

func (b *board) say(text string) {
	if !b.live {
		fmt.Fprintf(b.out, "%5.1fs  %s\n", time.Since(b.began).Seconds(), text)
	}
}

func (b *board) sample(ctx context.Context) error {
	return b.watch.Look(ctx, b.pool)
}

type line struct {
	queue         string
	rows, counter int64
}

// queues reads rows and counter of each queue in one snapshot, and the daemon's count of uncounted
// writes from its checkpoint.
func (b *board) queues(ctx context.Context) ([]line, bool, error) {
	sums, err := fleet.CompareQueues(ctx, b.pool, b.schema)
	if err != nil {
		return nil, false, err
	}
	var out []line
	for _, s := range sums {
		out = append(out, line{s.Queue, s.Rows, s.Counter})
	}
	set, err := fleet.Trusted(ctx, b.pool, b.schema)
	if err != nil {
		return nil, false, err
	}
	return out, set, b.uncounted(ctx)
}

func (b *board) uncounted(ctx context.Context) error {
	var there bool
	if err := b.pool.QueryRow(ctx, `select to_regclass('awa_counterd.uncounted_writes') is not null`).Scan(&there); err != nil || !there {
		return err
	}
	rows, err := b.pool.Query(ctx, `select queue, sum(rows_off)::int8 from awa_counterd.uncounted_writes where kind in ('rows', 'prune') group by 1`)
	if err != nil {
		return err
	}
	now := make(map[string]int64)
	var queue string
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&queue, &n}, func() error { now[queue] = n; return nil }); err != nil {
		return err
	}
	if since := time.Since(b.lastAt); since > 1900*time.Millisecond {
		for q, n := range now {
			if !b.lastAt.IsZero() {
				b.rates[q] = float64(n-b.last[q]) / since.Seconds()
			}
		}
		b.last, b.lastAt = now, time.Now()
	}
	return nil
}

func (b *board) draw(ctx context.Context) error {
	lines, set, err := b.queues(ctx)
	if err != nil {
		return err
	}
	status, news, alive := b.actor.read()
	if !b.live {
		b.plain(lines, set, status, alive)
		return nil
	}
	t := table.NewWriter()
	t.SetStyle(table.StyleRounded)
	t.AppendHeader(table.Row{"queue", "rows", "counter", "drift", "uncounted/s"})
	for _, l := range lines {
		t.AppendRow(table.Row{l.queue, l.rows, l.counter, l.rows - l.counter, fmt.Sprintf("%.0f", b.rates[l.queue])})
	}
	var s strings.Builder
	s.WriteString("\x1b[H\x1b[2J") // home, clear
	fmt.Fprintf(&s, "awa-counterd demo  %4.0fs  %s\n\n%s\n\n", time.Since(b.began).Seconds(), b.act, t.Render())
	fmt.Fprintf(&s, "marker   %s\ntrust    %v\nlag      %v\nwritten  %v corrections; fleet: %d transactions, %d prunes, %d folds\nsamples  %d, %d of them trusted, oldest drift while trusted %s\n\n",
		markerWord(set, alive), field(status, "trust"), field(status, "lag"), field(status, "corrections"), b.fleet.Ops.Load(), b.fleet.Prunes.Load(), b.fleet.Folds.Load(),
		b.watch.Samples, b.watch.Trusted, b.watch.Oldest.Round(time.Millisecond))
	for _, n := range news {
		fmt.Fprintf(&s, "  %s\n", n)
	}
	_, err = io.WriteString(b.out, s.String())
	return err
}

func markerWord(set, alive bool) string {
	word := "not set: readers scan"
	if set {
		word = "set: readers use the counters"
	}
	if !alive {
		word += " (the daemon is dead)"
	}
	return word
}

func field(status map[string]any, name string) any {
	if v, ok := status[name]; ok {
		return v
	}
	return "–"
}

func (b *board) plain(lines []line, set bool, status map[string]any, alive bool) {
	var parts []string
	for _, l := range lines {
		parts = append(parts, fmt.Sprintf("%s %d/%d drift %d uncounted %.0f/s", l.queue, l.rows, l.counter, l.rows-l.counter, b.rates[l.queue]))
	}
	fmt.Fprintf(b.out, "%5.1fs  %s | marker %s | trust %v | lag %v | corrections %v\n", time.Since(b.began).Seconds(),
		strings.Join(parts, ", "), markerWord(set, alive), field(status, "trust"), field(status, "lag"), field(status, "corrections"))
}

// verdict waits as long as the product promises, and judges by one scan.
func (b *board) verdict(ctx context.Context) (int, error) {
	b.say("the writers have stopped")
	late := time.After(maxStaleness)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	stopped := time.Now()
	for {
		groups, wrong, err := fleet.Compare(ctx, b.pool, b.schema)
		if err != nil {
			return 0, err
		}
		waited := time.Since(stopped)
		timeUp := false
		if len(wrong) > 0 {
			select {
			case <-late:
				timeUp = true
			case <-tick.C:
				continue
			}
		}
		fmt.Fprintf(b.out, "\nverdict, by one scan %s after the last write: %d groups compared, %d wrong\n", waited.Round(time.Millisecond), groups, len(wrong))
		fmt.Fprintf(b.out, "%d samples, %d trusted, %d of those with a drift older than %s; oldest drift seen while trusted: %s\n",
			b.watch.Samples, b.watch.Trusted, b.watch.Dishonest, maxStaleness, b.watch.Oldest.Round(time.Millisecond))
		if timeUp {
			for _, w := range wrong[:min(3, len(wrong))] {
				fmt.Fprintf(b.out, "wrong: %+v\n", w)
			}
		}
		for text, n := range b.fleet.Errors() {
			fmt.Fprintf(b.out, "a writer failed %d times: %s\n", n, text)
		}
		return len(wrong), nil
	}
}
