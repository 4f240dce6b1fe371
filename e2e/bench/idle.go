package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Part idle: what a daemon takes beside a fleet that does nothing: processor time of its own and of its sessions in the
// server, WAL, connections; against pg_recvlogical, and against nobody.

func idlePart() part {
	return part{name: "idle", title: "Idle", rounds: 3, about: 21 * time.Minute, begin: beginIdle, show: showIdle}
}

// idleFor is how long it is measured: eight tokens of the daemon with the longer bound. Then connections are counted.
const (
	idleFor     = time.Minute
	idleCounted = 20 * time.Second
)

// relaxed is the daemon with a bound that an idle fleet may well have.
const relaxed = "daemon, --max-staleness 1m"

func idlers() []string { return []string{nobody, receiver, theDaemon, relaxed} }

func beginIdle(ctx context.Context, b *bed) (round, error) {
	// The server's own habits, a checkpoint and a look of autovacuum, would be in it.
	if err := b.start(ctx, map[string]string{"checkpoint_timeout": "1h", "autovacuum": "off"}); err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ int, p *roundResult) error {
		for _, who := range idlers() {
			if err := b.idle(ctx, who, p); err != nil {
				return fmt.Errorf("%s: %w", who, err)
			}
		}
		return nil
	}, nil
}

func (b *bed) idle(ctx context.Context, who string, p *roundResult) (err error) {
	d, err := b.base(ctx, "", fleet.Ledger, 2)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.drop(context.WithoutCancel(ctx))) }()
	if _, err := d.write(ctx, load{writers: 1, batch: 10, slots: ringSlots, queues: 3}, time.Second); err != nil {
		return err
	}
	pid, stop, err := d.idler(ctx, who)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := pause(ctx, b.lasting(20*time.Second)); err != nil { // the first audit, the first checkpoint, and their sessions closed
		return err
	}
	before, err := d.look(ctx, pid)
	if err != nil {
		return err
	}
	if err := pause(ctx, b.lasting(idleFor)); err != nil {
		return err
	}
	after, err := d.look(ctx, pid)
	if err != nil {
		return err
	}
	// Apart from the minute above: who counts sessions every 100 ms keeps the server busy.
	connections, most, err := d.connections(ctx, b.lasting(idleCounted))
	if err != nil {
		return err
	}
	seconds := after.at.Sub(before.at).Seconds()
	p.note("", who, "ms/s", float64((after.own-before.own).Microseconds())/1000/seconds)
	p.note("", who, "sessions ms/s", float64((after.sessions-before.sessions).Microseconds())/1000/seconds)
	p.note("", who, "WAL KiB/min", float64(after.wal-before.wal)/1024/seconds*60)
	p.note("", who, "connections", connections)
	p.note("", who, "most connections", most)
	b.tell("idle, %s: %.2f ms/s, %.1f KiB of WAL a minute, %.0f connections, %.0f at most", who, float64((after.own-before.own).Microseconds())/1000/seconds,
		float64(after.wal-before.wal)/1024/seconds*60, connections, most)
	return nil
}

// idler starts who is to be idle. The process 0 is nobody's.
func (d *base) idler(ctx context.Context, who string) (pid int, stop func() error, err error) {
	switch who {
	case theDaemon, relaxed:
		var args []string
		if who == relaxed {
			args = []string{"--max-staleness", "1m"}
		}
		r, err := d.run(d.url(), nil, args...)
		if err != nil {
			return 0, nil, err
		}
		if _, err := r.trusted(ctx); err != nil {
			r.Kill()
			return 0, nil, err
		}
		return r.PID(), func() error { _, err := r.stop(); return err }, nil
	case receiver:
		if err := d.visit(ctx); err != nil {
			return 0, nil, err
		}
		own, err := d.slot(ctx)
		if err != nil {
			return 0, nil, err
		}
		s, err := aside(d.receive(ctx, own, ""))
		if err != nil {
			return 0, nil, err
		}
		return s.cmd.Process.Pid, func() error { _, err := s.end(); return err }, nil
	}
	return 0, func() error { return nil }, nil
}

// connections counts the sessions of who is idle for some time: the median of the looks, and the most.
func (d *base) connections(ctx context.Context, length time.Duration) (mostly, most float64, err error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var seen []float64
	for until := time.Now().Add(length); time.Now().Before(until); {
		select {
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		case <-tick.C:
		}
		n, _, err := backends(ctx, d.pool, idleSessions)
		if err != nil {
			return 0, 0, err
		}
		seen = append(seen, float64(n))
	}
	slices.Sort(seen)
	return quantile(seen, 0.5), quantile(seen, 1), nil
}

// state is what has been taken until a moment.
type state struct {
	at            time.Time
	own, sessions time.Duration
	wal           pglogrepl.LSN
}

// idleSessions are those of who is idle, walsender included.
const idleSessions = `datname = current_database() and (application_name like 'awa-counterd%' or application_name = 'pg_recvlogical')`

func (d *base) look(ctx context.Context, pid int) (s state, err error) {
	if pid != 0 {
		s.own = processor(pid)
	}
	// In the order of the two looks the reading itself is inside once.
	if _, s.sessions, err = backends(ctx, d.pool, idleSessions); err != nil {
		return s, err
	}
	text, err := one[string](ctx, d.pool, `select pg_current_wal_insert_lsn()::text`)
	if err != nil {
		return s, err
	}
	s.at = time.Now()
	s.wal, err = pglogrepl.ParseLSN(text)
	return s, err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func showIdle(s *section, t *taken) {
	s.say("A minute beside a fleet that does nothing. Processor time is of the process, and of its sessions in the server, walsender included. The WAL of nobody is the\n"+
		"server's own: a record of running transactions now and then. Connections were counted for %s after that minute, every 100 ms: the median, and the most of all rounds.\n"+
		"A daemon opens a fifth for a checkpoint, where there is something to keep, and two for a scan.", idleCounted)
	s.table("who", "processor, ms/s", "its sessions, ms/s", "WAL, KiB/min", "connections", "at most", "**processor, both ÷ pg_recvlogical's**", "**WAL ÷ beside pg_recvlogical**")
	both := func(who string) []float64 {
		own, sessions := t.values("", who, "ms/s"), t.values("", who, "sessions ms/s")
		for i := range own {
			own[i] += sessions[i]
		}
		return own
	}
	for _, who := range idlers() {
		v := func(what string) string { return t.spread("", who, what).in("") }
		s.row(who, v("ms/s"), v("sessions ms/s"), v("WAL KiB/min"), v("connections"), mostOf(t.spread("", who, "most connections")), bold(over(ratios(both(who), both(receiver)))), bold(t.ratio("", who, receiver, "WAL KiB/min")))
	}
}
