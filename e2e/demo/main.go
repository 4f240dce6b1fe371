// Command demo shows awa-counterd at work: a throwaway PostgreSQL, workers of an old and a new release of awa, the daemon
// started beside them, killed and started again, and at the end a picture of the drift and a verdict from one scan.
// `make demo` runs it; it exits with 1 when one counter is wrong.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

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

func show(ctx context.Context, layout fleet.Layout, binary string, length time.Duration) (wrong int, err error) {
	bin, err := cluster.Obtain(ctx, os.Stderr)
	if err != nil {
		return 0, err
	}
	fmt.Println(preface(newSchedule(length), layout, bin) + "\n")
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
	if err := trust(ctx, pool, layout.Schema); err != nil {
		return 0, err
	}
	return runDemo(ctx, c, pool, layout, binary, length)
}

// preface says what is going to be seen, to somebody who never heard of awa.
func preface(plan schedule, l fleet.Layout, bin string) string {
	like := "awa " + cmp.Or(l.Release, fleet.Latest)
	if l.Shape != fleet.Ledger {
		like = "a development version of awa (counters of the form " + l.Shape + ")"
	}
	return wrap(fmt.Sprintf("awa is a job queue in PostgreSQL. It keeps a counter of the finished jobs of each queue. In this demo, six workers"+
		" finish jobs in the queues %s and %s: three workers of an old release, which do not count them, and three of a new one, which do."+
		" So the counters are wrong, and awa has already told its readers to use them. awa-counterd starts after %s and corrects them; after %s it is killed, and after %s started again.\n\n"+
		"PostgreSQL: a temporary server, run from %s\nTables: as %s makes them; the workers are imitated",
		strings.Join(queues()[:3], ", "), queues()[3], seconds(plan.start), seconds(plan.kill), seconds(plan.back), bin, like), 0)
}

func queues() []string { return []string{"billing", "email", "reports", "webhooks"} }

// trust sets the marker, as awa's migration does when it has counted everything: from then on readers use the counters.
func trust(ctx context.Context, pool *pgxpool.Pool, schema string) error {
	_, err := pool.Exec(ctx, "update "+schema+".queue_ring_state set terminal_counter_trusted_at = now()")
	return err
}

// runDemo is the demo itself: workers, the daemon, its death and return, the verdict.
func runDemo(ctx context.Context, c *cluster.Cluster, pool *pgxpool.Pool, l fleet.Layout, binary string, length time.Duration) (int, error) {
	f, err := fleet.Start(ctx, c.Socket("postgres"), fleet.Config{
		Schema: l.Schema, Shape: l.Shape, Release: l.Release, Slots: l.Slots, Queues: queues(), Seed: uint64(time.Now().UnixNano()),
		Pre: 3, Post: 3, Pause: 45 * time.Millisecond, Prune: time.Second,
		Fold: 700 * time.Millisecond, Retain: 5 * time.Second,
	})
	if err != nil {
		return 0, err
	}
	d := &daemon{binary: binary, url: c.URL(cluster.Superuser, "", "postgres")}
	defer d.kill()
	r := newRun(pool, l.Schema, d, f, newBoard(os.Stdout), newSchedule(length))
	err = r.follow(ctx)
	f.Stop()
	if err != nil {
		return 0, err
	}
	return r.verdict(ctx)
}
