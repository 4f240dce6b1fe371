package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/daemon"
	"github.com/awa-counterd/awa-counterd/internal/listener"
	"github.com/awa-counterd/awa-counterd/internal/provision"
	"github.com/awa-counterd/awa-counterd/internal/status"
	"github.com/awa-counterd/awa-counterd/internal/systemd"
)

type runCmd struct {
	database `embed:""`
	objects  `embed:""`

	SlotLifetime   string `enum:"permanent,temporary,failover" default:"permanent" help:"permanent: the replication slot outlives the daemon, and the server keeps WAL for it meanwhile. temporary: it ends with the daemon, the server keeps no WAL, and every start scans all rows. failover: permanent, and carried to standbys that synchronize replication slots (PostgreSQL 17 or later), so that after a promotion nothing is scanned."`
	MaxRetainedWAL string `name:"max-retained-wal" default:"16GiB" help:"How much WAL the server may keep for the replication slot. Past half of it the daemon clears the marker; past it, it drops the replication slot and scans all rows. 0: no limit."`

	NoSetup bool `env:"AWA_COUNTERD_NO_SETUP" help:"Create neither publication nor schema; use those that a DBA has created (awa-counterd setup --print-sql)."`

	DryRun bool `help:"Only follow and report: nothing of awa's is written, no counter is corrected, and the trust marker is neither set nor cleared."`

	Trust        string        `enum:"live,quiet,off" default:"live" help:"When to set the trust marker: live (as soon as the counters are right), quiet (only after --quiet-period without uncounted writes), off (leave it alone). With off, the daemon's corrections stay in counter rows of its own when it has stopped, and under a marker that somebody else sets then awa's folds make counters wrong: run awa-counterd reconcile before."`
	QuietPeriod  time.Duration `default:"10m" help:"Time without uncounted writes after which the old binaries count as gone."`
	MaxStaleness time.Duration `default:"2s" help:"While the trust marker is set, no uncounted write older than this is missing from the counters."`

	FlushInterval      time.Duration `default:"100ms" help:"Shortest time between two flushes of corrections."`
	CheckpointInterval time.Duration `default:"5s" help:"Least time between two checkpoints while something changes."`
	AuditInterval      time.Duration `default:"5m" help:"Time between two comparisons of all counters with a scan."`
	StatusInterval     time.Duration `default:"10s" help:"Time between two status lines. While all is well, six times as long."`

	Listen string `placeholder:"ADDR" help:"Serve metrics, health, status and a page for people over HTTP at this address. A port alone (9187) listens on 127.0.0.1, host:port (0.0.0.0:9187) on that host. Off by default."`
	Pprof  bool   `help:"Serve Go's profiles under /debug/pprof/ as well; needs --listen."`

	LogFormat string `enum:"auto,console,json" default:"auto" help:"Log format: auto is console on a terminal, json otherwise."`
	LogLevel  string `enum:"debug,info,warn,error" default:"info" help:"Log messages of this level and above."`
}

// Validate is called by the flag parser.
func (r *runCmd) Validate() error {
	for _, d := range []struct {
		flag            string
		value           time.Duration
		lowest, highest time.Duration
	}{
		{"max-staleness", r.MaxStaleness, 400 * time.Millisecond, time.Hour},
		{"flush-interval", r.FlushInterval, 10 * time.Millisecond, time.Minute},
		{"checkpoint-interval", r.CheckpointInterval, 100 * time.Millisecond, time.Hour},
		{"audit-interval", r.AuditInterval, time.Second, 240 * time.Hour},
		{"quiet-period", r.QuietPeriod, time.Second, 240 * time.Hour},
		{"status-interval", r.StatusInterval, 100 * time.Millisecond, time.Hour},
	} {
		if d.value < d.lowest || d.value > d.highest {
			return fmt.Errorf("--%s=%s is out of range: use %s to %s", d.flag, d.value, d.lowest, d.highest)
		}
	}
	if r.FlushInterval*4 > r.MaxStaleness {
		return fmt.Errorf("--flush-interval=%s is too long for --max-staleness=%s: use at most a quarter of it", r.FlushInterval, r.MaxStaleness)
	}
	if err := checkSlotName(r.Slot); err != nil {
		return err
	}
	if _, err := r.maxRetained(); err != nil {
		return err
	}
	if r.Pprof && r.Listen == "" {
		return errors.New("--pprof needs --listen")
	}
	if r.Listen != "" {
		if _, err := listener.ParseAddress(r.Listen); err != nil {
			return fmt.Errorf("--listen: %w", err)
		}
	}
	if r.Publication != "" && !objectName.MatchString(r.Publication) {
		return fmt.Errorf("--publication=%q: use 1 to 63 of a-z, 0-9 and _", r.Publication)
	}
	return r.validate()
}

const leastRetained = 64 << 20 // four segments; less is kept by a replication slot that is read all the time

func (r *runCmd) maxRetained() (int64, error) {
	n, err := humanize.ParseBytes(r.MaxRetainedWAL)
	if err != nil || n > math.MaxInt64 {
		return 0, fmt.Errorf("--max-retained-wal=%q is no size: use for example 16GiB or 512MB, or 0 for no limit", r.MaxRetainedWAL)
	}
	if n != 0 && n < leastRetained {
		return 0, fmt.Errorf("--max-retained-wal=%s is too small: use at least 64MiB, or 0 for no limit", r.MaxRetainedWAL)
	}
	return int64(n), nil
}

// Run is called by the flag parser.
func (r *runCmd) Run(ctx context.Context, s streams) error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors()))
	log, err := newLogger(r.LogFormat, r.LogLevel, s.err)
	if err != nil {
		return err
	}
	defer func() { _ = log.Sync() }()
	source, err := r.source()
	if err != nil {
		return err
	}
	retained, err := r.maxRetained()
	if err != nil {
		return err
	}
	log.Info("awa-counterd " + version() + " on " + source.Target())
	opts := daemon.Options{
		Source: source, Schema: r.Schema, Slot: r.Slot, Publication: r.Publication, NoSetup: r.NoSetup,
		Temporary: r.SlotLifetime == "temporary", Failover: r.SlotLifetime == "failover", MaxRetained: retained,
		DryRun: r.DryRun, Trust: applier.TrustMode(r.Trust), QuietPeriod: r.QuietPeriod, MaxStaleness: r.MaxStaleness,
		FlushInterval: r.FlushInterval, CheckpointInterval: r.CheckpointInterval, AuditInterval: r.AuditInterval,
		StatusInterval: r.StatusInterval, Version: version(), Log: log,
	}
	if n := systemd.New(log); n != nil {
		opts.Supervisor = n
		defer n.Close()
	}
	if r.Listen == "" {
		return daemon.New(opts).Run(ctx)
	}
	return r.listened(ctx, opts)
}

// processors is how many Go may use at a time. The daemon does little at a time, on a machine that is the server's: with a second
// processor each thing handed on wakes another thread, which takes it from the server, and draining a backlog is no faster. $GOMAXPROCS
// has the last word.
func processors() int {
	if os.Getenv("GOMAXPROCS") != "" {
		return runtime.GOMAXPROCS(0)
	}
	return 1
}

// listened runs the daemon with a listener beside it, for as long as the daemon runs. The daemon does not wait for it: whether
// the address can be had is nothing to the counters.
func (r *runCmd) listened(ctx context.Context, opts daemon.Options) error {
	address, err := listener.ParseAddress(r.Listen)
	if err != nil {
		return &usageError{"--listen: " + err.Error()}
	}
	meter := listener.NewMeter()
	opts.Meter = meter
	d := daemon.New(opts)
	ended, end := context.WithCancel(context.WithoutCancel(ctx)) // it is answered while the daemon stops as well
	var works sync.WaitGroup
	works.Go(func() {
		l, err := listener.Listen(ended, address, listener.BindEvery, opts.Log)
		if err != nil {
			return // the daemon has ended
		}
		server, err := listener.New(l, d, meter, listener.Config{
			Version: version(), Revision: revision(), Bound: r.MaxStaleness, QuietPeriod: r.QuietPeriod, MaxRetained: opts.MaxRetained,
			Pprof: r.Pprof, ReadStatus: r.readStatus, Log: opts.Log,
		})
		if err != nil { // the page that is built in cannot be read
			opts.Log.Error("the listener has failed: page and metrics are not served any more; the counters are still corrected", zap.Error(err))
			return
		}
		server.Run(ended)
	})
	err = d.Run(ctx)
	end()
	works.Wait()
	return err
}

// readStatus reads what `awa-counterd status` reads, for the listener, without asking the daemon that leads.
func (r *runCmd) readStatus(ctx context.Context) (*status.Status, error) {
	source, err := r.source()
	if err != nil {
		return nil, err
	}
	conn, err := source.Connect(ctx, pg.Settings{Role: "status", LockTimeout: time.Second, StatementTimeout: 5 * time.Second})
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	l, err := r.layout(ctx, conn)
	if err != nil {
		return nil, err
	}
	n, _, err := inUse(ctx, conn, l.Schema, provision.Names{Slot: r.Slot})
	if err != nil {
		return nil, err
	}
	return status.ReadStored(ctx, conn, l, n.Slot, r.QuietPeriod)
}
