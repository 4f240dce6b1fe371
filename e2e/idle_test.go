package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// sessions lists the daemon's sessions by what they are for, sorted; one of them as often as there are.
func (e *env) sessions() (all []string) {
	e.t.Helper()
	rows, err := e.pool.Query(e.t.Context(), `select replace(application_name, 'awa-counterd ', '') from pg_stat_activity
		where datname = current_database() and application_name like 'awa-counterd %' order by 1`)
	require.NoError(e.t, err)
	defer rows.Close()
	for rows.Next() {
		var name string
		require.NoError(e.t, rows.Scan(&name))
		all = append(all, name)
	}
	require.NoError(e.t, rows.Err())
	return all
}

// statements counts by application what a server has logged from a place in its log on, under log_statement = all.
func statements(t *testing.T, c *cluster.Cluster, from int64) (by map[string]int, whole int64) {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(c.Dir, "log"))
	require.NoError(t, err)
	by = make(map[string]int)
	for line := range strings.Lines(string(log[from:])) {
		who, rest, ok := strings.Cut(line, "|")
		if ok && (strings.HasPrefix(rest, "LOG:  execute ") || strings.HasPrefix(rest, "LOG:  statement: ")) {
			by[strings.TrimPrefix(who, "awa-counterd ")]++
		}
	}
	return by, int64(len(log))
}

// What a daemon costs that has nothing to do: four sessions, some statements a second, and little WAL. Nobody else writes on this
// server, so the daemon need not ask the catalog what has changed.
func TestIdle(t *testing.T) {
	t.Parallel()
	c, err := cluster.Start(t.Context(), cluster.Options{Bin: pgBin, Settings: map[string]string{
		"log_statement": "all", "log_line_prefix": "%a|", "autovacuum": "off", "checkpoint_timeout": "1h",
	}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	e := newEnvOn(t, c, fleet.Layout{Shape: fleet.Ledger})
	d := e.daemon("--max-staleness", "20s", "--checkpoint-interval", "1s") // a token every 5 s
	e.marker(true, 30*time.Second)
	e.insertAt(1, "q", 5, false)
	e.balanced(10 * time.Second)
	four := []string{"control", "corrections", "marker", "stream"}
	ctx, cancel := contextWithin(time.Minute)
	defer cancel()
	e.until(ctx, func() bool { return slices.Equal(four, e.sessions()) }, func() string { return "sessions are left: " + strings.Join(e.sessions(), ", ") })

	beats := func() int64 {
		return e.scalar(`select (extract(epoch from heartbeat_at) * 1e6)::int8 from awa_counterd.leader`)
	}
	next := func() {
		last := beats()
		e.until(ctx, func() bool { return beats() != last }, func() string { return "no heartbeat" })
	}
	next()
	_, from := statements(t, c, 0)
	lsn := e.scalar(`select (pg_current_wal_insert_lsn() - '0/0')::int8`)
	began := time.Now()
	next()
	next()
	seconds := time.Since(began).Seconds()
	wal := e.scalar(`select (pg_current_wal_insert_lsn() - '0/0')::int8`) - lsn
	by, _ := statements(t, c, from)
	t.Logf("in %.1f s: %v, and %d bytes of WAL for two tokens", seconds, by, wal)
	require.Zero(t, by["checkpoint"]+by["scan"]+by["marker"])
	require.Equal(t, 4, by["corrections"], "two tokens of two statements each")
	require.LessOrEqual(t, float64(by["control"]), 4*(seconds+1)+3*20, "four statements a second, and three whole looks")
	// At --max-staleness 1m there is a token every 7 s. The server adds a record of running transactions every 15 s.
	require.Less(t, float64(wal)/2*60/7, float64(4<<10), "bytes of WAL a minute")
	require.Equal(t, four, e.sessions())

	// Whatever somebody does is noticed as ever: at the next look.
	e.exec(`alter publication awa_counterd_awa set (publish_via_partition_root = true)`)
	d.logged("publishes via the partition root", 3*time.Second)
	e.marker(false, 3*time.Second)
	e.exec(`alter publication awa_counterd_awa set (publish_via_partition_root = false)`)
	e.marker(true, 30*time.Second)
}
