package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/process"
)

// used is what a process took.
type used struct {
	wall   time.Duration // what was waited for, from the start of the process
	read   time.Duration // until the daemon had taken in a backlog, if that is measured
	cpu    time.Duration // of its whole life
	sender time.Duration // processor time of the walsender that served it, as far as it was seen; 0 if not
	peak   int64         // kB
}

// running is a daemon under measurement.
type running struct {
	*process.Daemon
	began time.Time

	mu    sync.Mutex
	said  []process.Entry
	heard []time.Time
	more  chan struct{} // closed at the next word
}

const (
	trusted  = "trust: marker set"
	patience = 20 * time.Minute // for anything that is waited for
)

// run starts the daemon on a database.
func (l *lab) run(url string, environ []string, args ...string) (*running, error) {
	d := &running{began: time.Now(), more: make(chan struct{})}
	var err error
	d.Daemon, err = process.Start(l.daemon, environ, append([]string{"run", "--database-url", url, "--log-format", "json"}, l.profile.arguments(args)...), d.hear)
	if err == nil && l.profile != nil {
		go l.profile.take(context.Background(), d, l.profile.part)
	}
	return d, err
}

func (d *running) hear(_ string, e process.Entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.said, d.heard = append(d.said, e), append(d.heard, time.Now())
	close(d.more)
	d.more = make(chan struct{})
}

// until waits for a line of the log, from the beginning on, and returns how long after the start of the process
// it was heard.
func (d *running) until(ctx context.Context, done func(process.Entry) bool) (time.Duration, error) {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for looked := 0; ; {
		d.mu.Lock()
		for ; looked < len(d.said); looked++ {
			if done(d.said[looked]) {
				defer d.mu.Unlock()
				return d.heard[looked].Sub(d.began), nil
			}
		}
		more := d.more
		d.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-timeout.C:
			return 0, fmt.Errorf("the daemon has not said what was waited for in %s; its last word: %s", patience, d.last())
		case <-d.Done():
			return 0, fmt.Errorf("the daemon ended early, with exit code %d; its last word: %s", d.ExitCode(), d.last())
		}
	}
}

// trusted waits until the marker is set.
func (d *running) trusted(ctx context.Context) (time.Duration, error) {
	return d.until(ctx, func(e process.Entry) bool { return e["msg"] == trusted })
}

func (d *running) last() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.said) == 0 {
		return "none"
	}
	return d.said[len(d.said)-1].Text()
}

// times counts the lines of the log that begin so.
func (d *running) times(prefix string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.said {
		if strings.HasPrefix(e.Text(), prefix) {
			n++
		}
	}
	return n
}

// stop ends it gracefully.
func (d *running) stop() (used, error) {
	d.Signal(syscall.SIGTERM)
	select {
	case <-d.Done():
	case <-time.After(time.Minute):
		d.Kill()
		return used{}, errors.New("the daemon did not end when asked to")
	}
	if d.ExitCode() != 0 {
		return used{}, fmt.Errorf("the daemon ended with exit code %d; its last word: %s", d.ExitCode(), d.last())
	}
	peak, cpu := d.Usage()
	return used{peak: peak, cpu: cpu}, nil
}

// visit starts the daemon, waits until the marker is set, and has it leave in peace: publications, slot and checkpoint stay.
func (d *base) visit(ctx context.Context) error {
	r, err := d.run(d.url(), nil)
	if err != nil {
		return err
	}
	defer r.Kill()
	if _, err := r.trusted(ctx); err != nil {
		return err
	}
	_, err = r.stop()
	return err
}

// slot is the daemon's replication slot in this database.
func (d *base) slot(ctx context.Context) (string, error) {
	return one[string](ctx, d.pool, `select slot_name::text from pg_replication_slots where database = current_database() and plugin = 'pgoutput' and not slot_name like 'bench%'`)
}

// publications are the daemon's, as a list.
func (d *base) publications(ctx context.Context) (string, error) {
	return one[string](ctx, d.pool, `select string_agg(pubname, ',' order by pubname) from pg_publication`)
}
