package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"sync"
)

// actor is the daemon on stage: the real binary, whose log is read for the board.
type actor struct {
	binary, url string

	mu     sync.Mutex
	cmd    *exec.Cmd
	done   chan struct{}
	status map[string]any // the last status line
	news   []string       // what it said besides
	alive  bool
}

func (a *actor) start(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, a.binary, "run", "--database-url", a.url, "--status-interval", "500ms",
		"--checkpoint-interval", "1s", "--audit-interval", "10s", "--log-format", "json")
	out, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	done := make(chan struct{})
	a.mu.Lock()
	a.cmd, a.done, a.alive = cmd, done, true
	a.mu.Unlock()
	go func() {
		defer close(done)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			a.line(lines.Bytes())
		}
		_ = cmd.Wait()
		a.mu.Lock()
		defer a.mu.Unlock()
		a.alive = false
	}()
	return nil
}

func (a *actor) line(text []byte) {
	var e map[string]any
	if json.Unmarshal(text, &e) != nil {
		e = map[string]any{"msg": string(text)}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if e["msg"] == "status" {
		a.status = e
		return
	}
	said := fmt.Sprint(e["msg"])
	if reason, ok := e["reason"]; ok {
		said += ": " + fmt.Sprint(reason)
	}
	a.news = append(a.news, said)
}

// kill ends the daemon as the kernel would, without a word.
func (a *actor) kill() {
	a.mu.Lock()
	cmd, done := a.cmd, a.done
	a.status = nil
	a.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Kill()
		<-done
	}
}

// read returns the last status and the last few things said.
func (a *actor) read() (status map[string]any, news []string, alive bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status, append([]string(nil), a.news[max(0, len(a.news)-4):]...), a.alive
}
