package main

import (
	"sync"

	"github.com/awa-counterd/awa-counterd/e2e/sidecar"
)

// actor is the daemon on stage: the real binary, whose log is read for the board.
type actor struct {
	binary, url string

	mu      sync.Mutex
	process *sidecar.Sidecar
	status  map[string]any // the last status line
	news    []string       // what it said besides
}

func (a *actor) start() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var err error
	a.process, err = sidecar.Start(a.binary, nil, []string{
		"run", "--database-url", a.url, "--status-interval", "500ms", "--checkpoint-interval", "1s", "--audit-interval", "10s", "--log-format", "json",
	}, a.hear)
	return err
}

func (a *actor) hear(_ string, e sidecar.Entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e["msg"] == "status" {
		a.status = e
		return
	}
	a.news = append(a.news, e.Text())
}

// kill ends the daemon as the kernel would, without a word.
func (a *actor) kill() {
	a.mu.Lock()
	process := a.process
	a.status = nil
	a.mu.Unlock()
	if process != nil {
		process.Kill()
	}
}

// read returns the last status and the last few things said.
func (a *actor) read() (status map[string]any, news []string, alive bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.process != nil {
		select {
		case <-a.process.Done():
		default:
			alive = true
		}
	}
	return a.status, append([]string(nil), a.news[max(0, len(a.news)-4):]...), alive
}
