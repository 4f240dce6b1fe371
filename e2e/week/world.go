package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/proxy"
)

const (
	role        = "counterd"
	slots       = 8
	publication = "awa_counterd_awa"
)

func queues() []string { return []string{"billing", "email", "reports", "webhooks"} }

// world is a server, a fleet and two daemons.
type world struct {
	o       options
	dir     string
	cluster *cluster.Cluster
	at      atomic.Pointer[cluster.Cluster] // the same, for connections of the pool
	proxy   *proxy.Proxy                    // by which the daemons know it; the address follows a failover
	// replaced are standbys that did not come to be the server.
	replaced []*cluster.Cluster
	pool     *pgxpool.Pool // superuser, over the Unix socket
	fleet    *fleet.Fleet
	fleets   uint64
	daemons  []*daemon
	phase    string // what is going on, for the log's account
	nights   []night
	events   []happened

	disturbed atomic.Bool // writers may fail: the server is away
	done      int64       // operations of the fleet
	groups    int
}

func newWorld(ctx context.Context, o options) (_ *world, err error) {
	bin, err := cluster.Obtain(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}
	w := &world{o: o, phase: "the beginning"}
	if w.dir, err = os.MkdirTemp("", "awacd-week"); err != nil {
		return nil, err
	}
	w.cluster, err = cluster.Start(ctx, cluster.Options{Bin: bin, Auth: "scram-sha-256", Settings: map[string]string{"track_commit_timestamp": "on", "max_wal_size": "256MB"}})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(w.dir))
	}
	if w.proxy, err = proxy.New(w.cluster.Address()); err != nil {
		return nil, errors.Join(err, w.close())
	}
	if err := w.install(ctx); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// install makes awa's tables, of which the daemons' role is the owner: it can create a publication again that somebody dropped.
func (w *world) install(ctx context.Context) (err error) {
	if err := w.openPool(ctx); err != nil {
		return err
	}
	conn, err := w.cluster.Connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := fleet.Install(ctx, conn, fleet.Layout{Schema: "awa", Slots: slots, Shape: w.o.shape}); err != nil {
		return err
	}
	password := w.password(0)
	if _, err = conn.Exec(ctx, fmt.Sprintf(`create role %s login replication password '%s'; grant create on database postgres to %[1]s; grant usage, create on schema awa to %[1]s;
		do $$ declare r record; begin
			for r in select c.oid::regclass as t from pg_class c where relnamespace = 'awa'::regnamespace and relkind in ('r', 'p') loop
				execute format('alter table %%s owner to %[1]s', r.t);
			end loop; end $$`, role, password)); err != nil {
		return err
	}
	for i := range 2 {
		d, err := newDaemon(w.o.binary, filepath.Join(w.dir, fmt.Sprintf("daemon-%d.log", i+1)), i+1)
		if err != nil {
			return err
		}
		w.daemons = append(w.daemons, d)
		if err := d.start(w.arguments(password, d)...); err != nil {
			return err
		}
	}
	return nil
}

// openPool has each connection go to the server of that moment.
func (w *world) openPool(ctx context.Context) error {
	w.at.Store(w.cluster)
	config, err := pgxpool.ParseConfig(w.cluster.Socket("postgres"))
	if err != nil {
		return err
	}
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		now := w.at.Load()
		c.Host, c.Port, c.Fallbacks = now.Dir, uint16(now.Port), nil
		return nil
	}
	w.pool, err = pgxpool.NewWithConfig(ctx, config)
	return err
}

// password is the nth one; each says of itself what it is, so that it would be found in a log.
func (w *world) password(n int) string { return fmt.Sprintf("%s-%d", planted, n) }

// planted is in every password, and must be in no log.
const planted = "hunter2-planted"

// faster is an interval of the daemon's at this pace, and no less than the flag allows.
func (w *world) faster(interval, least time.Duration) time.Duration {
	return max(time.Duration(float64(interval)/w.pace()).Round(time.Millisecond), least)
}

// pace is how many times faster than life this week is.
func (w *world) pace() float64 { return (7 * 24 * time.Hour).Seconds() / w.o.length.Seconds() }

func (w *world) arguments(password string, d *daemon) []string {
	url := fmt.Sprintf("postgres://%s:%s@%s/postgres?sslmode=disable", role, password, w.proxy.Addr())
	return []string{
		"run", "--database-url", url, "--listen", d.address, "--log-format", "json",
		"--status-interval", w.statusInterval().String(), "--audit-interval", w.faster(5*time.Minute, time.Second).String(),
		"--checkpoint-interval", w.faster(5*time.Second, 100*time.Millisecond).String(),
	}
}

func (w *world) statusInterval() time.Duration { return w.faster(10*time.Second, 100*time.Millisecond) }

func (w *world) close() error {
	w.rest()
	var err error
	for _, d := range w.daemons {
		err = errors.Join(err, d.kill())
	}
	if w.pool != nil {
		w.pool.Close()
	}
	if w.proxy != nil {
		w.proxy.Close()
	}
	for _, c := range w.replaced {
		err = errors.Join(err, c.Close())
	}
	return errors.Join(err, w.cluster.Close(), os.RemoveAll(w.dir))
}

// work has the fleet write: at its mean, or n times as much.
func (w *world) work(ctx context.Context, times int) error {
	w.rest()
	w.fleets++
	cfg := fleet.Config{
		Schema: "awa", Shape: w.o.shape, Slots: slots, Queues: queues(), PreQueues: queues()[:2], Seed: w.o.seed + w.fleets<<20, Pre: 1, Post: 2, Pause: 150 * time.Millisecond,
		Prune: 2 * time.Second, Fold: time.Second, Retain: 4 * time.Second, Tolerate: w.disturbed.Load,
	}
	if times > 1 { // ten workers instead of three, and each so much faster
		cfg.Pre, cfg.Post, cfg.Pause = 5, 5, cfg.Pause*10/3/time.Duration(times)
	}
	f, err := fleet.Start(context.WithoutCancel(ctx), w.cluster.Socket("postgres"), cfg)
	w.fleet = f
	return err
}

// rest stops the fleet.
func (w *world) rest() {
	if w.fleet == nil {
		return
	}
	w.fleet.Stop()
	w.done += w.fleet.Ops.Load()
	w.fleet = nil
}

// failed are the errors of writers that nothing explains.
func (w *world) failed() error {
	if w.fleet == nil {
		return nil
	}
	if errs := w.fleet.Errors(); len(errs) > 0 {
		return fmt.Errorf("writers failed: %v", errs)
	}
	return nil
}

func (w *world) exec(ctx context.Context, sql string, args ...any) error {
	if _, err := w.pool.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// until waits for a state, two minutes at most.
func until(ctx context.Context, what string, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		good, err := ok()
		if good {
			return nil
		}
		if e := pause(ctx, 20*time.Millisecond); e != nil {
			return errors.Join(fmt.Errorf("%s: %w", what, e), err)
		}
	}
}

// trusted waits until the marker is set.
func (w *world) trusted(ctx context.Context) error {
	return until(ctx, "the marker is not set again", func() (bool, error) { return fleet.Trusted(ctx, w.pool, "awa") })
}

// right waits until every counter is right; the fleet rests.
func (w *world) right(ctx context.Context) error {
	return until(ctx, "counters are wrong though nobody writes", func() (bool, error) {
		groups, wrong, err := fleet.Compare(ctx, w.pool, "awa")
		w.groups = groups
		if err == nil && len(wrong) > 0 {
			err = fmt.Errorf("%d groups are wrong, the first: %+v", len(wrong), wrong[0])
		}
		return err == nil, err
	})
}
