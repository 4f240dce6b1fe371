package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// event is a line of go test -json; `go doc test2json` describes it.
type event struct {
	Action  string `json:"Action"`
	Package string `json:"Package"`
	Test    string `json:"Test"`
	Output  string `json:"Output"`
}

// tests is what became of a suite: of the tests that are functions, and every skip, subtests included.
type tests struct {
	Passed   int               `json:"passed"`
	Failed   int               `json:"failed"`
	Skips    map[string]string `json:"skips"`    // the reason of each test that was skipped, by its name
	Failures []string          `json:"failures"` // tests that failed, subtests included; and packages that failed without one
}

func (t *tests) run() int { return t.Passed + t.Failed + t.skipped() }

func (t *tests) skipped() (n int) {
	for name := range t.Skips {
		if !strings.Contains(name, "/") {
			n++
		}
	}
	return n
}

// reason is what a line of t.Skip says: "    x_test.go:12: no psql".
var reason = regexp.MustCompile(`^\s+\w+\.go:\d+: (.*)`)

// read folds the events of go test, and writes what the tests said to log.
func (t *tests) read(events io.Reader, log io.Writer) error {
	t.Skips = make(map[string]string)
	said := make(map[string]string) // the last line of t.Log or t.Skip, by test
	culprit := make(map[string]bool)
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(log, lines.Text()) // of the compiler, for example
			continue
		}
		name := e.Package + " " + e.Test
		function := e.Test != "" && !strings.Contains(e.Test, "/")
		switch e.Action {
		case "output":
			if _, err := io.WriteString(log, e.Output); err != nil {
				return err
			}
			if m := reason.FindStringSubmatch(e.Output); m != nil {
				said[name] = m[1]
			}
		case "skip":
			if e.Test != "" { // else a package without tests
				t.Skips[e.Test] = said[name]
			}
		case "pass":
			if function {
				t.Passed++
			}
		case "fail":
			if function {
				t.Failed++
			}
			switch {
			case e.Test != "":
				culprit[e.Package] = true
				t.Failures = append(t.Failures, e.Test)
			case !culprit[e.Package]:
				t.Failures = append(t.Failures, e.Package)
			}
		}
		if e.Action != "output" {
			delete(said, name)
		}
	}
	return lines.Err()
}

// suite runs the tests on one major.
func (o *options) suite(ctx context.Context, r *result) error {
	log, err := os.Create(o.file(r.Major, ".log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	args := []string{"test", "-json", "-count=1", "-timeout", "40m", "-parallel", strconv.Itoa(o.parallel)}
	if o.run != "" {
		args = append(args, "-run", o.run)
	}
	cmd := gently(exec.CommandContext(ctx, "go", append(args, strings.Fields(o.packages)...)...))
	cmd.Env, cmd.Stderr = environ(r.Major), log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = r.Tests.read(out, log)
	ended := cmd.Wait()
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case ended != nil && len(r.Tests.Failures) == 0:
		return fmt.Errorf("go test: %w; see %s", ended, log.Name())
	}
	return nil
}

// chaotic does the short chaos run on one major.
func (o *options) chaotic(ctx context.Context, r *result) error {
	log, err := os.Create(o.file(r.Major, "-chaos.log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	args := []string{"run", "./e2e/chaos", "-daemon", o.daemon, "-seed", strconv.FormatUint(o.seed, 10)}
	if o.only != "" {
		args = append(args, "-only", o.only)
	}
	cmd := gently(exec.CommandContext(ctx, "go", args...))
	cmd.Env, cmd.Stdout, cmd.Stderr = environ(r.Major), log, log
	ended := cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if e := (*exec.ExitError)(nil); ended != nil && !errors.As(ended, &e) {
		return ended
	}
	said, err := os.ReadFile(log.Name())
	if err != nil {
		return err
	}
	r.Chaos = figures(string(said))
	switch {
	case ended != nil && r.Chaos.Failed == "":
		r.Chaos.Failed = "see " + log.Name()
	case ended == nil && r.Chaos.Kills == "":
		return fmt.Errorf("the chaos run reports nothing; see %s", log.Name())
	}
	return nil
}

// gently has an interrupt go to what the go command runs as well: a chaos run takes its server along then.
func gently(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = time.Minute
	return cmd
}

// chaos is what the report of a chaos run says, as it says it.
type chaos struct {
	Kills     string `json:"kills"`
	Trusted   string `json:"trusted"` // samples
	Dishonest string `json:"dishonest"`
	Wrong     string `json:"wrong"`
	Faults    int    `json:"faults"` // injected
	Failed    string `json:"failed"` // what it failed of
}

// figures reads the report of a chaos run, and what it says when it fails.
func figures(said string) *chaos {
	var c chaos
	faults := false
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if failed, ok := strings.CutPrefix(line, "chaos: FAILED: "); ok {
			c.Failed = failed
		}
		faults = faults || line == "| fault | times |"
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if len(cells) != 2 || !strings.HasPrefix(line, "|") {
			continue
		}
		label, value := cells[0], strings.ReplaceAll(cells[1], "*", "")
		switch {
		case faults:
			if n, err := strconv.Atoi(value); err == nil {
				c.Faults += n
			}
		case strings.HasPrefix(label, "daemons killed"):
			c.Kills = value
		case strings.HasPrefix(label, "samples in one snapshot"):
			_, c.Trusted, _ = strings.Cut(value, "; ")
		case strings.HasPrefix(label, "trusted samples with a drift"):
			c.Dishonest = value
		case strings.HasPrefix(label, "groups wrong then"):
			c.Wrong, _, _ = strings.Cut(value, ";")
		}
	}
	return &c
}
