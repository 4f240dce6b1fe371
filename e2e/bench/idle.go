package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Part idle: what a daemon takes beside a fleet that does nothing: processor time of its own and of its sessions in the
// server, WAL, connections; against pg_recvlogical, and against nobody.

func idlePart() part {
	return part{name: "idle", title: "Idle", rounds: 3, begin: beginIdle, show: showIdle}
}

// idleFor is how long it is measured: four tokens of the daemon with the longest bound.
const idleFor = time.Minute

// relaxed is the daemon with a bound that an idle fleet may well have.
const relaxed = "daemon, --max-staleness 1m"

func idlers() []string { return []string{nobody, receiver, theDaemon, relaxed} }

func beginIdle(ctx context.Context, b *bed) (round, error) {
	// The server's own habits, a checkpoint and a look of autovacuum, would be in it.
	if err := b.start(ctx, map[string]string{"checkpoint_timeout": "1h", "autovacuum": "off"}); err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ int, p *played) error {
		for _, who := range idlers() {
			if err := b.idle(ctx, who, p); err != nil {
				return fmt.Errorf("%s: %w", who, err)
			}
		}
		return nil
	}, nil
}

func (b *bed) idle(ctx context.Context, who string, p *played) (err error) {
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
	seconds := after.at.Sub(before.at).Seconds()
	p.note("", who, "ms/s", float64((after.own-before.own).Microseconds())/1000/seconds)
	p.note("", who, "sessions ms/s", float64((after.sessions-before.sessions).Microseconds())/1000/seconds)
	p.note("", who, "WAL KiB/min", float64(after.wal-before.wal)/1024/seconds*60)
	p.note("", who, "connections", float64(after.connections))
	b.tell("idle, %s: %.2f ms/s, %.1f KiB of WAL a minute, %d connections", who, float64((after.own-before.own).Microseconds())/1000/seconds,
		float64(after.wal-before.wal)/1024/seconds*60, after.connections)
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

// state is what has been taken until a moment.
type state struct {
	at            time.Time
	own, sessions time.Duration
	wal           pglogrepl.LSN
	connections   int
}

func (d *base) look(ctx context.Context, pid int) (s state, err error) {
	if pid != 0 {
		s.own = processor(pid)
	}
	// In the order of the two looks the reading itself is inside once.
	if s.connections, s.sessions, err = backends(ctx, d.pool, `datname = current_database() and (application_name like 'awa-counterd%' or application_name = 'pg_recvlogical')`); err != nil {
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
	s.say("A minute beside a fleet that does nothing. Processor time is of the process, and of its sessions in the server, walsender included. The WAL of nobody is the\n" +
		"server's own: a record of running transactions now and then.")
	s.table("who", "processor, ms/s", "its sessions, ms/s", "WAL, KiB/min", "connections", "**processor, both ÷ pg_recvlogical's**", "**WAL ÷ beside pg_recvlogical**")
	both := func(who string) []float64 {
		own, sessions := t.values("", who, "ms/s"), t.values("", who, "sessions ms/s")
		for i := range own {
			own[i] += sessions[i]
		}
		return own
	}
	for _, who := range idlers() {
		v := func(what string) string { return t.spread("", who, what).in("") }
		s.row(who, v("ms/s"), v("sessions ms/s"), v("WAL KiB/min"), v("connections"), bold(over(ratios(both(who), both(receiver)))), bold(t.ratio("", who, receiver, "WAL KiB/min")))
	}
}
