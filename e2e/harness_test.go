package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/process"
)

// What all tests of this package share: one server and one binary.
var (
	server *cluster.Cluster
	binary string
	pgBin  string
)

func TestMain(m *testing.M) {
	os.Exit(setUp(m))
}

func setUp(m *testing.M) int {
	ctx := context.Background()
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // under nohup what we start would ignore it, as it ought to
	dir, err := os.MkdirTemp("", "awacd-bin")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "awa-counterd")
	build := []string{"build", "-o", binary}
	if raceEnabled {
		build = append(build, "-race")
	}
	if overlay := os.Getenv("AWACD_OVERLAY"); overlay != "" { // a mutant: internal/testonly/mutants
		build = append(build, "-overlay", overlay)
	}
	if out, err := exec.Command("go", append(build, "../cmd/awa-counterd")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	if pgBin, err = cluster.Obtain(ctx, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	server, err = cluster.Start(ctx, cluster.Options{Bin: pgBin, Settings: map[string]string{
		"max_replication_slots": "40", "max_wal_senders": "40", "max_connections": "200", "max_prepared_transactions": "5", "track_commit_timestamp": "on",
	}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = server.Close() }()
	return m.Run()
}

// env is a database of one test, with awa's tables in it.
type env struct {
	t      *testing.T
	server *cluster.Cluster
	db     string
	layout fleet.Layout
	pool   *pgxpool.Pool
	roles  []string
}

func newEnv(t *testing.T, layout fleet.Layout) *env { return newEnvOn(t, server, layout) }

// ownServer is for a test that would hold up others on the one that they share: while a transaction is open that has an id, no replication
// slot gets made there, and while a backend is frozen, no database is dropped.
func ownServer(t *testing.T) *cluster.Cluster {
	t.Helper()
	c, err := cluster.Start(t.Context(), cluster.Options{Bin: pgBin})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func newEnvOn(t *testing.T, c *cluster.Cluster, layout fleet.Layout) *env {
	t.Helper()
	e := newDatabase(t, c)
	if layout.Schema == "" {
		layout.Schema = "awa"
	}
	if layout.Slots == 0 {
		layout.Slots = 16
	}
	if layout.Shape == "" { // tests that name one are about that one
		layout.Shape = os.Getenv("AWACD_SHAPE")
	}
	e.layout = layout
	conn, err := c.Connect(t.Context(), e.db)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	require.NoError(t, fleet.Install(t.Context(), conn, layout))
	return e
}

// newDatabase makes an empty database and removes it, its slots first, when the test ends.
func newDatabase(t *testing.T, c *cluster.Cluster) *env {
	t.Helper()
	e := &env{t: t, server: c, db: fmt.Sprintf("t%d", time.Now().UnixNano()), layout: fleet.Layout{Schema: "awa", Shape: os.Getenv("AWACD_SHAPE")}}
	admin, err := c.Connect(t.Context(), "postgres")
	require.NoError(t, err)
	defer func() { _ = admin.Close(context.Background()) }()
	_, err = admin.Exec(t.Context(), "create database "+e.db)
	require.NoError(t, err)
	e.pool, err = pgxpool.New(t.Context(), c.Socket(e.db))
	require.NoError(t, err)
	t.Cleanup(e.drop)
	return e
}

// connect is a connection to the test's database, a superuser's, for as long as the test takes.
func (e *env) connect() *pgx.Conn {
	e.t.Helper()
	conn, err := e.server.Connect(e.t.Context(), e.db)
	require.NoError(e.t, err)
	e.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// role makes a role that may log in, with further options, and removes it after the database.
func (e *env) role(options string) string {
	e.t.Helper()
	name := fmt.Sprintf("r%d_%s", len(e.roles), e.db)
	e.exec(fmt.Sprintf("create role %s login %s", name, options))
	e.roles = append(e.roles, name)
	return name
}

func (e *env) drop() {
	e.pool.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := e.server.Connect(ctx, "postgres")
	if err != nil {
		return // the test took the server down
	}
	defer func() { _ = conn.Close(ctx) }()
	for range 50 {
		_, _ = conn.Exec(ctx, `select pg_terminate_backend(active_pid) from pg_replication_slots where database = $1 and active`, e.db)
		_, err := conn.Exec(ctx, `select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1`, e.db)
		if err == nil {
			break
		}
		<-time.After(100 * time.Millisecond) // the walsender goes when it notices
	}
	_, _ = conn.Exec(ctx, "drop database if exists "+e.db+" with (force)")
	for _, role := range e.roles {
		_, _ = conn.Exec(ctx, "drop role if exists "+role)
	}
}

func (e *env) url() string { return e.server.URL(cluster.Superuser, "", e.db) }

func (e *env) exec(sql string, args ...any) {
	e.t.Helper()
	_, err := e.pool.Exec(context.Background(), sql, args...)
	require.NoError(e.t, err)
}

// do runs one transaction of a fleet's writer.
func (e *env) do(counted bool, f func(tx pgx.Tx, w fleet.Writer) error) {
	e.t.Helper()
	w := e.layout.Writer(counted)
	require.NoError(e.t, fleet.Do(e.t.Context(), e.pool, func(tx pgx.Tx) error { return f(tx, w) }))
}

// balanced waits until every group is right, and fails with the wrong ones when time is up.
func (e *env) balanced(within time.Duration) {
	e.t.Helper()
	ctx, cancel := contextWithin(within)
	defer cancel()
	var wrong []fleet.Wrong
	e.until(ctx, func() bool {
		_, w, err := fleet.Compare(context.Background(), e.pool, e.layout.Schema)
		require.NoError(e.t, err)
		wrong = w
		return len(w) == 0
	}, func() string {
		return fmt.Sprintf("%d groups wrong after %s, the first: %+v", len(wrong), within, wrong[0])
	})
}

// patiently is how long what waits for a daemon to get ready waits: a minute at least, since the tests run side by side on one server,
// and a replication slot is not made before each transaction has ended that any of them has open. A mutant has the server to itself,
// and is to fail soon.
func patiently(within time.Duration) time.Duration {
	if within == 0 || os.Getenv("AWACD_OVERLAY") != "" {
		return within
	}
	return max(within, time.Minute)
}

// marker waits until the marker is as wanted.
func (e *env) marker(set bool, within time.Duration) {
	e.t.Helper()
	if set {
		within = patiently(within)
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	e.until(ctx, func() bool {
		got, err := fleet.Trusted(context.Background(), e.pool, e.layout.Schema)
		require.NoError(e.t, err)
		return got == set
	}, func() string { return fmt.Sprintf("marker set=%v did not come within %s", set, within) })
}

// checkpointed waits until a daemon has stored a checkpoint, and not just the name of its slot.
func (e *env) checkpointed() {
	e.t.Helper()
	ctx, cancel := contextWithin(20 * time.Second)
	defer cancel()
	e.until(ctx, func() bool {
		return e.scalar(`select count(*) from awa_counterd.checkpoint where position > '0/0'`) == 1
	}, func() string { return "no checkpoint" })
}

// until polls a state of the database.
func (e *env) until(ctx context.Context, ok func() bool, complaint func() string) {
	e.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			require.FailNow(e.t, complaint())
		case <-tick.C:
		}
	}
}

// none waits until a query counts nothing.
func (e *env) none(count string, within time.Duration, complaint string) {
	e.t.Helper()
	ctx, cancel := contextWithin(within)
	defer cancel()
	e.until(ctx, func() bool { return e.scalar(count) == 0 }, func() string { return complaint })
}

func (e *env) scalar(sql string, args ...any) (n int64) {
	e.t.Helper()
	require.NoError(e.t, e.pool.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}

// daemon is a running awa-counterd.
type daemon struct {
	*process.Daemon
	t    *testing.T
	mu   sync.Mutex
	log  []process.Entry
	raw  strings.Builder
	more chan struct{} // closed and replaced at every line
}

// daemon starts the binary on the environment's database.
func (e *env) daemon(args ...string) *daemon {
	e.t.Helper()
	return start(e.t, nil, append([]string{"run", "--database-url", e.url(), "--status-interval", "250ms"}, args...)...)
}

func start(t *testing.T, environ []string, args ...string) *daemon {
	t.Helper()
	return startBinary(t, binary, environ, args...)
}

// startBinary is start of another build.
func startBinary(t *testing.T, binary string, environ []string, args ...string) *daemon {
	t.Helper()
	d := &daemon{t: t, more: make(chan struct{})}
	var err error
	d.Daemon, err = process.Start(binary, environ, args, d.hear)
	require.NoError(t, err)
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			t.Logf("log of %v:\n%s", args, d.text())
		}
	})
	return d
}

func (d *daemon) hear(line string, e process.Entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = append(d.log, e)
	d.raw.WriteString(line + "\n")
	close(d.more)
	d.more = make(chan struct{})
}

func (d *daemon) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.raw.String()
}

// find returns the first log entry whose message contains text.
func (d *daemon) find(text string) (process.Entry, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.log {
		if strings.Contains(e.Text(), text) {
			return e, d.more
		}
	}
	return nil, d.more
}

// logged waits for a log line.
func (d *daemon) logged(text string, within time.Duration) process.Entry {
	d.t.Helper()
	within = patiently(within)
	late := time.After(within)
	for {
		e, more := d.find(text)
		if e != nil {
			return e
		}
		select {
		case <-more:
		case <-d.Done():
			if e, _ := d.find(text); e != nil {
				return e
			}
			require.FailNow(d.t, "the daemon ended without logging "+text, d.text())
		case <-late:
			require.FailNow(d.t, fmt.Sprintf("not logged within %s: %s", within, text))
		}
	}
}

func (d *daemon) signal(s os.Signal) { d.Signal(s) }

// kill ends the daemon at once, as the kernel would.
func (d *daemon) kill() { d.Kill() }

// stop ends it gracefully and returns its exit code.
func (d *daemon) stop() int {
	d.t.Helper()
	d.signal(syscall.SIGTERM)
	return d.wait(10 * time.Second)
}

// wait waits for the end and returns the exit code.
func (d *daemon) wait(within time.Duration) int {
	d.t.Helper()
	within = patiently(within)
	select {
	case <-d.Done():
	case <-time.After(within):
		require.FailNow(d.t, fmt.Sprintf("the daemon did not end within %s", within))
	}
	return d.ExitCode()
}

// testContext shortens the signatures of operations that a test makes up.
type testContext = context.Context

// contextWithin bounds a wait for a state. Who allows seconds for it allows a daemon to lead again meanwhile; who looks for all of the
// time, or goes by how long something takes, needs context.WithTimeout.
func contextWithin(d time.Duration) (context.Context, context.CancelFunc) {
	if d >= 5*time.Second {
		d = patiently(d)
	}
	return context.WithTimeout(context.Background(), d)
}
