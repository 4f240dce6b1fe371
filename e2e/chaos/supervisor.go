package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/process"
	"github.com/awa-counterd/awa-counterd/e2e/proxy"
)

// supervisor is one daemon with its supervisor: whatever ends it, it is started again.
type supervisor struct {
	env    *env
	name   string
	proxy  *proxy.Proxy
	ledger process.Ledger
	wg     sync.WaitGroup

	mu      sync.Mutex
	process *process.Daemon
	dieAt   string // failpoint of the next process
	leaving bool
	again   chan struct{} // closed when a supervisor may start the next process
}

// addDaemon adds a daemon with its supervisor.
func (a *env) addDaemon() error {
	p, err := proxy.New(a.server())
	if err != nil {
		return err
	}
	m := &supervisor{env: a, name: strconv.Itoa(len(a.supervisors) + 1), proxy: p, again: make(chan struct{})}
	close(m.again)
	a.supervisors = append(a.supervisors, m)
	if err := m.start(); err != nil {
		return err
	}
	m.wg.Go(m.supervise)
	return nil
}

func (m *supervisor) start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	url := fmt.Sprintf("postgres://%s@%s/postgres?sslmode=disable", role, m.proxy.Addr())
	env := []string{"AWACD_DIE_AT=" + m.dieAt}
	m.dieAt = ""
	var err error
	m.process, err = process.Start(m.env.o.binary, env, []string{
		"run", "--database-url", url, "--max-staleness", m.staleness().String(), "--checkpoint-interval", "300ms",
		"--audit-interval", "3s", "--status-interval", "1s", "--log-format", "json",
	}, m.ledger.Hear)
	return err
}

// staleness is another for each second daemon: a standby goes by the leader's, not by its own.
func (m *supervisor) staleness() time.Duration {
	if n, _ := strconv.Atoi(m.name); n%2 == 0 {
		return otherStaleness
	}
	return maxStaleness
}

func (m *supervisor) current() *process.Daemon {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.process
}

// supervise restarts the process like a service manager would, after 300 ms.
func (m *supervisor) supervise() {
	for {
		<-m.current().Done()
		<-time.After(300 * time.Millisecond)
		m.mu.Lock()
		again, leaving := m.again, m.leaving
		m.mu.Unlock()
		<-again
		if leaving {
			return
		}
		m.env.tally.restarts.Add(1)
		if err := m.start(); err != nil {
			return
		}
	}
}

// hold keeps the supervisor from starting the next process until release.
func (m *supervisor) hold() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.again = make(chan struct{})
}

func (m *supervisor) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.again:
	default:
		close(m.again)
	}
}

// dieAtNextStart has the next process die at a failpoint.
func (m *supervisor) dieAtNextStart(point string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dieAt = point
}

// stopForGood ends the daemon for good, gracefully if it can.
func (m *supervisor) stopForGood() {
	m.mu.Lock()
	m.leaving = true
	m.mu.Unlock()
	m.release()
	p := m.current()
	p.Signal(syscall.SIGCONT)
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.Done():
	case <-time.After(12 * time.Second):
		p.Kill()
	}
	m.wg.Wait()
	m.proxy.Close()
}

// leader is the one that leads by its own word; nil when nobody does.
func (a *env) leader() *supervisor {
	var pid int
	err := a.pool.QueryRow(a.observer.ctx, `select pid from awa_counterd.leader where awa_schema = $1`, schema).Scan(&pid)
	if err != nil {
		return nil
	}
	for _, m := range a.supervisors {
		if m.current().PID() == pid {
			return m
		}
	}
	return nil
}

var errNoLeader = errors.New("nobody leads")

// anyDaemon is the leader, or any other while there is none.
func (a *env) anyDaemon() *supervisor {
	if m := a.leader(); m != nil {
		return m
	}
	return a.supervisors[0]
}

// resident is the memory of a process, in bytes.
func resident(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}
