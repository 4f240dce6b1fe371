// Command awa-counterd keeps awa's terminal counters right from the outside. It only reads flags and
// wires packages together; see docs/design.md for what it does and why.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// Exit codes; docs/operations.md documents them.
const (
	exitOK      = 0
	exitFailed  = 1 // could not do it
	exitUsage   = 2 // wrong usage
	exitDrift   = 3 // drift found, or left
	exitRefused = 4 // refused for a stated reason
)

type cli struct {
	Run       runCmd       `cmd:"" help:"Correct the counters until stopped."`
	Status    statusCmd    `cmd:"" help:"Show which daemon leads, how far it is behind, whether readers use the counters, drift and uncounted writes by queue, and what to do next."`
	Reconcile reconcileCmd `cmd:"" help:"Compare all counters with a scan and correct them once, without logical replication."`
	Doctor    doctorCmd    `cmd:"" help:"Check every requirement, and say how to meet those that are not met. Changes nothing."`
	Setup     setupCmd     `cmd:"" help:"Create what the daemon needs, or print the statements for a DBA. Safe to repeat."`
	Teardown  teardownCmd  `cmd:"" help:"Remove everything that awa-counterd has created in the database, and clear the trust marker."`
	Finish    finishCmd    `cmd:"" help:"End an upgrade beside a daemon that runs: wait until it is safe, have the daemon leave, set the trust marker for good, and remove everything that awa-counterd has created."`
	Distrust  distrustCmd  `cmd:"" help:"Clear the trust marker now, for example in a supervisor's post-stop hook."`
	Version   versionCmd   `cmd:"" help:"Print version, commit and Go version."`
}

const description = `Corrects awa's counters of terminal jobs while old binaries that do not update them (0.6.0-alpha, 0.6.0-beta.1; called pre-#290) work beside new ones.

It reads the changes of done_entries and of the counters through logical replication, writes the difference
into queue_terminal_live_counts, and lets readers use the counters (the trust marker) only while it can vouch for them.

Every flag whose help names an environment variable can be set by it: AWA_COUNTERD_MAX_STALENESS=2s.`

func main() {
	ctx, stop := signals()
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// signals ends the context at the first SIGTERM, SIGINT or SIGHUP (a terminal that is lost); a second one leaves at
// once. Under nohup a SIGHUP stays ignored.
func signals() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	c := make(chan os.Signal, 2)
	signal.Notify(c, syscall.SIGTERM, os.Interrupt)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(c, syscall.SIGHUP)
	}
	go func() {
		<-c
		cancel()
		<-c
		fmt.Fprintln(os.Stderr, "awa-counterd: second signal: ending at once")
		os.Exit(exitFailed)
	}()
	return ctx, cancel
}

// execute is main without the process around it.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) (code int) {
	var c cli
	exited := false
	parser, err := kong.New(&c,
		kong.Name("awa-counterd"), kong.Description(description), kong.DefaultEnvars("AWA_COUNTERD"),
		kong.Writers(stdout, stderr), kong.Exit(func(status int) { exited, code = true, status }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.UsageOnError(), kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(streams{stdout, stderr}),
	)
	if err != nil {
		return fail(stderr, err, exitFailed)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	run, err := parser.Parse(args)
	if exited {
		return code
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "awa-counterd: %v; see awa-counterd --help\n", err)
		return exitUsage
	}
	err = run.Run()
	var usage *usageError
	var drift *driftError
	var found *findingsError
	var refusal *pg.Refusal
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return fail(stderr, err, exitUsage)
	case errors.As(err, &drift):
		return fail(stderr, err, exitDrift)
	case errors.As(err, &found):
		return fail(stderr, err, found.exit())
	case errors.As(err, &refusal):
		return fail(stderr, refusal, exitRefused)
	case pg.IsLockTimeout(err):
		return fail(stderr, fmt.Errorf("%w; somebody holds a lock: end that transaction, and run it again", err), exitFailed)
	default:
		return fail(stderr, err, exitFailed)
	}
}

func fail(stderr io.Writer, err error, code int) int {
	_, _ = fmt.Fprintf(stderr, "awa-counterd: %v\n", err)
	return code
}

type streams struct{ out, err io.Writer }

// usageError is a flag whose value cannot be used.
type usageError struct{ reason string }

func (e *usageError) Error() string { return e.reason }
