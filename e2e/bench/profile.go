package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/awa-counterd/awa-counterd/e2e/process"
)

// profiler writes processor profiles of the daemons that are run, three seconds of each, from when it listens on. Figures
// of such a run are kept apart: profiling costs.
type profiler struct {
	dir  string // "" for none
	part string
	n    atomic.Int64
}

const profiled = "--listen=127.0.0.1:0"

// profiledResults is the directory of what is measured while profiles are taken, in that of the rest.
const profiledResults = "profiled"

// arguments are what the daemon needs to be profiled.
func (p *profiler) arguments(args []string) []string {
	if p.dir == "" || slices.Contains(args, "--listen") {
		return args
	}
	return append(slices.Clone(args), profiled, "--pprof")
}

// take writes the profile of one daemon. One that does not live for so long has none.
func (p *profiler) take(ctx context.Context, d *running) {
	var url string
	_, err := d.until(ctx, func(e process.Entry) bool {
		url, _ = e["url"].(string)
		return e["msg"] == "listening"
	})
	if err != nil {
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"debug/pprof/profile?seconds=3", http.NoBody)
	if err != nil {
		return
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return
	}
	_ = os.WriteFile(filepath.Join(p.dir, fmt.Sprintf("%s-%d.pprof", p.part, p.n.Add(1))), b, 0o644)
}
