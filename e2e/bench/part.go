package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/report"
)

// part is one thing that is measured.
type part struct {
	name   string
	title  string
	rounds int           // by default
	about  time.Duration // what these take on two cores, by adding up waits and rows; for planning only
	from   []string      // the parts whose rounds it shows; none for its own
	still  bool          // no daemon runs in it: there is nothing to profile
	// begin makes what all rounds need, and returns what runs one.
	begin func(ctx context.Context, b *bed) (round, error)
	show  func(s *section, t *taken)
	page  string // the report of its own in docs/reports; "" for none
	print func(t *taken) string
}

// round runs one; n counts from 0, over broken-off runs too.
type round func(ctx context.Context, n int, p *roundResult) error

// parts are all of them, in the order of the report.
func parts() []part {
	return []part{
		drainPart(), rowsPart(), cpuPart(), stalenessPart(), loadPart(), writersPart(), bloatPart(), locksPart(), walPart(),
		oneshotPart(), startPart(), resumePart(), sizePart(), idlePart(), scrapePart(), memoryPart(), readerPart(), allocsPart(),
	}
}

// planned is what all rounds of some parts take, and what profiles of them take besides: a round of each in which a daemon runs.
func planned(all []part) (measuring, profiling time.Duration) {
	for _, p := range all {
		measuring += p.about
		if !p.still && p.rounds > 0 {
			profiling += p.about / time.Duration(p.rounds)
		}
	}
	return measuring, profiling
}

// lab is what all parts share.
type lab struct {
	daemon  string  // the binary
	bin     string  // directory of PostgreSQL's
	scale   float64 // of rows and times; 1 is the real size
	results string
	tcp     bool
	limit   string    // GOMEMLIMIT of the daemon, in part size
	server  string    // its version
	until   time.Time // no round begins after it; zero for no bound
	profile *profiler // nil for none
	commit  string    // of the binary, where it is not of this tree; else ""
}

// scaled is a number at this scale, and no less than least.
func (l *lab) scaled(n, least int) int { return max(int(float64(n)*l.scale), least) }

// lasting is a time at this scale, and no less than two seconds.
func (l *lab) lasting(d time.Duration) time.Duration {
	return max(time.Duration(float64(d)*l.scale), min(d, 2*time.Second))
}

func (l *lab) tell(text string, args ...any) { fmt.Fprintf(os.Stderr, text+"\n", args...) }

// origin of what is measured now.
func (l *lab) origin(options string) (origin, error) {
	binary, err := hash(l.daemon)
	if err != nil {
		return origin{}, fmt.Errorf("the daemon: %w (make build makes it)", err)
	}
	commit := l.commit
	if commit == "" {
		commit = report.CommitBut("docs") // where this program itself writes
	}
	return origin{
		Binary: binary, Commit: commit, Server: l.server, Go: runtime.Version(), Machine: report.Machine(), Scale: l.scale, Options: options,
	}, nil
}

// options are those of this run that a part's figures depend on.
func (l *lab) options(part string) string {
	var all []string
	if l.tcp {
		all = append(all, "tcp")
	}
	if part == "size" || part == "memory" || part == "resume" {
		all = append(all, "GOMEMLIMIT="+l.limit)
	}
	if part == "start" { // rounds from before that are of another kind
		all = append(all, "sorted")
	}
	return strings.Join(all, ",")
}

// bed is what one part works in: a server, and what has to be cleared away in the end.
type bed struct {
	*lab
	cluster *cluster.Cluster
	made    int
	undo    []func() error
}

// later has something cleared away when the part is over, the latest first.
func (b *bed) later(f func() error) { b.undo = append(b.undo, f) }

func (b *bed) close() (err error) {
	for _, f := range slices.Backward(b.undo) {
		err = errors.Join(err, f())
	}
	b.undo = nil
	return err
}

// start starts the part's server.
func (b *bed) start(ctx context.Context, settings map[string]string) error {
	c, err := cluster.Start(ctx, cluster.Options{Bin: b.bin, Settings: settings})
	if err != nil {
		return err
	}
	b.cluster = c
	b.later(c.Close)
	return nil
}

// url is how everybody who is measured connects.
func (b *bed) url(database string) string {
	if b.tcp {
		return b.cluster.URL(cluster.Superuser, "", database)
	}
	return b.cluster.Socket(database)
}

// base is a database with awa's tables in it.
type base struct {
	*bed
	name string
	fleet.Layout
	pool *pgxpool.Pool
}

const ringSlots = 16

// base makes a database of a shape under a name, or under the next free one if that is "".
func (b *bed) base(ctx context.Context, name, shape string, conns int) (*base, error) {
	if name == "" {
		b.made++
		name = fmt.Sprint("bench", b.made)
	}
	if err := b.admin(ctx, "create database "+name); err != nil {
		return nil, err
	}
	conn, err := b.cluster.Connect(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	l := fleet.Layout{Schema: "awa", Slots: ringSlots, Shape: shape}
	if err := fleet.Install(ctx, conn, l); err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(b.cluster.Socket(name))
	if err != nil {
		return nil, err
	}
	config.MaxConns = int32(conns + 2)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	return &base{bed: b, name: name, Layout: l, pool: pool}, nil
}

// admin runs statements from outside of the part's databases.
func (b *bed) admin(ctx context.Context, statements ...string) error {
	conn, err := b.cluster.Connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// drop takes the database away, with its replication slots. Who read them has ended; their walsenders may take a moment.
func (d *base) drop(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		if busy, err := one[bool](ctx, d.pool, `select exists (select 1 from pg_replication_slots where database = current_database() and active)`); err != nil || !busy {
			break
		}
		<-tick.C
	}
	d.pool.Close()
	return d.admin(ctx, fmt.Sprintf(`select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = '%s'`, d.name),
		fmt.Sprintf("drop database %s with (force)", d.name))
}

// url is how everybody who is measured connects to it.
func (d *base) url() string { return d.bed.url(d.name) }

// exec runs statements one after the other, each on its own.
func (d *base) exec(ctx context.Context, statements ...string) error {
	return d.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		for _, sql := range statements {
			if _, err := c.Exec(ctx, sql); err != nil {
				return fmt.Errorf("%.60s…: %w", strings.TrimSpace(sql), err)
			}
		}
		return nil
	})
}

// one reads one value.
func one[T any](ctx context.Context, q interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, sql string, args ...any,
) (v T, err error) {
	err = q.QueryRow(ctx, sql, args...).Scan(&v)
	return v, err
}

// sources are the parts whose rounds a part shows.
func (p part) sources() []string {
	if len(p.from) > 0 {
		return p.from
	}
	return []string{p.name}
}
