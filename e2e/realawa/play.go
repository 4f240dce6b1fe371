package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/report"
	"github.com/awa-counterd/awa-counterd/e2e/wheels"
)

const (
	database = "postgres"
	bound    = 2 * time.Second // --max-staleness
	quiet    = 3 * time.Second // --quiet-period of finish
	lookEach = 200 * time.Millisecond
)

// play is one upgrade, from an old fleet to a new one.
type play struct {
	plan   *plan
	binary string // of the sidecar; a control has none
	o      *options

	cluster *cluster.Cluster
	conn    *pgx.Conn // of the play itself
	fleet   *fleet
	daemon  *daemon
	stream  *stream
	watch   watch
	waits   stakeout
	rings   []bool // looks at the leader side by side: an old one
	res     result
}

// perform plays a plan once, in a cluster of its own.
func perform(ctx context.Context, p *plan, v wheels.Dir, binary string, o *options) (res *result, err error) {
	bin, err := cluster.Obtain(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}
	y, err := newPlay(ctx, bin, p, v, binary, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, y.close()) }()
	err = y.run(ctx)
	if why, ok := errors.AsType[impossible](err); ok {
		y.res.Impossible, err = string(why), nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.name(), err)
	}
	y.res.Took = time.Since(y.res.At)
	y.res.weigh(p)
	return &y.res, nil
}

func newPlay(ctx context.Context, bin string, p *plan, v wheels.Dir, binary string, o *options) (*play, error) {
	// Compiling the plans of awa's migration takes six times as long as running it on tables this small.
	c, err := cluster.Start(ctx, cluster.Options{Bin: bin, Settings: map[string]string{
		"log_line_prefix": linePrefix, "log_timezone": "UTC", "max_connections": "200", "jit": "off",
	}})
	if err != nil {
		return nil, err
	}
	y := &play{plan: p, binary: binary, o: o, cluster: c}
	y.fleet = &fleet{venvs: v, plan: p, url: c.URL(cluster.Superuser, "", database), running: make(map[string]*worker)}
	y.res.At = time.Now().UTC()
	if y.conn, err = c.Connect(ctx, database); err == nil {
		y.res.Commit, y.res.Server, err = report.Origin(ctx, y.conn)
	}
	if err == nil && binary != "" { // what is played is the binary, whatever the tree has become meanwhile
		y.res.Commit, err = released(ctx, binary)
	}
	if err != nil {
		return nil, errors.Join(err, y.close())
	}
	return y, nil
}

// released is the commit that a binary was made from, as it says itself.
func released(ctx context.Context, binary string) (string, error) {
	out, err := exec.CommandContext(ctx, binary, "version").Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", binary, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimPrefix(line, "awa-counterd "), nil
}

// keep puts the logs aside, for whoever wants to know why.
func (y *play) keep() {
	half := "control"
	if y.daemon != nil {
		half = "with"
		y.daemon.mu.Lock()
		tail := strings.Join(y.daemon.tail, "\n")
		y.daemon.mu.Unlock()
		_ = os.WriteFile(filepath.Join(y.o.logs, y.plan.name()+"-daemon.log"), []byte(tail), 0o644)
	}
	_ = os.WriteFile(filepath.Join(y.o.logs, y.plan.name()+"-"+half+"-server.log"), []byte(y.cluster.Log()), 0o644)
}

func (y *play) close() error {
	y.fleet.close()
	if y.o.logs != "" {
		y.keep()
	}
	if y.daemon != nil {
		y.daemon.discard()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if y.stream != nil {
		_ = y.stream.close(ctx)
	}
	if y.conn != nil {
		_ = y.conn.Close(ctx)
	}
	return y.cluster.Close()
}

func (y *play) run(ctx context.Context) error {
	if err := y.before(ctx); err != nil {
		return fmt.Errorf("before the migration: %w", err)
	}
	var err error
	if y.res.Migrate, err = y.fleet.migrate(ctx); err != nil {
		return err
	}
	if y.stream, err = openStream(ctx, y.cluster.Socket(database), database, y.conn); err != nil {
		return err
	}
	eyes, shut := context.WithCancel(ctx)
	defer shut()
	var looking sync.WaitGroup
	if err := y.openEyes(eyes, &looking); err != nil {
		return err
	}
	err = y.upgrade(ctx)
	shut()
	looking.Wait()
	if err != nil {
		return err
	}
	return y.sumUp(ctx)
}

// before is the old fleet's life, and the sidecar deployed into it.
func (y *play) before(ctx context.Context) error {
	if err := y.fleet.start(ctx, "old-first"); err != nil {
		return err
	}
	// The second one never asks again, so the first has to have the lead before it comes.
	if err := y.until(ctx, 10*time.Second, func() (bool, error) {
		name, _, err := leaders(ctx, y.conn)
		return name == "old-first", err
	}); err != nil {
		return fmt.Errorf("the old worker does not take the lead: %w", err)
	}
	if err := y.fleet.start(ctx, "old-second"); err != nil {
		return err
	}
	enough, within := int64(100), 20*time.Second
	if y.plan.Pace > 1 {
		enough, within = calmRows, time.Minute
	}
	if err := y.until(ctx, within, func() (bool, error) {
		var n int64
		err := y.conn.QueryRow(ctx, `select count(*) from awa.done_entries`).Scan(&n)
		return n > enough, err
	}); err != nil {
		return fmt.Errorf("the old fleet writes no rows: %w", err)
	}
	if y.binary == "" {
		return nil
	}
	var err error
	if y.daemon, err = startDaemon(y.binary, y.fleet.url, y.plan); err != nil {
		return err
	}
	y.res.Sidecar = &sidecarResult{}
	y.res.Sidecar.Doctor, _, _ = y.daemon.command(ctx, "doctor")
	return y.until(ctx, 10*time.Second, func() (bool, error) {
		y.daemon.mu.Lock()
		defer y.daemon.mu.Unlock()
		return y.daemon.waited, nil
	})
}

// until polls.
func (y *play) until(ctx context.Context, within time.Duration, ok func() (bool, error)) error {
	late := time.Now().Add(within)
	for {
		done, err := ok()
		if err != nil || done {
			return err
		}
		if time.Now().After(late) {
			return fmt.Errorf("not within %s", within)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// openEyes begins to look at the groups, at who waits for whom, and at who leads.
func (y *play) openEyes(ctx context.Context, all *sync.WaitGroup) error {
	look, err := y.cluster.Connect(ctx, database)
	if err != nil {
		return err
	}
	wait, err := y.cluster.Connect(ctx, database)
	if err != nil {
		return errors.Join(err, look.Close(ctx))
	}
	all.Go(func() {
		defer func() { _ = wait.Close(context.WithoutCancel(ctx)) }()
		y.waits = waits(ctx, wait)
	})
	all.Go(func() {
		defer func() { _ = look.Close(context.WithoutCancel(ctx)) }()
		for pause(ctx, lookEach) == nil {
			within, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			l, err := takeLook(within, look)
			cancel()
			if err != nil {
				y.watch.failed++
				if look.IsClosed() {
					return
				}
				continue
			}
			y.watch.looks = append(y.watch.looks, l)
		}
	})
	return nil
}
