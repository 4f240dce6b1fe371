// Command chaos holds the promises of docs/design.md §1 against every fault it can make: it runs a
// server, a mixed fleet of writers and one to three daemons behind proxies, injects faults singly and
// mixed, and watches marker, counters and rows in one snapshot all the while. `make chaos` is the short
// run that CI does, `make soak` the long one; both write their report into docs/reports.
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

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

type options struct {
	shape   string
	release string
	binary  string
	seed    uint64
	only    string
	minutes float64
	kills   int
	report  string
}

func main() {
	var o options
	flag.StringVar(&o.binary, "daemon", "bin/awa-counterd-failpoints", "the binary, built with -tags failpoints")
	flag.StringVar(&o.shape, "shape", fleet.Ledger, "the shape of awa's counter: "+strings.Join(fleet.Shapes(), ", "))
	flag.StringVar(&o.release, "release", "", "the release of awa on the ledger: "+fleet.Beta2+", 0.6.0 to "+fleet.Latest+", "+fleet.Next+"; "+fleet.Latest+" if empty")
	flag.Uint64Var(&o.seed, "seed", 0, "replays a run; 0 draws one")
	flag.StringVar(&o.only, "only", "", "inject only faults whose name contains this")
	flag.Float64Var(&o.minutes, "minutes", 0, "go on with mixed faults for this long after every fault was injected singly")
	flag.IntVar(&o.kills, "kills", 0, "and until the daemon was killed this often")
	flag.StringVar(&o.report, "report", "", "the document whose report of this name=file is replaced, chaos=docs/reports/chaos.md for example; standard output if empty")
	flag.Parse()
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	if err := fleet.Known(o.shape, o.release); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "chaos: FAILED:", err)
	if !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "chaos: replay: "+o.replay())
	}
	os.Exit(1)
}

// replay is the command that does the same again, as far as the schedule of faults goes.
func (o *options) replay() string {
	parts := []string{"make build-failpoints && go run ./e2e/chaos", "-shape " + o.shape, fmt.Sprintf("-seed %d", o.seed)}
	if o.release != "" {
		parts = append(parts, "-release "+o.release)
	}
	if o.only != "" {
		parts = append(parts, fmt.Sprintf("-only %q", o.only))
	}
	if o.minutes > 0 {
		parts = append(parts, fmt.Sprintf("-minutes %g", o.minutes))
	}
	if o.kills > 0 {
		parts = append(parts, fmt.Sprintf("-kills %d", o.kills))
	}
	return strings.Join(parts, " ")
}

func run(ctx context.Context, o options) (err error) {
	a, err := newEnv(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	if err := a.runSchedule(ctx); err != nil {
		a.printLogs()
		return err
	}
	return a.report(ctx)
}
