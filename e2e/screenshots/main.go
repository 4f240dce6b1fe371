// Command screenshots takes pictures of the daemon's page: a throwaway PostgreSQL, a mixed fleet, a leader and a standby with --listen,
// trust lost because somebody holds our counter rows, and won back. It needs Chromium, and leaves a PNG of each state in light and
// dark, and narrow. With -docs it leaves the three pictures of the handbook instead: before, during and after the loss, small.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/e2e/browser"
	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/process"
)

// look is what the pictures are taken with.
type look struct {
	binary, chromium, out string
	docs                  bool
	before                time.Duration
	browser               *browser.Browser
}

func main() {
	var l look
	flag.StringVar(&l.binary, "daemon", "bin/awa-counterd", "the binary to show")
	flag.StringVar(&l.chromium, "chromium", "", "the browser; one that is found if not given")
	flag.StringVar(&l.out, "out", "tmp/look", "where the pictures go")
	flag.BoolVar(&l.docs, "docs", false, "take the handbook's pictures only, and make them small")
	flag.DurationVar(&l.before, "before", time.Minute, "how long to write before the first picture, for the plots")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := l.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "look:", err)
		os.Exit(1)
	}
}

func (l *look) run(ctx context.Context) (err error) {
	if l.chromium == "" {
		if l.chromium, err = browser.Find(); err != nil {
			return err
		}
	}
	if l.browser, err = browser.Start(l.chromium); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.browser.Close()) }()
	bin, err := cluster.Obtain(ctx, os.Stderr)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.out, 0o750); err != nil {
		return fmt.Errorf("make the folder of the pictures: %w", err)
	}
	c, err := cluster.Start(ctx, cluster.Options{Bin: bin, Settings: map[string]string{"track_commit_timestamp": "on"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	conn, err := c.Connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	layout := fleet.Layout{Schema: "awa", Slots: 16, Shape: fleet.Ledger}
	if err := fleet.Install(ctx, conn, layout); err != nil {
		return err
	}
	f, err := fleet.Start(ctx, c.Socket("postgres"), fleet.Config{
		Schema: layout.Schema, Shape: layout.Shape, Slots: layout.Slots, Queues: []string{"billing", "email", "reports", "webhooks"}, Seed: 1,
		PreQueues: []string{"email", "reports"}, Pre: 2, Post: 2, Pause: 45 * time.Millisecond, Prune: time.Second, Fold: 700 * time.Millisecond, Retain: 5 * time.Second,
	})
	if err != nil {
		return err
	}
	defer f.Stop()
	return l.show(ctx, conn, c.URL(cluster.Superuser, "", "postgres"))
}

// show takes the pictures, state by state.
func (l *look) show(ctx context.Context, conn *pgx.Conn, url string) error {
	leader, err := l.start(url)
	if err != nil {
		return err
	}
	defer leader.Kill()
	if err := leader.wait(ctx, true); err != nil {
		return err
	}
	standby, err := l.start(url)
	if err != nil {
		return err
	}
	defer standby.Kill()
	if err := pause(ctx, l.before); err != nil {
		return err
	}
	if err := l.take(ctx, leader, "trusted"); err != nil {
		return err
	}
	if !l.docs {
		if err := l.take(ctx, standby, "standby"); err != nil {
			return err
		}
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("hold the counter rows: %w", err)
	}
	if _, err := tx.Exec(ctx, `select 1 from awa.queue_terminal_live_counts where counter_bucket = 300 for update`); err != nil {
		return fmt.Errorf("hold the counter rows: %w", err)
	}
	if err := leader.wait(ctx, false); err != nil {
		return err
	}
	if err := pause(ctx, 15*time.Second); err != nil {
		return err
	}
	if err := l.take(ctx, leader, "untrusted"); err != nil {
		return err
	}
	if err := tx.Rollback(ctx); err != nil {
		return fmt.Errorf("let go of the counter rows: %w", err)
	}
	if err := leader.wait(ctx, true); err != nil {
		return err
	}
	if err := pause(ctx, 15*time.Second); err != nil {
		return err
	}
	return l.take(ctx, leader, "again")
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// shown is a daemon with a page.
type shown struct {
	*process.Daemon
	base string
}

func (l *look) start(url string) (*shown, error) {
	found := make(chan string, 1)
	s, err := process.Start(l.binary, nil, []string{"run", "--database-url", url, "--listen", "0", "--audit-interval", "10s", "--log-format", "json"},
		func(_ string, e process.Entry) {
			if base, ok := e["url"].(string); ok && e["msg"] == "listening" {
				found <- base
			}
		})
	if err != nil {
		return nil, err
	}
	select {
	case base := <-found:
		return &shown{s, base}, nil
	case <-s.Done():
		return nil, errors.New("the daemon ended at once")
	}
}

// wait waits until a leader is ready, or is not.
func (s *shown) wait(ctx context.Context, ready bool) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		var answer struct {
			Ready bool   `json:"ready"`
			Role  string `json:"role"`
		}
		if err := s.readyz(ctx, &answer); err != nil {
			return err
		}
		if answer.Ready == ready && answer.Role == "leading" {
			return nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("wait for ready=%t: %w", ready, err)
		}
	}
}

func (s *shown) readyz(ctx context.Context, answer any) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"readyz", http.NoBody)
	if err != nil {
		return fmt.Errorf("ask whether it is ready: %w", err)
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		return fmt.Errorf("ask whether it is ready: %w", err)
	}
	defer func() { _ = a.Body.Close() }()
	if err := json.NewDecoder(a.Body).Decode(answer); err != nil {
		return fmt.Errorf("ask whether it is ready: %w", err)
	}
	return nil
}

// shots of a state, by the end of the file's name.
func (l *look) shots() map[string]browser.View {
	if l.docs {
		return map[string]browser.View{"": {Width: 1000, Height: 720}}
	}
	return map[string]browser.View{
		"-light": {Width: 1440, Height: 1180}, "-dark": {Width: 1440, Height: 1180, Dark: true}, "-narrow": {Width: 320, Height: 2600},
	}
}

// take takes a state in every way.
func (l *look) take(ctx context.Context, s *shown, state string) error {
	for how, view := range l.shots() {
		file := filepath.Join(l.out, state+how+".png")
		if err := l.shoot(ctx, s.base, view, file); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		fmt.Println(file)
	}
	return nil
}

func (l *look) shoot(ctx context.Context, url string, view browser.View, file string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	p, err := l.browser.Open(ctx, url, view)
	if err != nil {
		return err
	}
	picture, err := p.Picture(ctx)
	if err != nil {
		return err
	}
	if l.docs {
		if picture, err = small(picture); err != nil {
			return err
		}
	}
	if err := os.WriteFile(file, picture, 0o644); err != nil {
		return err
	}
	return p.Close(ctx)
}
