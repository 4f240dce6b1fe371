// Command demo shows awa-counterd at work: a throwaway PostgreSQL, a mixed fleet of pre-#290 and
// post-#290 writers, the daemon beside them, killed and started again half-way, and a verdict from
// one scan at the end. `make demo` runs it; it exits with 1 when one group is wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

func main() {
	binary := flag.String("daemon", "bin/awa-counterd", "the binary to show")
	length := flag.Duration("length", 40*time.Second, "how long the writers write")
	layout := fleet.Layout{Schema: "awa", Slots: 16}
	flag.StringVar(&layout.Shape, "shape", fleet.Ledger, "the shape of awa's counter: "+strings.Join(fleet.Shapes(), ", "))
	flag.StringVar(&layout.Release, "release", "", "the release of awa on the ledger: "+fleet.Beta2+", 0.6.0 to "+fleet.Latest+", "+fleet.Next+"; "+fleet.Latest+" if empty")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	wrong, err := show(ctx, layout, *binary, *length)
	stop()
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "demo: interrupted")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	case wrong > 0:
		os.Exit(1)
	}
}

const maxStaleness = 2 * time.Second

func show(ctx context.Context, layout fleet.Layout, binary string, length time.Duration) (wrong int, err error) {
	bin, err := cluster.Obtain(ctx, os.Stderr)
	if err != nil {
		return 0, err
	}
	fmt.Printf("demo: starting a throwaway PostgreSQL from %s, with awa's tables of the shape %s\n", bin, layout.Shape)
	c, err := cluster.Start(ctx, cluster.Options{Bin: bin, Settings: map[string]string{"track_commit_timestamp": "on"}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	conn, err := c.Connect(ctx, "postgres")
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := fleet.Install(ctx, conn, layout); err != nil {
		return 0, err
	}
	pool, err := pgxpool.New(ctx, c.Socket("postgres"))
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	if err := backlog(ctx, pool, layout); err != nil {
		return 0, err
	}
	return play(ctx, c, pool, layout, binary, length)
}

var queues = []string{"billing", "email", "reports", "webhooks"}

// backlog leaves rows that nobody counted, as a cluster has them before the upgrade.
func backlog(ctx context.Context, pool *pgxpool.Pool, l fleet.Layout) error {
	old := l.Writer(false)
	old.Silent = true
	for i, q := range queues {
		err := fleet.Do(ctx, pool, func(tx pgx.Tx) error {
			return old.Insert(ctx, tx, fleet.Key{Slot: int32(i), Queue: q, Priority: 1}, 5000, "failed", "")
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// play is the show itself: writers, the daemon, its death and return, the verdict.
func play(ctx context.Context, c *cluster.Cluster, pool *pgxpool.Pool, l fleet.Layout, binary string, length time.Duration) (int, error) {
	f, err := fleet.Start(ctx, c.Socket("postgres"), fleet.Config{
		Schema: l.Schema, Shape: l.Shape, Release: l.Release, Slots: l.Slots, Queues: queues, Seed: uint64(time.Now().UnixNano()),
		Pre: 3, Post: 3, Pause: 45 * time.Millisecond, Prune: time.Second,
		Fold: 700 * time.Millisecond, Retain: 5 * time.Second,
	})
	if err != nil {
		return 0, err
	}
	a := &actor{binary: binary, url: c.URL(cluster.Superuser, "", "postgres")}
	defer a.kill()
	if err := a.start(); err != nil {
		f.Stop()
		return 0, err
	}
	b := newBoard(os.Stdout, pool, l.Schema, a, f)
	err = b.run(ctx, length)
	f.Stop()
	if err != nil {
		return 0, err
	}
	return b.verdict(ctx)
}
