package e2e

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/handbook"
)

var updatePages = flag.Bool("update", false, "write what the commands of the pages print into them")

// quiet stands for the ten minutes of the pages, which say so.
const quiet = "3s"

// reader is somebody who types what a page says, line by line, against a cluster of their own: database app, awa's
// tables in it, a role awa_counterd. What is not theirs to do (old workers, new ones) the page says in comments.
type reader struct {
	*env
	page     *handbook.Page
	dir      string // on the PATH, with the binary in it
	daemon   *daemon
	shown    int // lines of the daemon's log that were shown
	printed  []string
	expected int // exit code of the next command
	fleets   []*fleet.Fleet
}

// The commands of the pages are typed and do what the pages say; what they print has the lines that the pages show.
func TestHandbook(t *testing.T) {
	for _, path := range []string{"docs/runbook.md", "README.md"} {
		t.Run(filepath.Base(path), func(t *testing.T) { read(t, path) })
	}
}

func read(t *testing.T, path string) {
	p, err := handbook.Read("..", path)
	require.NoError(t, err)
	c, err := cluster.Start(t.Context(), cluster.Options{Bin: pgBin, Settings: map[string]string{"max_slot_wal_keep_size": "20GB"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	e := newNamedDatabase(t, c, "app")
	e.layout = fleet.Layout{Schema: "awa", Slots: 16, Shape: fleet.Ledger, NoCounter: true}
	conn, err := c.Connect(t.Context(), e.db)
	require.NoError(t, err)
	require.NoError(t, fleet.Install(t.Context(), conn, e.layout))
	require.NoError(t, conn.Close(context.Background()))
	e.exec(`create table awa.runtime_instances (instance_id text, version text, last_seen_at timestamptz, leader boolean)`)
	r := &reader{env: e, page: p, dir: t.TempDir()}
	require.NoError(t, os.Symlink(binary, filepath.Join(r.dir, "awa-counterd")))
	for i := 0; i < len(p.Blocks()); i++ { // an update moves what comes after
		b := p.Blocks()[i]
		r.notes(b)
		switch b.Language {
		case "sh":
			r.expect(b)
			r.enter(b)
		case "text":
			r.compare(b)
		}
	}
	for _, f := range r.fleets {
		f.Stop()
	}
	r.balanced(2 * time.Second)
}

// What the pages say to ask with psql can be asked.
func TestHandbookSQL(t *testing.T) {
	pages, err := handbook.Pages("..")
	require.NoError(t, err)
	e := newEnv(t, fleet.Layout{Slots: 4})
	e.daemon().logged("marker set", 15*time.Second)
	asked := 0
	for _, p := range pages {
		for _, b := range p.Blocks() {
			if b.Language != "sql" {
				continue
			}
			for sql := range strings.SplitSeq(strings.Join(b.Lines, "\n"), ";") {
				if sql = strings.TrimSpace(sql); strings.HasPrefix(sql, "SELECT") && !strings.Contains(sql, handbook.Omission) {
					_, err := e.pool.Exec(t.Context(), sql)
					require.NoError(t, err, "%s: %s", p.Path, sql)
					asked++
				}
			}
		}
	}
	require.Greater(t, asked, 6)
}

// notes does what the page's comments say happens meanwhile.
func (r *reader) notes(b handbook.Block) {
	for _, n := range b.Notes {
		if stage, ok := strings.CutPrefix(n, "meanwhile: "); ok {
			r.meanwhile(stage)
		}
	}
}

func (r *reader) expect(b handbook.Block) {
	r.expected = 0
	for _, n := range b.Notes {
		if code, ok := strings.CutPrefix(n, "exit code: "); ok {
			var err error
			r.expected, err = strconv.Atoi(code)
			require.NoError(r.t, err)
		}
	}
}

func (r *reader) meanwhile(stage string) {
	stop := func() {
		for _, f := range r.fleets {
			f.Stop()
		}
		r.fleets = nil
	}
	queues := []string{"billing", "email"}
	switch stage {
	case "old workers":
		r.fleets = append(r.fleets, r.fleet(fleet.Config{Pre: 2, Pause: 15 * time.Millisecond, Seed: 401, Queues: queues}))
		r.exec(`insert into awa.runtime_instances values ('old', '0.6.0-beta.1', now(), false)`)
	case "new workers beside them, and only email has old ones left":
		stop()
		r.fleets = append(r.fleets, r.fleet(fleet.Config{Pre: 1, Post: 2, Pause: 15 * time.Millisecond, Seed: 402, Queues: queues, PreQueues: queues[1:]}))
		r.exec(`insert into awa.runtime_instances values ('new', '0.6.9', now(), true)`)
		r.wait(3 * time.Second)
	case "no old workers any more":
		stop()
		r.fleets = append(r.fleets, r.fleet(fleet.Config{Post: 2, Pause: 15 * time.Millisecond, Seed: 403, Queues: queues}))
		r.exec(`delete from awa.runtime_instances where instance_id = 'old'`)
		period, err := time.ParseDuration(quiet)
		require.NoError(r.t, err)
		r.wait(period + 500*time.Millisecond)
	case "the migration was run":
		r.migrate()
	default:
		require.FailNow(r.t, "no stage of that name: "+stage)
	}
}

func (r *reader) migrate() {
	conn, err := r.server.Connect(r.t.Context(), r.db)
	require.NoError(r.t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	r.layout.NoCounter = false
	require.NoError(r.t, r.layout.Migrate(r.t.Context(), conn))
}

// environ is what a shell beside the server would have; the log is for people, as on a terminal.
func (r *reader) environ() []string {
	return append(os.Environ(),
		"PATH="+r.dir+":"+os.Getenv("PATH"), "PGHOST="+r.server.Dir, "PGPORT="+strconv.Itoa(r.server.Port), "PGUSER="+cluster.Superuser,
		"PGDATABASE="+r.db, "DATABASE_URL=", "AWA_COUNTERD_QUIET_PERIOD="+quiet, "AWA_COUNTERD_LOG_FORMAT=console")
}

// enter runs the lines of a block one after the other. A daemon goes on in the background; awa's migration is imitated.
func (r *reader) enter(b handbook.Block) {
	r.printed = nil
	for line := range strings.SplitSeq(strings.ReplaceAll(strings.Join(b.Lines, "\n"), "\\\n", " "), "\n") {
		line, _, _ = strings.Cut(line, " # ")
		line = strings.TrimSpace(line)
		if after, ok := strings.CutPrefix(line, "awa migrate"); ok {
			r.migrate()
			line = strings.TrimPrefix(after, " && ")
		}
		switch words := strings.Fields(line); {
		case line == "" || strings.HasPrefix(line, "#"):
		case words[0] == "make":
			r.make(words[1:])
		case strings.Contains(line, "awa-counterd run"):
			r.run(words)
		default:
			r.shell(line)
		}
	}
}

// make runs what takes little of the README's commands; of the rest it is enough that make knows it, since CI runs it.
func (r *reader) make(targets []string) {
	arguments := append([]string{"-C", "..", "-n"}, targets...)
	if slices.Equal(targets, []string{"demo"}) {
		arguments = []string{"-C", "..", "demo", "ARGS=-length 5s"}
	}
	out, err := exec.Command("make", arguments...).CombinedOutput()
	require.NoError(r.t, err, string(out))
}

func (r *reader) shell(line string) {
	cmd := exec.Command("sh", "-c", line)
	cmd.Env = r.environ()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	_ = cmd.Run()
	code := cmd.ProcessState.ExitCode()
	if r.page.Path == "README.md" && code == 3 && strings.HasPrefix(line, "awa-counterd doctor") {
		code = 0 // it finds a marker that nobody vouches for: what the README is about
	}
	require.Equal(r.t, r.expected, code, "%s\n%s", line, out.String())
	r.printed = append(r.printed, strings.Split(strings.TrimRight(out.String(), "\n"), "\n")...)
}

// run starts the daemon; words may begin with variables.
func (r *reader) run(words []string) {
	at := slices.Index(words, "awa-counterd")
	environ := append(r.environ(), words[:at]...)
	if r.daemon == nil {
		r.daemon = start(r.t, environ, words[at+1:]...)
		require.Eventually(r.t, func() bool {
			said := r.daemon.text()
			return strings.Contains(said, "marker set") || strings.Contains(said, "waiting for")
		}, 20*time.Second, 20*time.Millisecond, r.daemon.text())
		return
	}
	start(r.t, environ, words[at+1:]...).logged("standing by", 10*time.Second) // a second one
}

// log is the daemon's log since it was shown last, up to a message, which is waited for.
func (r *reader) log(until string) []string {
	late := time.After(20 * time.Second)
	for {
		r.daemon.mu.Lock()
		lines, more := strings.Split(r.daemon.raw.String(), "\n"), r.daemon.more
		r.daemon.mu.Unlock()
		for i := r.shown; i < len(lines); i++ {
			if strings.Contains(lines[i], until) {
				from := r.shown
				r.shown = i + 1
				return lines[from : i+1]
			}
		}
		select {
		case <-more:
		case <-late:
			require.FailNow(r.t, "the daemon did not log "+until, r.daemon.text())
		}
	}
}

// compare holds a block of output against what the commands before it printed, or against the daemon's log.
func (r *reader) compare(b handbook.Block) {
	printed := r.printed
	r.printed = nil
	for _, n := range b.Notes {
		if until, ok := strings.CutPrefix(n, "log until: "); ok {
			printed = r.log(until)
			if until != " status " {
				printed = slices.DeleteFunc(slices.Clone(printed), func(l string) bool { return strings.Contains(l, " status ") })
			} else {
				printed = printed[len(printed)-1:]
			}
		}
		if n == "not compared" {
			return
		}
	}
	if len(printed) == 0 {
		return // an example, not output
	}
	if host, err := os.Hostname(); err == nil {
		for i := range printed {
			printed[i] = strings.ReplaceAll(printed[i], host, "db1")
		}
	}
	for i := range printed {
		printed[i] = strings.NewReplacer(r.server.Dir, "/var/run/postgresql", strconv.Itoa(r.server.Port), "5432").Replace(strings.TrimRight(printed[i], " "))
	}
	renewed, missing := handbook.Renew(b.Lines, printed)
	if *updatePages {
		if !slices.Contains(b.Lines, handbook.Omission) {
			renewed, missing = printed, ""
		}
		require.Empty(r.t, missing, "it was not printed")
		require.NoError(r.t, r.page.Replace("..", b, renewed))
		return
	}
	require.Empty(r.t, missing, "%s shows a line that was not printed; go test ./e2e -run TestHandbook -update rewrites what is; printed was\n%s",
		r.page.Path, strings.Join(printed, "\n"))
}

// newNamedDatabase is a database whose name the pages show.
func newNamedDatabase(t *testing.T, c *cluster.Cluster, name string) *env {
	t.Helper()
	e := newDatabase(t, c)
	admin, err := c.Connect(t.Context(), "postgres")
	require.NoError(t, err)
	defer func() { _ = admin.Close(context.Background()) }()
	e.pool.Close()
	_, err = admin.Exec(t.Context(), fmt.Sprintf(`alter database %s rename to %s`, e.db, name))
	require.NoError(t, err)
	e.db = name
	e.pool, err = pgxpool.New(t.Context(), c.Socket(e.db))
	require.NoError(t, err)
	return e
}
