package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/awa-counterd/awa-counterd/e2e/process"
)

// profiler writes processor profiles of the daemons that are run, three seconds each, one after the other from when a daemon listens on.
// Figures of such a run are kept apart: profiling costs.
type profiler struct {
	dir  string
	part string
	n    atomic.Int64
}

const profiled = "--listen=127.0.0.1:0"

// What is measured while profiles are taken is kept in directories of its own, in that of the rest.
const (
	profiledResults = "profiled"
	olderResults    = "profiled-before"
)

// profiling is the lab in which profiles are taken of a binary, into a directory; what it measures is kept under a name of its own.
func (l *lab) profiling(binary, dir, results string) *lab {
	q := *l
	q.daemon, q.results, q.profile = binary, filepath.Join(l.results, results), &profiler{dir: dir}
	return &q
}

// begin leaves no profiles of an earlier run of a part.
func (p *profiler) begin(part string) error {
	p.part = part
	older, err := filepath.Glob(p.files())
	for _, f := range older {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}

// files is a pattern for the profiles of a part.
func (p *profiler) files() string { return filepath.Join(p.dir, p.part+"-*.pprof") }

// arguments are what the daemon needs to be profiled.
func (p *profiler) arguments(args []string) []string {
	if p == nil {
		return args
	}
	if slices.Contains(args, "--listen") {
		return append(slices.Clone(args), "--pprof")
	}
	return append(slices.Clone(args), profiled, "--pprof")
}

// take writes the profiles of one daemon of a part until it ends; that of its last three seconds is lost.
func (p *profiler) take(ctx context.Context, d *running, part string) {
	var url string
	_, err := d.until(ctx, func(e process.Entry) bool {
		url, _ = e["url"].(string)
		return e["msg"] == "listening"
	})
	for err == nil {
		var b []byte
		if b, err = profile(ctx, url); err == nil {
			if err = os.MkdirAll(p.dir, 0o755); err == nil {
				err = os.WriteFile(filepath.Join(p.dir, fmt.Sprintf("%s-%d.pprof", part, p.n.Add(1))), b, 0o644)
			}
		}
	}
}

// profile asks a daemon for one.
func profile(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"debug/pprof/profile?seconds=3", http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("a profile was answered with %s", res.Status)
	}
	return b, err
}

// profileAll runs a round of each part in which a daemon runs with profiles of it, and then of an older binary, if one is given. What
// the older one cannot do is said, and left out.
func (o orders) profileAll(ctx context.Context, l *lab, chosen []part) error {
	if o.profiles == "" {
		return nil
	}
	if o.rounds != 0 {
		o.rounds = 1
	}
	still := func(p part) bool { return p.still }
	chosen = slices.DeleteFunc(slices.Clone(chosen), still)
	if err := o.measureAll(ctx, l.profiling(l.daemon, o.profiles, profiledResults), chosen); err != nil {
		return fmt.Errorf("with profiles: %w", err)
	}
	if o.older == "" {
		return nil
	}
	older := l.profiling(o.older, filepath.Join(o.profiles, "before"), olderResults)
	var err error
	if older.commit, err = commitOf(ctx, o.older); err != nil {
		return err
	}
	for _, p := range chosen {
		if err := o.measureAll(ctx, older, []part{p}); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			l.tell("the binary of before, %s: %v", older.commit, err)
		}
	}
	return nil
}

// commitOf asks a binary which commit it is of.
func commitOf(ctx context.Context, binary string) (string, error) {
	out, err := exec.CommandContext(ctx, binary, "version").Output()
	if err != nil {
		return "", fmt.Errorf("%s version: %w", binary, err)
	}
	for line := range strings.Lines(string(out)) {
		if commit, ok := strings.CutPrefix(strings.TrimSpace(line), "commit "); ok && len(commit) >= 7 {
			return commit[:7], nil
		}
	}
	return "", fmt.Errorf("%s does not say of which commit it is: %s", binary, out)
}
