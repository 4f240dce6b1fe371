package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/proxy"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/reconcile"
)

// Somebody's transaction holds 80 counter rows that are off. The other queues are corrected in time, and the
// leader's heartbeat goes on, so that no standby takes it for dead.
func TestHeldRowsHoldUpNobodyElse(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Direct, Slots: 4})
	d := e.daemon("--max-staleness", "2s")
	e.marker(true, 20*time.Second)
	e.exec(`insert into awa.queue_terminal_live_counts select 1, 'held' || i, 1, 0, 0 from generate_series(1, 80) i`)
	tx, err := e.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(t.Context(), `select 1 from awa.queue_terminal_live_counts where ready_slot = 1 for update`)
	require.NoError(t, err)
	e.do(false, func(tx pgx.Tx, w fleet.Writer) error {
		for i := range 80 {
			if err := w.Insert(t.Context(), tx, fleet.Key{Slot: 1, Queue: fmt.Sprintf("held%d", i+1), Priority: 1}, 1, "failed", ""); err != nil {
				return err
			}
		}
		return nil
	})
	oldest := 0.0
	for i := range 8 {
		e.do(false, func(tx pgx.Tx, w fleet.Writer) error {
			return w.Insert(t.Context(), tx, fleet.Key{Slot: 2, Queue: "free", Priority: 1}, 1, "failed", "")
		})
		ctx, cancel := contextWithin(3 * time.Second)
		e.until(ctx, func() bool {
			var age float64
			require.NoError(t, e.pool.QueryRow(ctx, `select extract(epoch from clock_timestamp() - heartbeat_at)::float8 from awa_counterd.leader`).Scan(&age))
			oldest = max(oldest, age)
			return e.scalar(`select coalesce(max(live_terminal_count), 0) from awa.queue_terminal_live_counts where queue = 'free'`) == int64(i+1)
		}, func() string { return fmt.Sprintf("write %d to another queue is not counted after 3s", i) })
		cancel()
	}
	require.Less(t, oldest, 3.0, "the heartbeat's age")
	require.NoError(t, tx.Rollback(t.Context()))
	e.balanced(3 * time.Second)
	require.Zero(t, d.stop())
}

// Corrections of both signs, and somebody who holds the last row of each of their transactions: what they hold
// meanwhile is let go of before one of awa's pruners, which wait 10 ms since 0.6.0, gives up a prune.
func TestLongestHold(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Direct, Slots: 4})
	w := e.writer("one")
	e.exec(`insert into awa.queue_terminal_live_counts select 0, 'q' || to_char(i, 'FM000'), 1, 0, 1000000 from generate_series(0, 127) i`)
	holder, err := e.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = holder.Rollback(context.Background()) }()
	_, err = holder.Exec(t.Context(), `select 1 from awa.queue_terminal_live_counts where queue in ('q126', 'q127') for update`)
	require.NoError(t, err)
	var due []applier.Correction
	for i := range 128 {
		due = append(due, applier.Correction{Group: counter.Group{Queue: fmt.Sprintf("q%03d", i), Priority: 1}, Delta: 1 - 2*int64(i%2)})
	}
	done := make(chan error, 1)
	go func() {
		for range 300 {
			for _, c := range applier.SplitIntoChunks(due, func(counter.Group) bool { return false }) {
				if err := w.Correct(context.Background(), c); !pg.IsBusy(err) {
					done <- fmt.Errorf("not put off: %w", err)
					return
				}
			}
		}
		done <- nil
	}()
	pruner := e.connect()
	tries, gaveUp, blocked, longest := 0, 0, 0, time.Duration(0)
	for {
		began := time.Now()
		_, err := pruner.Exec(t.Context(), `set lock_timeout = '10ms'; begin; select 1 from awa.queue_terminal_live_counts where queue in ('q000', 'q001') for update; rollback`)
		waited := time.Since(began)
		tries++
		if err != nil {
			require.True(t, pg.IsLockTimeout(err), err)
			_, err = pruner.Exec(t.Context(), `rollback`)
			require.NoError(t, err)
			gaveUp++
		}
		if waited > 2*time.Millisecond {
			blocked++
		}
		longest = max(longest, waited)
		select {
		case err := <-done:
			require.NoError(t, err)
			t.Logf("%d tries of a pruner, %d of them longer than 2ms, the longest %s, given up %d", tries, blocked, longest, gaveUp)
			require.Positive(t, blocked, "nothing was measured")
			require.LessOrEqual(t, gaveUp, tries/100, "pruners give up")
			return
		default:
		}
	}
}

// A scan ends by the server's clock, and behind a connection that has gone dead by the daemon's own.
func TestScansAreBounded(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Direct, Slots: 4})
	p, err := proxy.New(e.server.Address())
	require.NoError(t, err)
	t.Cleanup(p.Close)
	src, err := pg.ParseSource("postgres://postgres@" + p.Addr() + "/" + e.db + "?sslmode=disable")
	require.NoError(t, err)
	conn, err := src.Connect(t.Context(), pg.Settings{Role: "test"})
	require.NoError(t, err)
	l, err := awa.Discover(t.Context(), conn, "awa")
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
	scanner, err := reconcile.NewScanner(t.Context(), src, l, 1, 300*time.Millisecond)
	require.NoError(t, err)
	t.Cleanup(scanner.Close)
	_, err = scanner.Scan(t.Context(), 0)
	require.NoError(t, err)
	tx, err := e.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(t.Context(), `lock table awa.queue_terminal_live_counts in access exclusive mode`)
	require.NoError(t, err)
	_, err = scanner.Scan(t.Context(), 0)
	require.True(t, pg.IsBusy(err), "%v", err)
	require.NoError(t, tx.Rollback(t.Context()))
	p.HalfOpen()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // the scan's own bound is 0.6 s
	defer cancel()
	_, err = scanner.Scan(ctx, 0)
	require.Error(t, err)
	require.NoError(t, ctx.Err(), "nothing but the caller ended it")
	p.Cut()
}

// Queues come and go for months: what is remembered of their uncounted writes has an end, and the newest stay.
func TestUncountedWritesAreForgotten(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	e.writer("one")
	conn := e.connect()
	store := checkpoint.NewStore(conn, "awa", "one", checkpoint.Identity{Slot: "s", Publications: []uint32{1}, Relations: []uint32{1}})
	began := time.Now()
	for i := range 6 {
		cp := applier.Checkpoint{Before: pglogrepl.LSN(1000 * i), Position: pglogrepl.LSN(1000 * (i + 1)), Uncounted: make(map[applier.Source]applier.Uncounted)}
		for q := range 2000 {
			cp.Uncounted[applier.Source{Queue: fmt.Sprintf("q%d of %d", q, i), Kind: applier.KindRows}] = applier.Uncounted{Rows: 1, LastAt: began.Add(time.Duration(i) * time.Hour)}
		}
		require.NoError(t, store.Persist(t.Context(), cp))
	}
	require.Less(t, e.scalar(`select count(*) from awa_counterd.uncounted_writes`), int64(11_000))
	require.EqualValues(t, 2000, e.scalar(`select count(*) from awa_counterd.uncounted_writes where queue like '% of 5'`))
	require.Zero(t, e.scalar(`select count(*) from awa_counterd.uncounted_writes where queue like '% of 0'`))
}

// What is acknowledged next has to be on disk, whatever the session's own commits do.
func TestCheckpointIsDurable(t *testing.T) {
	c, err := cluster.Start(t.Context(), cluster.Options{Bin: pgBin, Settings: map[string]string{"wal_writer_delay": "10s"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	e := newEnvOn(t, c, fleet.Layout{Slots: 4})
	e.writer("one")
	src, err := pg.ParseSource(c.Socket(e.db))
	require.NoError(t, err)
	conn, err := src.Connect(t.Context(), pg.Settings{Role: "test", Async: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	store := checkpoint.NewStore(conn, "awa", "one", checkpoint.Identity{Slot: "s", Publications: []uint32{1}, Relations: []uint32{1}})
	before := applier.Checkpoint{}
	for i := range 20 {
		cp := applier.Checkpoint{Before: before.Position, Position: pglogrepl.LSN(1000 + i)}
		require.NoError(t, store.Persist(t.Context(), cp))
		before = cp
		var flushed bool
		require.NoError(t, conn.QueryRow(t.Context(), `select pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn()`).Scan(&flushed))
		require.True(t, flushed, "checkpoint %d is acknowledged, and would be lost in a crash", i)
	}
}

// Over a slow network a flush takes longer than a standby has patience. The heartbeat does not wait for its end.
func TestHeartbeatDoesNotWait(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Direct, Slots: 4})
	p, err := proxy.New(e.server.Address())
	require.NoError(t, err)
	t.Cleanup(p.Close)
	start(t, nil, "run", "--database-url", "postgres://postgres@"+p.Addr()+"/"+e.db+"?sslmode=disable", "--max-staleness", "1s")
	e.marker(true, 15*time.Second)
	p.Slow()
	e.exec(`insert into awa.queue_terminal_live_counts select 1, 'q' || i, 1, 0, 1 from generate_series(1, 8000) i`)
	oldest := 0.0
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second) // all of it is looked at
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		var age float64
		require.NoError(t, e.pool.QueryRow(t.Context(), `select extract(epoch from clock_timestamp() - heartbeat_at)::float8 from awa_counterd.leader`).Scan(&age))
		oldest = max(oldest, age)
		<-tick.C
	}
	t.Logf("the oldest heartbeat was of %.2fs", oldest)
	require.Less(t, oldest, 2.0, "a standby would have taken over")
	p.Heal()
	e.balanced(20 * time.Second)
}
