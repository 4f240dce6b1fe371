package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// Options of a Prometheus.
type Options struct {
	Binary string
	Rules  []string            // files; copies of them are used
	Edit   func(string) string // changes each copy; nil for nothing
	Jobs   map[string][]string // targets, host:port, by job
	Every  time.Duration       // between two scrapes, and between two evaluations of the rules
}

// Prometheus is a running server.
type Prometheus struct {
	dir    string
	cmd    *exec.Cmd
	base   string
	client *http.Client
}

var waits = regexp.MustCompile(`(?m)^(\s+for: )\S+$`)

// Shortened has alerts fire when what they are about has lasted for d, and not for the minutes that are shipped.
func Shortened(rules string, d time.Duration) string {
	return waits.ReplaceAllString(rules, "${1}"+fmt.Sprintf("%dms", d.Milliseconds()))
}

// Start starts a Prometheus and returns when it answers.
func Start(ctx context.Context, o Options) (*Prometheus, error) {
	dir, err := os.MkdirTemp("", "awacd-prometheus")
	if err != nil {
		return nil, fmt.Errorf("start Prometheus: %w", err)
	}
	p := &Prometheus{dir: dir, client: &http.Client{Timeout: 10 * time.Second}}
	if err := p.start(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("start Prometheus: %w\n%s", err, p.Log()), p.Close())
	}
	return p, nil
}

func (p *Prometheus) start(ctx context.Context, o Options) error {
	if err := p.configure(o); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(p.dir, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	p.cmd = exec.Command(o.Binary, "--config.file="+filepath.Join(p.dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(p.dir, "data"),
		"--web.listen-address="+address, "--log.level=warn")
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		p.cmd = nil
		return err
	}
	p.base = "http://" + address
	return p.ready(ctx)
}

func (p *Prometheus) configure(o Options) error {
	var b strings.Builder
	fmt.Fprintf(&b, "global: {scrape_interval: %[1]dms, scrape_timeout: %[1]dms, evaluation_interval: %[1]dms}\nrule_files: ['*.rules.yml']\nscrape_configs:\n", o.Every.Milliseconds())
	for job, targets := range o.Jobs {
		fmt.Fprintf(&b, "  - {job_name: %q, static_configs: [{targets: ['%s']}]}\n", job, strings.Join(targets, "', '"))
	}
	if err := os.WriteFile(filepath.Join(p.dir, "prometheus.yml"), []byte(b.String()), 0o600); err != nil {
		return err
	}
	for _, path := range o.Rules {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rules := string(text)
		if o.Edit != nil {
			rules = o.Edit(rules)
		}
		if err := os.WriteFile(filepath.Join(p.dir, filepath.Base(path)), []byte(rules), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (p *Prometheus) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		a, err := p.ask(ctx, "/-/ready")
		if err == nil {
			_ = a.Body.Close()
			if a.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Close ends the server, and removes every trace.
func (p *Prometheus) Close() error {
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(syscall.SIGKILL)
		_ = p.cmd.Wait()
	}
	p.client.CloseIdleConnections()
	return os.RemoveAll(p.dir)
}

// Log is what the server has logged.
func (p *Prometheus) Log() string {
	b, _ := os.ReadFile(filepath.Join(p.dir, "log"))
	return string(b)
}

func (p *Prometheus) ask(ctx context.Context, path string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+path, nil)
	if err != nil {
		return nil, err
	}
	return p.client.Do(r)
}

// Series is one of an answer.
type Series struct {
	Labels map[string]string `json:"metric"`
	Value  [2]any            `json:"value"` // Unix time, and the value as text
}

// Query asks for the value of an expression now.
func (p *Prometheus) Query(ctx context.Context, expr string) ([]Series, error) {
	a, err := p.ask(ctx, "/api/v1/query?query="+url.QueryEscape(expr))
	if err != nil {
		return nil, fmt.Errorf("query Prometheus: %w", err)
	}
	defer func() { _ = a.Body.Close() }()
	var answer struct {
		Status string `json:"status"`
		Error  string `json:"error"`
		Data   struct {
			Type   string          `json:"resultType"`
			Result json.RawMessage `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(a.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("query Prometheus: %w", err)
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("query Prometheus: %s: %s", answer.Error, expr)
	}
	if answer.Data.Type == "scalar" {
		var one Series
		err := json.Unmarshal(answer.Data.Result, &one.Value)
		return []Series{one}, err
	}
	var all []Series
	err = json.Unmarshal(answer.Data.Result, &all)
	return all, err
}
