package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// happened is something that happened, and how long it took until readers were told again that they can trust.
type happened struct {
	day   int
	what  string
	again time.Duration
}

// event is something that happens in a week.
type event struct {
	name string
	do   func(ctx context.Context, w *world) error
}

// week is what happens on each day. The first and the last are like any other.
func week() [7][]event {
	restart := event{"server restarted for a minor upgrade", restarted}
	dropped := event{"publication dropped", func(ctx context.Context, w *world) error { return w.exec(ctx, "drop publication "+publication) }}
	cut := event{"all connections cut", func(ctx context.Context, w *world) error {
		return w.exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity where usename = '`+role+`'`)
	}}
	leaf := event{"a leaf added", leafAdded}
	failover := event{"failover to a standby", failedOver}
	return [7][]event{{}, {{"password changed", changed}}, {restart, leaf}, {dropped}, {restart, cut}, {dropped, failover}, {}}
}

// live runs the week: each day two thirds of work with a burst, and a night.
func (w *world) live(ctx context.Context) error {
	day := w.o.length / 7
	if err := w.trusted(ctx); err != nil {
		return err
	}
	for n, events := range week() {
		begins := time.Now()
		if err := w.day(ctx, n, events, begins, day); err != nil {
			return fmt.Errorf("day %d: %w", n+1, err)
		}
		if err := w.night(ctx, n, begins.Add(day)); err != nil {
			return fmt.Errorf("night %d: %w", n+1, err)
		}
	}
	w.enter("the end")
	return nil
}

// phase is what is going on.
func phase(day int, what string) string { return fmt.Sprintf("day %d, %s", day, what) }

// enter begins another phase: what was logged until now was said in the one before.
func (w *world) enter(phase string) {
	for _, d := range w.daemons {
		d.hear(w.phase)
	}
	w.phase = phase
}

func (w *world) day(ctx context.Context, n int, events []event, begins time.Time, day time.Duration) error {
	at := func(share float64) error {
		return pause(ctx, time.Until(begins.Add(time.Duration(share*float64(day)))))
	}
	w.enter(phase(n+1, "morning"))
	if err := w.work(ctx, 1); err != nil {
		return err
	}
	if err := at(0.15); err != nil {
		return err
	}
	w.enter(phase(n+1, "burst"))
	if err := w.failed(); err != nil {
		return err
	}
	if err := w.work(ctx, 20); err != nil {
		return err
	}
	if err := at(0.2); err != nil {
		return err
	}
	w.enter(phase(n+1, "noon"))
	if err := w.failed(); err != nil {
		return err
	}
	if err := w.work(ctx, 1); err != nil {
		return err
	}
	for i, e := range events {
		if err := at(0.3 + 0.2*float64(i)); err != nil {
			return err
		}
		w.enter(phase(n+1, e.name))
		again, err := w.recovers(ctx, e)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		w.events = append(w.events, happened{n + 1, e.name, again})
		_, _ = fmt.Fprintf(os.Stderr, "week: day %d: %s; trusted again after %s\n", n+1, e.name, again.Round(10*time.Millisecond))
	}
	if err := at(0.66); err != nil {
		return err
	}
	return w.failed()
}

// noticed is how long the daemons have to notice what happened: a marker that is set before may be from before.
const noticed = 3 * time.Second

// recovers has something happen, waits until it is over, and is when the marker was seen unset last; 0: never.
func (w *world) recovers(ctx context.Context, e event) (again time.Duration, err error) {
	began, ended := time.Now(), make(chan error, 1)
	go func() { ended <- e.do(ctx, w) }()
	var over time.Time
	var failed error
	err = until(ctx, "the marker is not set again", func() (bool, error) {
		select {
		case failed = <-ended:
			over = time.Now()
		default:
		}
		set, err := fleet.Trusted(ctx, w.pool, "awa")
		if err == nil && !set {
			again = time.Since(began)
		}
		return failed != nil || !over.IsZero() && set && time.Since(over) > noticed, err
	})
	return again, errors.Join(failed, err)
}

// restarted is a minor upgrade of the server.
func restarted(ctx context.Context, w *world) error {
	w.disturbed.Store(true)
	if err := w.cluster.Down(ctx, "fast"); err != nil {
		return err
	}
	if err := w.cluster.Up(ctx); err != nil {
		return err
	}
	w.pool.Reset()
	if err := pause(ctx, time.Second); err != nil { // for what was begun before
		return err
	}
	w.disturbed.Store(false)
	return nil
}

// changed is a change of password as it is done in life: first the server, then the standby is started with it, then the leader.
func changed(ctx context.Context, w *world) error {
	password := w.password(1)
	if err := w.exec(ctx, fmt.Sprintf(`alter role %s password '%s'`, role, password)); err != nil {
		return err
	}
	leader, err := w.leads(ctx)
	if err != nil {
		return err
	}
	for _, d := range []*daemon{w.daemons[1-leader], w.daemons[leader]} {
		if err := d.stop(); err != nil {
			return err
		}
		if err := d.start(w.arguments(password, d)...); err != nil {
			return err
		}
		if err := until(ctx, "a daemon is not ready with its new password", func() (bool, error) { return d.ready(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

// leads is which of the daemons leads.
func (w *world) leads(ctx context.Context) (int, error) {
	var pid int
	if err := w.pool.QueryRow(ctx, `select pid from awa_counterd.leader where awa_schema = 'awa'`).Scan(&pid); err != nil {
		return 0, err
	}
	for i, d := range w.daemons {
		if d.cmd.Process.Pid == pid {
			return i, nil
		}
	}
	return 0, fmt.Errorf("pid %d leads, which is neither of the two daemons", pid)
}

// night has nobody write. Counters must be right, then it is quiet, and at its end everything is measured.
func (w *world) night(ctx context.Context, n int, ends time.Time) error {
	w.enter(fmt.Sprintf("night %d, falls", n+1))
	w.rest()
	if err := w.right(ctx); err != nil {
		return err
	}
	if err := w.trusted(ctx); err != nil {
		return err
	}
	if err := pause(ctx, time.Until(ends)/3); err != nil { // what the day has left to say
		return err
	}
	w.enter(fmt.Sprintf("night %d", n+1))
	quiet := night{number: n + 1, began: time.Now(), before: w.logged()}
	every := max(time.Until(ends)/samplesANight, 100*time.Millisecond)
	for range samplesANight {
		if err := pause(ctx, every); err != nil {
			return err
		}
		if err := w.sample(ctx, &quiet); err != nil {
			return err
		}
	}
	w.enter("midnight")
	quiet.lasted, quiet.after = time.Since(quiet.began), w.logged()
	w.nights = append(w.nights, quiet)
	for _, d := range w.daemons {
		if !d.alive() {
			return fmt.Errorf("daemon %d has ended", d.number)
		}
		if err := d.rotate(w.phase); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintf(os.Stderr, "week: night %d: %s\n", n+1, quiet.String())
	return nil
}

// lastWords shows how the logs end.
func (w *world) lastWords() error {
	var b strings.Builder
	for _, d := range w.daemons {
		d.tail(&b)
	}
	return errors.New(strings.TrimSpace(b.String()))
}
