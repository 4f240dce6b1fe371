package process

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Entry is a line of the log.
type Entry map[string]any

// Text is the message with its reason.
func (e Entry) Text() string {
	if reason, ok := e["reason"]; ok {
		return fmt.Sprint(e["msg"], ": ", reason)
	}
	return fmt.Sprint(e["msg"])
}

// At is when it was logged; zero when the line does not say.
func (e Entry) At() time.Time {
	text, _ := e["ts"].(string)
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return at
}

// Daemon is one process of the binary.
type Daemon struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// Start runs the binary with arguments and additions to its environment. Each line of its log goes to
// hear, as it is and as it was understood, in order, from one goroutine.
func Start(binary string, environ, args []string, hear func(line string, e Entry)) (*Daemon, error) {
	d := &Daemon{cmd: exec.Command(binary, args...), done: make(chan struct{})}
	d.cmd.Env = append(os.Environ(), environ...)
	out, err := d.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	go func() {
		defer close(d.done)
		read(out, hear)
		_ = d.cmd.Wait()
	}()
	return d, nil
}

func read(out io.Reader, hear func(string, Entry)) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e Entry
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			e = Entry{"msg": lines.Text()}
		}
		hear(lines.Text(), e)
	}
}

// PID of the process.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Done is closed when the process has ended.
func (d *Daemon) Done() <-chan struct{} { return d.done }

// ExitCode is valid once Done is closed.
func (d *Daemon) ExitCode() int { return d.cmd.ProcessState.ExitCode() }

// Usage is its peak of memory, in kB, and the processor time that it took; valid once Done is closed.
func (d *Daemon) Usage() (peak int64, cpu time.Duration) {
	if usage, ok := d.cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		return usage.Maxrss, time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	return 0, 0
}

// Signal sends a signal; a process that has ended takes none.
func (d *Daemon) Signal(sig os.Signal) { _ = d.cmd.Process.Signal(sig) }

// Kill ends the process at once, as the kernel would, and waits for that.
func (d *Daemon) Kill() {
	d.Signal(syscall.SIGKILL)
	<-d.done
}

// Ledger keeps what a process has said, for one reader at a time.
type Ledger struct {
	mu   sync.Mutex
	said []Entry
}

// Hear takes in a line.
func (l *Ledger) Hear(_ string, e Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, e)
}

// Said returns everything heard since mark, and the mark after it.
func (l *Ledger) Said(mark int) (entries []Entry, next int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Entry(nil), l.said[mark:]...), len(l.said)
}
