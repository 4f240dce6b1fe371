package main

import (
	"context"
	"fmt"
	"os/exec"
	"sync"

	"github.com/awa-counterd/awa-counterd/e2e/process"
)

// daemon is the real binary, run as a supervisor runs it. Its log is kept for the board.
type daemon struct {
	binary, url string

	mu      sync.Mutex
	process *process.Daemon
	status  map[string]any // the last status line
	news    []string       // what it logged besides
}

func (d *daemon) start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var err error
	d.process, err = process.Start(d.binary, nil, []string{
		"run", "--database-url", d.url, "--status-interval", "200ms", "--checkpoint-interval", "1s", "--audit-interval", "10s", "--log-format", "json",
	}, d.hear)
	return err
}

func (d *daemon) hear(_ string, e process.Entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e["msg"] == "status" {
		d.status = e
		return
	}
	said := e.Text()
	if queue, ok := e["queue"]; ok {
		said += fmt.Sprintf(" (queue %v)", queue)
	}
	d.news = append(d.news, said)
}

// kill ends the daemon as the kernel would: it cannot clear the trust marker any more.
func (d *daemon) kill() {
	d.mu.Lock()
	process := d.process
	d.status = nil
	d.mu.Unlock()
	if process != nil {
		process.Kill()
	}
}

// afterStop does what a supervisor's hook does when the daemon has ended: it clears the marker (deploy/awa-counterd.service).
func (d *daemon) afterStop(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, d.binary, "distrust", "--after-stop", "--database-url", d.url).CombinedOutput()
	if err != nil {
		return fmt.Errorf("awa-counterd distrust --after-stop: %w: %s", err, out)
	}
	return nil
}

func (d *daemon) alive() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.process == nil {
		return false
	}
	select {
	case <-d.process.Done():
		return false
	default:
		return true
	}
}

// heard returns the last status and the last few things logged.
func (d *daemon) heard() (status map[string]any, news []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status, append([]string(nil), d.news[max(0, len(d.news)-4):]...)
}
