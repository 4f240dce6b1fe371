package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/process"
)

// daemon is one place at which a process of the daemon's runs, one after the other, with one log file, which is rotated as logrotate's
// copytruncate does: copied and cut short under the process, which goes on.
type daemon struct {
	binary  string
	number  int
	address string // of its listener
	file    string
	cmd     *exec.Cmd
	done    chan struct{} // closed when the process has ended
	log     account
}

func newDaemon(binary, file string, number int) (*daemon, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	return &daemon{binary: binary, number: number, address: l.Addr().String(), file: file, log: account{said: make(map[saying]int)}}, nil
}

func (d *daemon) start(args ...string) error {
	f, err := os.OpenFile(d.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	d.cmd = exec.Command(d.binary, args...)
	d.cmd.Stderr = f
	err = d.cmd.Start()
	_ = f.Close() // the process has its own
	if err != nil {
		return err
	}
	d.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(d.cmd, d.done)
	return nil
}

// alive is false when the process has ended without being asked to.
func (d *daemon) alive() bool {
	select {
	case <-d.done:
		return false
	default:
		return d.cmd != nil
	}
}

// stop ends it as a supervisor does.
func (d *daemon) stop() error {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(15 * time.Second):
		return fmt.Errorf("daemon %d did not end within 15 s", d.number)
	}
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("daemon %d ended with exit code %d", d.number, code)
	}
	return nil
}

func (d *daemon) kill() error {
	if d.cmd == nil {
		return nil
	}
	_ = d.cmd.Process.Kill()
	<-d.done
	return nil
}

var digits = regexp.MustCompile(`\d+`)

// account is what a daemon has logged.
type account struct {
	read   int64 // bytes of the file of today that are accounted for
	bytes  int64
	lines  int
	status struct{ lines, bytes int64 }
	said   map[saying]int
	errs   []error
}

// saying is a message with what makes it another thing, the queue that it is about or the reason; and while what it was said.
type saying struct{ phase, message string }

// hear accounts for what was logged since the last time, as said while phase.
func (d *daemon) hear(phase string) {
	text, err := os.ReadFile(d.file)
	if err != nil || int64(len(text)) <= d.log.read {
		return
	}
	fresh := text[d.log.read:]
	end := bytes.LastIndexByte(fresh, '\n') + 1 // a line that is being written comes next time
	d.log.read += int64(end)
	d.log.take(phase, fresh[:end])
}

func (a *account) take(phase string, text []byte) {
	for line := range bytes.Lines(text) {
		var e process.Entry
		if json.Unmarshal(line, &e) != nil {
			e = process.Entry{"msg": strings.TrimSpace(string(line))}
		}
		a.bytes += int64(len(line))
		a.lines++
		if bytes.Contains(line, []byte(planted)) {
			a.errs = append(a.errs, errors.New("a password is in the log"))
		}
		if e["msg"] == "status" {
			a.status.lines++
			a.status.bytes += int64(len(line))
			continue
		}
		words := []string{fmt.Sprint(e["msg"])}
		for _, key := range []string{"queue", "kind", "publication", "reason"} {
			if v, ok := e[key]; ok { // a time or a port makes no other thing of it
				words = append(words, key+"="+digits.ReplaceAllString(fmt.Sprint(v), "#"))
			}
		}
		a.said[saying{phase, strings.Join(words, " ")}]++
	}
}

// rotate copies the log, accounts for it, and cuts it short.
func (d *daemon) rotate(phase string) error {
	d.hear(phase)
	text, err := os.ReadFile(d.file)
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.file+".1", text, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(d.file, 0); err != nil {
		return err
	}
	d.log.take(phase, text[min(d.log.read, int64(len(text))):])
	d.log.read = 0
	return nil
}

// tail is what the log ends with.
func (d *daemon) tail(w io.Writer) {
	text, _ := os.ReadFile(d.file)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for _, l := range lines[max(0, len(lines)-15):] {
		_, _ = fmt.Fprintf(w, "daemon %d: %s\n", d.number, l)
	}
}
