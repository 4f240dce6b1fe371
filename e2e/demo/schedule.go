package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// maxStaleness is the daemon's default for --max-staleness: while the marker is set, no counter is wrong for longer.
const maxStaleness = 2 * time.Second

// schedule is when the daemon starts, is killed and returns, from the first write of the workers on.
type schedule struct{ start, kill, back, end time.Duration }

func newSchedule(length time.Duration) schedule {
	return schedule{start: length / 4, kill: length * 5 / 8, back: length * 3 / 4, end: length}
}

// run is one run of the demo.
type run struct {
	pool   *pgxpool.Pool
	schema string
	daemon *daemon
	fleet  *fleet.Fleet
	board  *board
	plan   schedule

	began   time.Time
	watch   fleet.Watch
	vouched bool // the daemon runs and has seen the marker since it started
	series  series
}

func newRun(pool *pgxpool.Pool, schema string, d *daemon, f *fleet.Fleet, b *board, plan schedule) *run {
	r := &run{pool: pool, schema: schema, daemon: d, fleet: f, board: b, plan: plan, began: time.Now()}
	// A daemon that is dead, or has only just started, cannot have cleared the marker yet.
	r.watch = fleet.Watch{Schema: schema, Bound: maxStaleness, Unvouched: func() bool { return !r.vouched }}
	return r
}

// follow follows the plan until the workers' time is over.
func (r *run) follow(ctx context.Context) error {
	timers := make(map[time.Duration]<-chan time.Time)
	for _, at := range []time.Duration{r.plan.start, r.plan.kill, r.plan.back, r.plan.end} {
		timers[at] = time.After(at)
	}
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	draw := time.NewTicker(r.board.period)
	defer draw.Stop()
	r.tell(fmt.Sprintf("nobody corrects the counters; awa-counterd starts at %s", seconds(r.plan.start)))
	for {
		var err error
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-look.C:
			err = r.look(ctx)
		case <-draw.C:
			err = r.draw(ctx)
		case <-timers[r.plan.start]:
			r.tell("awa-counterd starts, and counts everything once")
			err = r.start("start")
		case <-timers[r.plan.kill]:
			r.tell("awa-counterd is killed (SIGKILL); its supervisor clears the trust marker")
			err = r.kill(ctx)
		case <-timers[r.plan.back]:
			r.tell("awa-counterd starts again, and goes on where it was killed")
			err = r.start("return")
		case <-timers[r.plan.end]:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *run) tell(phase string) { r.board.tell(time.Since(r.began), phase) }

func (r *run) start(name string) error {
	r.series.mark(time.Since(r.began), name)
	return r.daemon.start()
}

func (r *run) kill(ctx context.Context) error {
	r.series.mark(time.Since(r.began), "kill")
	r.vouched = false
	r.daemon.kill()
	return r.daemon.afterStop(ctx)
}

// look takes one sample of counters, rows and marker.
func (r *run) look(ctx context.Context) error {
	if err := r.watch.Look(ctx, r.pool); err != nil {
		return err
	}
	alive := r.daemon.alive()
	r.vouched = alive && (r.vouched || !r.watch.Set)
	r.series.add(sample{at: time.Since(r.began), off: r.watch.Off, set: r.watch.Set, alive: alive})
	return nil
}

func (r *run) draw(ctx context.Context) error {
	queues, err := fleet.CompareQueues(ctx, r.pool, r.schema)
	if err != nil {
		return err
	}
	status, news := r.daemon.heard()
	return r.board.draw(view{
		at: time.Since(r.began), of: r.plan.end, queues: queues, set: r.watch.Set, alive: r.daemon.alive(), status: status, news: news,
	})
}

// verdict waits as long as the product promises, and judges by one scan. It returns the number of wrong counters.
func (r *run) verdict(ctx context.Context) (int, error) {
	stopped := time.Now()
	r.tell("the workers stop")
	late := time.After(maxStaleness)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for timeUp := false; ; {
		groups, wrong, err := fleet.Compare(ctx, r.pool, r.schema)
		if err != nil {
			return 0, err
		}
		waited := time.Since(stopped)
		if err := r.look(ctx); err != nil {
			return 0, err
		}
		if len(wrong) == 0 || timeUp {
			err := r.board.end(&r.series, &r.watch, outcome{waited, groups, wrong, r.fleet.Errors()})
			return len(wrong), err
		}
		select {
		case <-late:
			timeUp = true
		case <-tick.C:
		}
	}
}
