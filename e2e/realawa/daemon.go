package main

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/process"
)

// daemon is awa-counterd as a supervisor runs it: killed and started again.
type daemon struct {
	binary string
	args   []string // of run
	url    string

	mu      sync.Mutex
	process *process.Daemon
	windows []window // the last one is open while it has no end
	kills   int
	errs    map[string]int
	audits  int  // that disagreed with the books
	prunes  int  // the same
	waited  bool // it said that it waits for awa's migration
	vouched chan struct{}
	tail    []string // of its log
}

func startDaemon(binary, url string, p *plan) (*daemon, error) {
	if p.logsStatements() {
		var err error
		if url, err = logStatements(url); err != nil {
			return nil, err
		}
	}
	args := []string{"run", "--database-url", url, "--status-interval", "1s"}
	if p.Audit > 0 {
		args = append(args, "--audit-interval", p.Audit.String())
	}
	d := &daemon{binary: binary, url: url, args: args, errs: make(map[string]int), vouched: make(chan struct{}, 1)}
	return d, d.start()
}

func (d *daemon) start() error {
	s, err := process.Start(d.binary, nil, d.args, d.hear)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.process = s
	d.mu.Unlock()
	return nil
}

// What the daemon logs when its books were wrong, and when it takes a prune of awa's for wrong.
const pruneWrong = "a prune added a different number of jobs to awa's rollups"

func booksWrong() []string {
	return []string{"the books disagreed with a scan", "the books of this ring slot are wrong", "a scan found less than 0 rows"}
}

// hear ends a window when the daemon that came back sets the marker.
func (d *daemon) hear(line string, e process.Entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tail = append(d.tail, line)
	if len(d.tail) > 4000 {
		d.tail = d.tail[1000:]
	}
	text := e.Text()
	switch {
	case strings.HasPrefix(text, "trust: marker set"):
		if n := len(d.windows); n > 0 && d.windows[n-1].ended.IsZero() {
			d.windows[n-1].ended = time.Now()
		}
		select {
		case d.vouched <- struct{}{}:
		default:
		}
	case strings.Contains(text, "waiting for awa"):
		d.waited = true
	case slices.ContainsFunc(booksWrong(), func(s string) bool { return strings.Contains(text, s) }):
		d.audits++
	case strings.Contains(text, pruneWrong):
		d.prunes++
	}
	if level, _ := e["level"].(string); level == "error" {
		d.errs[normalise(text)]++
	}
}

// kill ends it with SIGKILL and starts it again, as a supervisor would.
func (d *daemon) kill() error {
	d.mu.Lock()
	if n := len(d.windows); n == 0 || !d.windows[n-1].ended.IsZero() {
		d.windows = append(d.windows, window{began: time.Now()})
	}
	d.kills++
	p := d.process
	d.mu.Unlock()
	p.Kill()
	return d.start()
}

// torment kills it n times, about every so often.
func (d *daemon) torment(ctx context.Context, n int, every time.Duration, seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 7))
	for range n {
		if err := pause(ctx, every/2+time.Duration(r.Int64N(int64(every)))); err != nil {
			return nil // the trial is over
		}
		if err := d.kill(); err != nil {
			return err
		}
	}
	return nil
}

// end waits for the process, which was asked to leave; it is killed when it does not.
func (d *daemon) end(within time.Duration) int {
	select {
	case <-d.process.Done():
		return d.process.ExitCode()
	case <-time.After(within):
		d.process.Kill()
		return -1
	}
}

// discard makes sure that no process is left.
func (d *daemon) discard() {
	d.process.Signal(syscall.SIGKILL)
	<-d.process.Done()
}

func (d *daemon) said() (kills, audits, prunes int, windows []window, errs map[string]int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.kills, d.audits, d.prunes, slices.Clone(d.windows), maps.Clone(d.errs)
}

// command runs one of the binary's other commands.
func (d *daemon) command(ctx context.Context, args ...string) (code int, out, errs string) {
	cmd := exec.CommandContext(ctx, d.binary, append([]string{args[0], "--database-url", d.url}, args[1:]...)...)
	var o, e strings.Builder
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		return -1, "", err.Error()
	}
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// pause waits, or until the trial is over.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
