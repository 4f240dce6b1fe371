package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

type options struct {
	binary string
	length time.Duration
	shape  string
	seed   uint64
	report string
}

func main() {
	var o options
	flag.StringVar(&o.binary, "daemon", "bin/awa-counterd", "the binary")
	flag.DurationVar(&o.length, "length", time.Hour, "how long the week takes; below ten minutes it shows that this program works, and no more")
	flag.StringVar(&o.shape, "shape", fleet.Ledger, "the shape of awa's counter")
	flag.Uint64Var(&o.seed, "seed", 1, "for the fleet's choices")
	flag.StringVar(&o.report, "report", "", "file to write the report to; standard output if empty")
	flag.Parse()
	if err := fleet.Known(o.shape, ""); err != nil {
		fmt.Fprintln(os.Stderr, "week:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "week: FAILED:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	w, err := newWorld(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.live(ctx); err != nil {
		brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_, _ = fmt.Fprint(os.Stderr, w.report(brief)) // of the days that were lived; the page stays as it was
		return errors.Join(err, w.lastWords())
	}
	text := w.report(ctx)
	if o.report == "" {
		fmt.Print(text)
	} else if err := os.WriteFile(o.report, []byte(text), 0o644); err != nil {
		return err
	}
	return w.judge()
}
