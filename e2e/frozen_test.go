package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// freeze stops a process; the kernel goes on to answer for it.
func freeze(t *testing.T, pids ...int) (thaw func()) {
	t.Helper()
	thaw = func() {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}
	t.Cleanup(thaw)
	for _, pid := range pids {
		require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	}
	return thaw
}

// Whatever a session of awa-counterd asks is bounded by the daemon's own clock, with a server that is stopped and hears of no timeout.
func TestFrozenServerIsGivenUp(t *testing.T) {
	t.Parallel()
	src, err := pg.ParseSource(ownServer(t).Socket("postgres"))
	require.NoError(t, err)
	for name, ask := range map[string]func(ctx context.Context, c *pgx.Conn) error{
		"exec": func(ctx context.Context, c *pgx.Conn) error { _, err := c.Exec(ctx, `select 1`); return err },
		"row":  func(ctx context.Context, c *pgx.Conn) error { return c.QueryRow(ctx, `select 1`).Scan(new(int)) },
		"rows": func(ctx context.Context, c *pgx.Conn) error {
			rows, err := c.Query(ctx, `select generate_series(1, 3)`)
			if err == nil {
				_, err = pgx.CollectRows(rows, pgx.RowTo[int])
			}
			return err
		},
		"batch": func(ctx context.Context, c *pgx.Conn) error {
			b := &pgx.Batch{}
			b.Queue(`select 1`)
			return c.SendBatch(ctx, b).Close()
		},
		"begin": func(ctx context.Context, c *pgx.Conn) error { _, err := c.Begin(ctx); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := src.Connect(t.Context(), pg.Settings{StatementTimeout: time.Second}) // long enough for a busy machine's ping
			require.NoError(t, err)
			defer func() { _ = conn.Close(context.Background()) }()
			require.NoError(t, conn.Ping(t.Context()))
			thaw := freeze(t, int(conn.PgConn().PID()))
			ctx, cancel := context.WithTimeout(t.Context(), pg.AnswerWithin+20*time.Second)
			defer cancel()
			require.ErrorIs(t, ask(ctx, conn), context.DeadlineExceeded)
			require.NoError(t, ctx.Err(), "it waited for as long as it was let")
			thaw()
		})
	}
}

// A server that is frozen, while its kernel answers, neither stalls a standby nor ends it: it says what it waits for, gives signs of
// life and goes on trying. So does one of whose sessions the server has frozen.
func TestStandbyOutlivesAFrozenServer(t *testing.T) {
	t.Parallel()
	c := ownServer(t)
	e := newEnvOn(t, c, fleet.Layout{Slots: 4})
	first := e.daemon("--checkpoint-interval", "200ms")
	e.marker(true, 20*time.Second)
	m := newManager(t)
	second := start(t, []string{"NOTIFY_SOCKET=" + m.at, "WATCHDOG_USEC=60000000"}, "run", "--database-url", e.url())
	second.logged("standing by", 10*time.Second)
	said := func(text string) int { return strings.Count(second.text(), text) }

	control := int(e.scalar(`select pid from pg_stat_activity where datname = current_database() and application_name = 'awa-counterd control'
		and pid not in (select pid from pg_locks where locktype = 'advisory')`))
	thaw := freeze(t, control)
	second.logged("the server does not answer", pg.AnswerWithin+10*time.Second)
	require.Eventually(t, func() bool { return said("standing by") == 2 }, 20*time.Second, 50*time.Millisecond, second.text())
	thaw()
	e.marker(true, 0)

	var all []int
	pidfile, err := os.ReadFile(filepath.Join(c.Data(), "postmaster.pid"))
	require.NoError(t, err)
	line, _, _ := strings.Cut(string(pidfile), "\n")
	postmaster, err := strconv.Atoi(line)
	require.NoError(t, err)
	rows, err := e.pool.Query(t.Context(), `select pid from pg_stat_activity where pid <> pg_backend_pid()`)
	require.NoError(t, err)
	all, err = pgx.CollectRows(rows, pgx.RowTo[int])
	require.NoError(t, err)
	thaw = freeze(t, append(all, postmaster)...)
	longest := time.Duration(0)
	over := time.Now().Add(45 * time.Second)
	m.until(time.Minute, "", func() bool {
		longest = max(longest, m.silent())
		return time.Now().After(over)
	})
	thaw()
	require.Less(t, longest, 30*time.Second, "the watchdog is near to ending a standby that lives")
	require.Contains(t, second.text(), "is not reachable: the server did not answer in time")
	e.insertAt(1, "q", 5, false)
	e.balanced(60 * time.Second)
	e.marker(true, 60*time.Second)
	for _, d := range []*daemon{first, second} {
		require.Zero(t, d.stop())
	}
}
