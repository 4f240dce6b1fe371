package fleet

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
)

// The server of these tests; started by the first that needs it.
var (
	server *cluster.Cluster
	start  = sync.OnceValue(func() error {
		bin, err := cluster.Obtain(context.Background(), os.Stderr)
		if err != nil {
			return err
		}
		server, err = cluster.Start(context.Background(), cluster.Options{Bin: bin, Settings: map[string]string{"track_commit_timestamp": "on"}})
		return err
	})
)

func TestMain(m *testing.M) {
	code := m.Run()
	if server != nil {
		_ = server.Close()
	}
	os.Exit(code)
}

// testDB is a database of one test.
type testDB struct {
	t    *testing.T
	db   string
	pool *pgxpool.Pool
	l    Layout
}

// empty makes a database with nothing in it.
func empty(t *testing.T) *testDB {
	t.Helper()
	require.NoError(t, start())
	s := &testDB{t: t, db: fmt.Sprintf("f%d", time.Now().UnixNano())}
	admin := connect(t, "postgres")
	_, err := admin.Exec(t.Context(), "create database "+s.db)
	require.NoError(t, err)
	s.pool, err = pgxpool.New(t.Context(), server.Socket(s.db))
	require.NoError(t, err)
	t.Cleanup(func() {
		s.pool.Close()
		_, _ = admin.Exec(context.Background(), "drop database "+s.db+" with (force)")
		_ = admin.Close(context.Background())
	})
	return s
}

// set makes a database with awa's tables.
func set(t *testing.T, l Layout) *testDB {
	t.Helper()
	s := empty(t)
	if l.Schema == "" {
		l.Schema = "awa"
	}
	if l.Slots == 0 {
		l.Slots = 4
	}
	s.l = l
	conn := connect(t, s.db)
	defer func() { _ = conn.Close(context.Background()) }()
	require.NoError(t, Install(t.Context(), conn, l))
	return s
}

func connect(t *testing.T, db string) *pgx.Conn {
	t.Helper()
	conn, err := server.Connect(t.Context(), db)
	require.NoError(t, err)
	return conn
}

// do runs one transaction of a writer.
func (s *testDB) do(counted bool, f func(tx pgx.Tx, w Writer) error) {
	s.t.Helper()
	require.NoError(s.t, Do(s.t.Context(), s.pool, func(tx pgx.Tx) error { return f(tx, s.l.Writer(counted)) }))
}

// once waits for a state of the database.
func (s *testDB) once(what string, ok func() bool) {
	s.t.Helper()
	require.Eventually(s.t, ok, 10*time.Second, 5*time.Millisecond, what)
}

func (s *testDB) exec(sql string, args ...any) {
	s.t.Helper()
	_, err := s.pool.Exec(s.t.Context(), sql, args...)
	require.NoError(s.t, err)
}

func (s *testDB) scalar(sql string, args ...any) (n int64) {
	s.t.Helper()
	require.NoError(s.t, s.pool.QueryRow(s.t.Context(), sql, args...).Scan(&n))
	return n
}

// right demands that every group is right, by bucket as well where there are buckets, and that both ways
// of reading agree.
func (s *testDB) right(queues ...string) {
	s.t.Helper()
	_, wrong, err := Compare(s.t.Context(), s.pool, s.l.Schema)
	require.NoError(s.t, err)
	require.Empty(s.t, wrong)
	if s.l.form().bucketed() {
		_, wrong, err := CompareBuckets(s.t.Context(), s.pool, s.l.Schema)
		require.NoError(s.t, err)
		require.Empty(s.t, wrong)
	}
	for _, q := range queues {
		counter, err := ReadCounter(s.t.Context(), s.pool, s.l.Schema, q)
		require.NoError(s.t, err)
		scan, err := ReadScan(s.t.Context(), s.pool, s.l.Schema, q)
		require.NoError(s.t, err)
		require.Equal(s.t, scan, counter, "readers of %s", q)
	}
}

// explained demands that every drift is what the log of uncounted changes adds up to.
func (s *testDB) explained() {
	s.t.Helper()
	c, err := found(s.t.Context(), s.pool, s.l.Schema)
	require.NoError(s.t, err)
	rows, err := s.pool.Query(s.t.Context(), fmt.Sprintf(`
		select s, q, p, h, coalesce(n - c, 0), coalesce(delta, 0)::int8 from (%[2]s) d
		full join (select ready_slot as s, queue as q, priority as p, enqueue_shard as h, sum(delta) as delta from fleet_log.uncounted_%[1]s group by 1, 2, 3, 4) l using (s, q, p, h)
		where coalesce(n - c, 0) <> coalesce(delta, 0)`, s.l.Schema, drifts(s.l.Schema, c)))
	require.NoError(s.t, err)
	var k Key
	var drift, logged int64
	_, err = pgx.ForEachRow(rows, []any{&k.Slot, &k.Queue, &k.Priority, &k.Shard, &drift, &logged}, func() error {
		s.t.Errorf("%+v: drift %d, logged %d", k, drift, logged)
		return nil
	})
	require.NoError(s.t, err)
}
