package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

//go:embed worker.py
var workerSource string

// conf is what a worker is told (worker.py).
type conf struct {
	URL        string   `json:"url"`
	Seed       uint64   `json:"seed"`
	Stands     bool     `json:"stands"` // jobs are tried again, and operators act: an old leader stops pruning
	Migrate    bool     `json:"migrate"`
	Queues     []string `json:"queues"`  // that it works on
	Produce    []string `json:"produce"` // that it writes jobs for
	Rate       float64  `json:"rate"`    // jobs a second
	Batch      int      `json:"batch"`
	Tagged     float64  `json:"tagged"` // share of jobs that leave a row even where a plain success leaves none
	Cancel     int      `json:"cancel"`
	OperateMS  int      `json:"operate_ms"`
	WorkMS     int      `json:"work_ms"`
	Pool       int      `json:"pool"`
	MaxWorkers int      `json:"max_workers"`
	RotateMS   int      `json:"rotate_ms"`
	ElectionMS int      `json:"election_ms"`
	RollupMS   int      `json:"rollup_ms"`
	Bulk       bool     `json:"bulk"` // jobs are written in bulk
	PollMS     int      `json:"poll_ms"`
	CalmS      float64  `json:"calm_s"` // seconds from one job to the next, on the mean, once it is told to be calm
	Pace       float64  `json:"pace"`   // how many times longer all intervals of the worker's are than in the table
}

// tally is what a worker says of itself.
type tally struct {
	Made   map[string]int `json:"made"`
	Errors map[string]int `json:"errors"`
}

func (t *tally) add(o tally) {
	if t.Made == nil {
		t.Made, t.Errors = make(map[string]int), make(map[string]int)
	}
	sum(t.Made, o.Made)
	sum(t.Errors, o.Errors)
}

func sum(into, from map[string]int) {
	for k, n := range from {
		into[k] += n
	}
}

// worker is a running process of one release.
type worker struct {
	name string
	conf conf
	cmd  *exec.Cmd
	in   io.WriteCloser
	errs bytes.Buffer
	done chan struct{}

	mu   sync.Mutex
	said tally
}

// startWorker starts a process and waits until it works.
func startWorker(ctx context.Context, python, name string, c conf) (*worker, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, err
	}
	q := u.Query()
	q.Set("application_name", name)
	u.RawQuery = q.Encode()
	c.URL = u.String()
	arg, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	w := &worker{name: name, conf: c, cmd: exec.Command(python, "-c", workerSource, string(arg)), done: make(chan struct{})}
	w.cmd.Stderr = &w.errs
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start worker %s: %w", name, err)
	}
	ready := make(chan struct{})
	go w.read(out, ready)
	select {
	case <-ready:
		return w, nil
	case <-w.done:
		return nil, fmt.Errorf("worker %s ended before it worked: %s", name, lastLine(w.errs.String()))
	case <-time.After(30 * time.Second):
		w.kill()
		return nil, fmt.Errorf("worker %s did not begin to work: %s", name, lastLine(w.errs.String()))
	case <-ctx.Done():
		w.kill()
		return nil, ctx.Err()
	}
}

func (w *worker) read(out io.Reader, ready chan<- struct{}) {
	defer close(w.done)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var said struct {
			Ready bool `json:"ready"`
			tally
		}
		if json.Unmarshal(lines.Bytes(), &said) != nil {
			continue
		}
		if said.Ready {
			close(ready)
			continue
		}
		w.mu.Lock()
		w.said = said.tally
		w.mu.Unlock()
	}
	_ = w.cmd.Wait()
}

// tally is the worker's own, as of its last word.
func (w *worker) tally() tally {
	w.mu.Lock()
	defer w.mu.Unlock()
	return tally{maps.Clone(w.said.Made), maps.Clone(w.said.Errors)}
}

func (w *worker) tell(command string) { _, _ = io.WriteString(w.in, command+"\n") }

// stop lets the worker finish what it has; one that does not is killed.
func (w *worker) stop() error {
	w.tell("stop")
	select {
	case <-w.done:
		return nil
	case <-time.After(12 * time.Second):
		w.kill()
		return errors.New("worker " + w.name + " did not stop and was killed")
	}
}

// kill ends it as the kernel would.
func (w *worker) kill() {
	_ = w.cmd.Process.Signal(syscall.SIGKILL)
	<-w.done
}
