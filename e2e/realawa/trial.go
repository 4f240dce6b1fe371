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

// trial is one upgrade, from an old fleet to a new one.
type trial struct {
	plan   *plan
	binary string // of the daemon; a control has none
	o      *options

	cluster *cluster.Cluster
	conn    *pgx.Conn // of the trial itself
	fleet   *fleet
	daemon  *daemon
	stream  *stream
	watch   watch
	waits   stakeout
	rings   []bool // looks at the leader side by side: an old one
	mixed   window // side by side
	alone   window // the new fleet, after finish, as long as the ring is waited for
	res     result
}

// try carries a plan out once, in a cluster of its own.
func try(ctx context.Context, p *plan, v wheels.Dir, binary string, o *options) (res *result, err error) {
	bin, err := cluster.Obtain(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}
	tr, err := newTrial(ctx, bin, p, v, binary, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, tr.close()) }()
	err = tr.run(ctx)
	if why, ok := errors.AsType[impossible](err); ok {
		tr.res.Impossible, err = string(why), nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.name(), err)
	}
	tr.res.Took = time.Since(tr.res.At)
	return &tr.res, nil
}

func newTrial(ctx context.Context, bin string, p *plan, v wheels.Dir, binary string, o *options) (*trial, error) {
	// Compiling the plans of awa's migration takes six times as long as running it on tables this small.
	c, err := cluster.Start(ctx, cluster.Options{Bin: bin, Settings: map[string]string{
		"log_line_prefix": linePrefix, "log_timezone": "UTC", "max_connections": "200", "jit": "off",
		"max_slot_wal_keep_size": "20GB", // as doctor wants it
	}})
	if err != nil {
		return nil, err
	}
	tr := &trial{plan: p, binary: binary, o: o, cluster: c}
	tr.fleet = &fleet{venvs: v, plan: p, url: c.URL(cluster.Superuser, "", database), running: make(map[string]*worker)}
	tr.res.At = time.Now().UTC()
	if tr.conn, err = connect(ctx, c, "trial"); err == nil {
		tr.res.Commit, tr.res.Server, err = report.Origin(ctx, tr.conn)
	}
	if err == nil && binary != "" { // what is tried is the binary, whatever the tree has become meanwhile
		tr.res.Commit, err = released(ctx, binary)
	}
	if err != nil {
		return nil, errors.Join(err, tr.close())
	}
	return tr, nil
}

// connect opens a session of the test's own, which is told from all others by its application's name.
func connect(ctx context.Context, c *cluster.Cluster, what string) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, c.Socket(database)+" application_name='"+testers+" "+what+"'")
	if err != nil {
		return nil, fmt.Errorf("connect to the test cluster: %w", err)
	}
	return conn, nil
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
func (tr *trial) keep() error {
	half := "control"
	var err error
	if tr.daemon != nil {
		half = "with"
		tr.daemon.mu.Lock()
		tail := strings.Join(tr.daemon.tail, "\n")
		tr.daemon.mu.Unlock()
		err = os.WriteFile(filepath.Join(tr.o.logs, tr.plan.name()+"-daemon.log"), []byte(tail), 0o644)
	}
	return errors.Join(err, os.WriteFile(filepath.Join(tr.o.logs, tr.plan.name()+"-"+half+"-server.log"), []byte(tr.cluster.Log()), 0o644))
}

func (tr *trial) close() error {
	tr.fleet.close()
	var kept error
	if tr.o.logs != "" {
		kept = tr.keep()
	}
	if tr.daemon != nil {
		tr.daemon.discard()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if tr.stream != nil {
		_ = tr.stream.close(ctx)
	}
	if tr.conn != nil {
		_ = tr.conn.Close(ctx)
	}
	return errors.Join(kept, tr.cluster.Close())
}

func (tr *trial) run(ctx context.Context) error {
	if err := tr.before(ctx); err != nil {
		return fmt.Errorf("before the migration: %w", err)
	}
	var err error
	if tr.res.Migrate, err = tr.fleet.migrate(ctx); err != nil {
		return err
	}
	if tr.stream, err = openStream(ctx, tr.cluster.Socket(database), database, tr.conn); err != nil {
		return err
	}
	observing, stop := context.WithCancel(ctx)
	defer stop()
	var looking sync.WaitGroup
	if err := tr.observe(observing, &looking); err != nil {
		return err
	}
	err = tr.upgrade(ctx)
	stop()
	looking.Wait()
	if err != nil {
		return err
	}
	return tr.sumUp(ctx)
}

// before is the old fleet's life, and the daemon deployed into it.
func (tr *trial) before(ctx context.Context) error {
	if err := tr.fleet.start(ctx, "old-first"); err != nil {
		return err
	}
	// The second one never asks again, so the first has to have the lead before it comes.
	if err := tr.until(ctx, 10*time.Second, func() (bool, error) {
		name, _, err := leaders(ctx, tr.conn)
		return name == "old-first", err
	}); err != nil {
		return fmt.Errorf("the old worker does not take the lead: %w", err)
	}
	if err := tr.fleet.start(ctx, "old-second"); err != nil {
		return err
	}
	enough, within := int64(100), 20*time.Second
	if tr.plan.Pace > 1 {
		enough, within = calmRows, time.Minute
	}
	if err := tr.until(ctx, within, func() (bool, error) {
		var n int64
		err := tr.conn.QueryRow(ctx, `select count(*) from awa.done_entries`).Scan(&n)
		return n > enough, err
	}); err != nil {
		return fmt.Errorf("the old fleet writes no rows: %w", err)
	}
	began := time.Now()
	if tr.binary != "" {
		if err := tr.deploy(ctx); err != nil {
			return err
		}
	}
	// With the daemon and without it the old fleet is as old when awa migrates: each of its connections fails once afterwards for every
	// statement that it has prepared by then, and it prepares more and more.
	return pause(ctx, time.Until(began.Add(deploying)))
}

// deploying is what the daemon's start and doctor may take.
const deploying = 5 * time.Second

// deploy starts the daemon beside the old fleet, and waits until it waits for awa's migration.
func (tr *trial) deploy(ctx context.Context) (err error) {
	if tr.daemon, err = startDaemon(tr.binary, tr.fleet.url, tr.plan); err != nil {
		return err
	}
	tr.res.Daemon = &daemonResult{}
	tr.examine(ctx, deployed)
	return tr.until(ctx, 10*time.Second, func() (bool, error) {
		tr.daemon.mu.Lock()
		defer tr.daemon.mu.Unlock()
		return tr.daemon.waited, nil
	})
}

// until polls.
func (tr *trial) until(ctx context.Context, within time.Duration, ok func() (bool, error)) error {
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

// observe begins to look at the groups, at who waits for whom, and at who leads.
func (tr *trial) observe(ctx context.Context, all *sync.WaitGroup) error {
	look, err := connect(ctx, tr.cluster, "look")
	if err != nil {
		return err
	}
	wait, err := connect(ctx, tr.cluster, "waits")
	if err != nil {
		return errors.Join(err, look.Close(ctx))
	}
	all.Go(func() {
		defer func() { _ = wait.Close(context.WithoutCancel(ctx)) }()
		tr.waits = waits(ctx, wait)
	})
	all.Go(func() {
		defer func() { _ = look.Close(context.WithoutCancel(ctx)) }()
		for pause(ctx, lookEach) == nil {
			within, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			l, err := takeLook(within, look)
			cancel()
			if err != nil {
				tr.watch.failed++
				if look.IsClosed() {
					return
				}
				continue
			}
			tr.watch.looks = append(tr.watch.looks, l)
		}
	})
	return nil
}
