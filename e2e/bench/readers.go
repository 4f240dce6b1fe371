package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/e2e/process"
)

// The names of who is measured, as the reports have them.
const (
	theDaemon   = "daemon"
	receiver    = "pg_recvlogical"
	theLoop     = "plain Go loop"
	nobody      = "nobody"
	inBand      = "in-band upsert (306)"
	perStmt     = "statement trigger"
	perRow      = "row trigger"
	thePoller   = "one-shot every second"
	plainCount  = "grouped count"
	awasRebuild = "awa's rebuild"
)

// receive has pg_recvlogical read a slot to nowhere up to a position; "" is for ever.
func (d *base) receive(ctx context.Context, slot, end string) (*exec.Cmd, error) {
	publications, err := d.publications(ctx)
	if err != nil {
		return nil, err
	}
	args := []string{
		"-d", d.url(), "--slot", slot, "--start", "-f", "/dev/null", "-F", "0", "-n",
		"-o", "proto_version=2", "-o", "streaming=on", "-o", "messages=true", "-o", "publication_names=" + publications,
	}
	if end == "" {
		args = append(args, "-s", "1")
	} else {
		args = append(args, "--endpos", end)
	}
	return d.cluster.Command(ctx, "pg_recvlogical", args...), nil
}

// loop has the plain Go loop do the same.
func (d *base) loop(ctx context.Context, slot, end string) (*exec.Cmd, error) {
	publications, err := d.publications(ctx)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, self, plainLoop, "-url", d.url(), "-slot", slot, "-publications", publications, "-end", end), nil
}

// drained runs a reader to its end.
func drained(cmd *exec.Cmd, err error) (used, error) {
	if err != nil {
		return used{}, err
	}
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return used{}, fmt.Errorf("%s: %w: %s", cmd.Args[0], err, out)
	}
	return ended(cmd, time.Since(began)), nil
}

// ended is what a process took that has ended.
func ended(cmd *exec.Cmd, wall time.Duration) used {
	u := used{wall: wall}
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.cpu, u.peak = time.Duration(r.Utime.Nano()+r.Stime.Nano()), r.Maxrss
	}
	return u
}

// settled runs the daemon until it has taken in everything before a position, and ends it, which corrects and persists what is left:
// all of that is in its time, as the end of the process is in the others'.
func (d *base) settled(ctx context.Context, end string) (used, error) {
	target, err := pglogrepl.ParseLSN(end)
	if err != nil {
		return used{}, err
	}
	r, err := d.run(d.url(), nil, "--status-interval", "100ms")
	if err != nil {
		return used{}, err
	}
	defer r.Kill()
	read, err := r.until(ctx, func(e process.Entry) bool {
		text, _ := e["position"].(string)
		at, err := pglogrepl.ParseLSN(text)
		return e["msg"] == "status" && err == nil && at >= target
	})
	if err != nil {
		return used{}, err
	}
	if r.times("scanning afresh") > 0 {
		return used{}, errors.New("the daemon scanned afresh, and decoded no backlog")
	}
	u, err := r.stop()
	u.wall, u.read = time.Since(r.began), read
	return u, err
}

// besides is a peer that reads until it is ended.
type besides struct {
	cmd  *exec.Cmd
	said bytes.Buffer
	done chan error
}

func aside(cmd *exec.Cmd, err error) (*besides, error) {
	if err != nil {
		return nil, err
	}
	s := &besides{cmd: cmd, done: make(chan error, 1)}
	cmd.Stdout, cmd.Stderr = &s.said, &s.said
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { s.done <- cmd.Wait() }()
	return s, nil
}

// end ends it in good order, and fails if it had ended before.
func (s *besides) end() (used, error) {
	select {
	case err := <-s.done:
		return used{}, fmt.Errorf("%s ended early: %w: %s", s.cmd.Args[0], errors.Join(err), s.said.String())
	default:
	}
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		return used{}, err
	}
	<-s.done // its exit code is that of an interrupt
	return ended(s.cmd, 0), nil
}

// lag follows how far the server is with sending a slot's stream.
type lag struct {
	mu     sync.Mutex
	points []point
	worst  time.Duration
	wg     sync.WaitGroup
	cancel context.CancelFunc
	err    error
}

type point struct {
	at  time.Time
	lsn pglogrepl.LSN
}

// behind looks ten times a second at what the walsender of a slot has sent. Its lag is how long ago the WAL
// ended where it is now; the worst of a stretch counts.
func (d *base) behind(ctx context.Context, slot string) *lag {
	ctx, cancel := context.WithCancel(ctx)
	l := &lag{cancel: cancel}
	l.wg.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				sent, end, err := d.sent(ctx, slot)
				if ctx.Err() != nil {
					return
				}
				l.take(now, sent, end, err)
			}
		}
	})
	return l
}

// sent is up to where a slot's stream is sent, and where the WAL ends. While nobody reads, it is where the slot begins.
func (d *base) sent(ctx context.Context, slot string) (sent, end pglogrepl.LSN, err error) {
	var a, b string
	err = d.pool.QueryRow(ctx, `select coalesce(r.sent_lsn, s.confirmed_flush_lsn)::text, pg_current_wal_flush_lsn()::text
		from pg_replication_slots s left join pg_stat_replication r on r.pid = s.active_pid where s.slot_name = $1`, slot).Scan(&a, &b)
	if err != nil {
		return 0, 0, fmt.Errorf("look how far slot %s is: %w", slot, err)
	}
	if sent, err = pglogrepl.ParseLSN(a); err != nil {
		return 0, 0, err
	}
	end, err = pglogrepl.ParseLSN(b)
	return sent, end, err
}

func (l *lag) take(now time.Time, sent, end pglogrepl.LSN, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.err = err
		return
	}
	l.points = append(l.points, point{now, end})
	for len(l.points) > 0 && l.points[0].lsn <= sent {
		l.points = l.points[1:]
	}
	if len(l.points) > 0 {
		l.worst = max(l.worst, now.Sub(l.points[0].at))
	}
}

// end returns the worst lag.
func (l *lag) end() (time.Duration, error) {
	l.cancel()
	l.wg.Wait()
	return l.worst, l.err
}

// caught waits until a slot's stream is sent up to where the WAL ended when this was called.
func (d *base) caught(ctx context.Context, slot string) error {
	_, target, err := d.sent(ctx, slot)
	if err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		sent, _, err := d.sent(ctx, slot)
		if err != nil || sent >= target {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// marker looks every 20 ms whether the marker is set, and returns how to end that and learn how long it was not. A look that fails tells
// nothing, and is an error.
func (d *base) marker(ctx context.Context) func() (lost time.Duration, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var lost time.Duration
	var failed error
	wg.Go(func() {
		const every = 20 * time.Millisecond
		tick := time.NewTicker(every)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			set, err := one[bool](ctx, d.pool, `select terminal_counter_trusted_at is not null from awa.queue_ring_state where singleton`)
			now := time.Now()
			switch {
			case ctx.Err() != nil: // the measuring is over
				return
			case err != nil:
				failed = fmt.Errorf("look at the marker: %w", err)
				return
			case !set:
				lost += now.Sub(last)
			}
			last = now
		}
	})
	return func() (time.Duration, error) {
		cancel()
		wg.Wait()
		return lost, failed
	}
}
