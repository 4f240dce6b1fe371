package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

const (
	schema       = "awa"
	slots        = 8
	role         = "counterd"
	maxStaleness = 2 * time.Second
	// otherStaleness is that of each second daemon.
	otherStaleness = maxStaleness * 3 / 4
)

var queues = []string{"billing", "email", "reports", "webhooks"}

// env is everything that takes part in a run.
type env struct {
	o           options
	rng         *dice
	cluster     *cluster.Cluster
	pool        *pgxpool.Pool // of the tests: superuser, over the Unix socket
	fleet       *fleet.Fleet
	fleets      uint64
	supervisors []*supervisor
	observer    *observer
	tally       tally

	// disturbed: the server itself is being hurt, so writers fail whether or not there is a daemon.
	disturbed atomic.Int64
	until     atomic.Int64 // and for a while after it, in Unix nanoseconds: what was begun then fails later
}

func newEnv(ctx context.Context, o options) (*env, error) {
	bin, err := cluster.Obtain(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}
	c, err := cluster.Start(ctx, cluster.Options{Bin: bin, Settings: map[string]string{
		"max_prepared_transactions": "5", "max_connections": "120", "max_replication_slots": "10", "max_wal_senders": "12",
		"deadlock_timeout": "1s", "max_wal_size": "512MB", "track_commit_timestamp": "on",
	}})
	if err != nil {
		return nil, err
	}
	a := &env{o: o, rng: &dice{r: rand.New(rand.NewPCG(o.seed, 1))}, cluster: c, tally: newTally()}
	if err := a.installTables(ctx); err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

// layout is that of awa's tables.
func (a *env) layout() fleet.Layout {
	return fleet.Layout{Schema: schema, Slots: slots, Shape: a.o.shape, Release: a.o.release}
}

// installTables makes awa's tables, owned by the role that the daemons run as, and old rows in them.
func (a *env) installTables(ctx context.Context) error {
	var err error
	if a.pool, err = pgxpool.New(ctx, a.cluster.Socket("postgres")); err != nil {
		return err
	}
	if err := a.exec(ctx, `create role `+role+` login replication; grant create on database postgres to `+role); err != nil {
		return err
	}
	if err := a.install(ctx); err != nil {
		return err
	}
	a.observer = newObserver(a)
	return nil
}

func (a *env) install(ctx context.Context) error {
	conn, err := a.cluster.Connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := fleet.Install(ctx, conn, a.layout()); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, `grant usage, create on schema awa to `+role+`; do $$ declare r record; begin
		for r in select c.oid::regclass as t from pg_class c where relnamespace = 'awa'::regnamespace and relkind in ('r', 'p') loop
			execute format('alter table %s owner to `+role+`', r.t);
		end loop; end $$`)
	return err
}

func (a *env) close() error {
	for _, m := range a.supervisors {
		m.stopForGood()
	}
	if a.fleet != nil {
		a.fleet.Stop()
	}
	if a.observer != nil {
		a.observer.stop()
	}
	if a.pool != nil {
		a.pool.Close()
	}
	return a.cluster.Close()
}

// startWriters starts a fleet; the last one has ended.
func (a *env) startWriters(ctx context.Context) error {
	a.fleets++
	f, err := fleet.Start(context.WithoutCancel(ctx), a.cluster.Socket("postgres"), fleet.Config{
		Schema: schema, Shape: a.o.shape, Release: a.o.release, Slots: slots, Queues: queues, Seed: a.o.seed + a.fleets<<20, Pre: 3, Post: 2, Pause: 12 * time.Millisecond,
		Prune: 700 * time.Millisecond, Fold: 300 * time.Millisecond, Retain: 4 * time.Second, Tolerate: func() bool { return a.disturbed.Load() > 0 || time.Now().UnixNano() < a.until.Load() },
	})
	a.fleet = f
	return err
}

// stopWriters stops the writers, and demands promise P1 and that no writer failed because of us.
func (a *env) stopWriters(ctx context.Context) error {
	a.fleet.Stop()
	a.tally.absorb(a.fleet)
	if errs := a.fleet.Errors(); len(errs) > 0 {
		return fmt.Errorf("writers failed: %v", errs)
	}
	return a.verdict(ctx)
}

// verdict waits for every counter to be right: one flush and its echo.
func (a *env) verdict(ctx context.Context) error {
	began := time.Now()
	for {
		groups, wrong, err := fleet.Compare(ctx, a.pool, schema)
		if err != nil {
			return err
		}
		if len(wrong) == 0 {
			a.tally.verdicts++
			a.tally.groups += groups
			a.tally.slowest = max(a.tally.slowest, time.Since(began))
			return nil
		}
		if time.Since(began) > maxStaleness {
			a.tally.wrong += len(wrong)
			return fmt.Errorf("%d of %d groups are wrong %s after the writers stopped, the first: %+v", len(wrong), groups, maxStaleness, wrong[0])
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// trusted waits for the marker: the fault is over.
func (a *env) trusted(ctx context.Context) error {
	began := time.Now()
	for {
		set, err := fleet.Trusted(ctx, a.pool, schema)
		if err == nil && set && a.observer.vouched() {
			a.tally.recovered(time.Since(began))
			return nil
		}
		if time.Since(began) > time.Minute {
			return errors.New("the marker was not set again within a minute")
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

func (a *env) exec(ctx context.Context, sql string, args ...any) error {
	_, err := a.pool.Exec(ctx, sql, args...)
	return err
}

// all runs statements that cannot share a transaction.
func (a *env) all(ctx context.Context, statements ...string) error {
	for _, sql := range statements {
		if err := a.exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// terminate ends sessions of awa-counterd by their role, % for all.
func (a *env) terminate(ctx context.Context, who string) error {
	return a.exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'awa-counterd ' || $1`, who)
}

// tolerating runs f while writers may fail for reasons of their own.
func (a *env) tolerating(f func() error) error {
	a.disturbed.Add(1)
	defer func() {
		a.until.Store(time.Now().Add(3 * time.Second).UnixNano())
		a.disturbed.Add(-1)
	}()
	return f()
}

func (a *env) between(low, high time.Duration) time.Duration {
	return low + time.Duration(a.rng.Int64N(int64(high-low)))
}

func (a *env) server() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(a.cluster.Port)) }

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
