package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/corrections"
)

// writer is an corrections.Writer over a real server, for one instance that leads.
func (e *env) writer(instance string) *corrections.Writer {
	e.t.Helper()
	src, err := pg.ParseSource(e.server.Socket(e.db))
	require.NoError(e.t, err)
	conn, err := src.Connect(e.t.Context(), pg.Settings{Role: "test", LockTimeout: 250 * time.Millisecond, Async: true})
	require.NoError(e.t, err)
	e.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	require.NoError(e.t, checkpoint.Ensure(e.t.Context(), conn, "awa"))
	l, err := awa.Discover(e.t.Context(), conn, "awa")
	require.NoError(e.t, err)
	require.NoError(e.t, checkpoint.Claim(e.t.Context(), conn, "awa", checkpoint.Leader{Instance: instance}))
	return corrections.NewWriter(conn, corrections.OfLeader(l, true), instance)
}

func correct(deltas map[int32]int64) applier.Write {
	w := applier.Write{Seq: 1}
	for slot := range int32(16) {
		if d, ok := deltas[slot]; ok {
			w.Chunks = append(w.Chunks, applier.Chunk{Corrections: []applier.Correction{{Group: counter.Group{Slot: slot, Queue: "q", Priority: 1}, Delta: d}}})
		}
	}
	return w
}

// Positive corrections create rows; negative ones never do, and never leave a counter below 0.
func TestCorrections(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Direct, Slots: 4})
	w := e.writer("one")
	e.exec(`insert into awa.queue_terminal_live_counts values (0, 'q', 1, 0, 5), (1, 'q', 1, 0, 5)`)
	r, err := w.Write(t.Context(), correct(map[int32]int64{0: -3, 1: -9, 2: 4, 3: -2}), "testing")
	require.NoError(t, err)
	require.Equal(t, 4, r.Written)
	require.False(t, r.Snapshot.IsZero())
	count := func(slot int) int64 {
		return e.scalar(`select coalesce(max(live_terminal_count), -1) from awa.queue_terminal_live_counts where ready_slot = $1`, slot)
	}
	require.EqualValues(t, 2, count(0))
	require.EqualValues(t, 0, count(1), "clamped, and the row stays")
	require.EqualValues(t, 4, count(2))
	require.EqualValues(t, -1, count(3), "a negative correction made a row")
}

// Where awa has buckets, corrections go to one of the daemon's own, which may be below 0, and whose rows go when they
// come to 0.
func TestCorrectionsInABucketOfOurOwn(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	w := e.writer("one")
	e.exec(`insert into awa.queue_terminal_live_counts values (0, 'q', 1, 0, 7, 5)`)
	_, err := w.Write(t.Context(), correct(map[int32]int64{0: -3, 1: 4}), "testing")
	require.NoError(t, err)
	own := func(slot int) int64 {
		return e.scalar(`select coalesce(max(live_terminal_count), 0) from awa.queue_terminal_live_counts where ready_slot = $1 and counter_bucket = 300`, slot)
	}
	require.EqualValues(t, -3, own(0))
	require.EqualValues(t, 4, own(1))
	back := correct(map[int32]int64{0: 3, 1: -4})
	for _, c := range back.Chunks {
		c.Corrections[0].Ends = true
	}
	_, err = w.Write(t.Context(), back, "testing")
	require.NoError(t, err)
	require.EqualValues(t, 1, e.scalar(`select count(*) from awa.queue_terminal_live_counts`), "a row at 0 keeps the name of its queue in awa's metrics")
	require.EqualValues(t, 5, e.scalar(`select live_terminal_count from awa.queue_terminal_live_counts`))
}

// Corrections of both signs are cut into statements of one, and all of it is right.
func TestCorrectionsOfBothSigns(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Direct, Slots: 4})
	w := e.writer("one")
	e.exec(`insert into awa.queue_terminal_live_counts select s, 'q', p, 0, 100 from generate_series(0, 3) s, generate_series(1, 16) p`)
	var due []applier.Correction
	for slot := range int32(4) {
		for p := range int16(16) {
			delta := int64(p + 1)
			if p%3 == 0 {
				delta = -delta
			}
			due = append(due, applier.Correction{Group: counter.Group{Slot: slot, Queue: "q", Priority: p + 1}, Delta: delta})
		}
	}
	_, err := w.Write(t.Context(), applier.Write{Seq: 2, Chunks: applier.SplitIntoChunks(due, func(counter.Group) bool { return false })}, "testing")
	require.NoError(t, err)
	require.Zero(t, e.scalar(`select count(*) from awa.queue_terminal_live_counts where live_terminal_count <> 100 + case when (priority - 1) % 3 = 0 then -priority else priority end`))
}

// A row that somebody holds is put off, quickly, and the rest goes through; alone it may wait longer.
func TestLockedCorrectionsAreDeferred(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Direct, Slots: 4})
	w := e.writer("one")
	e.exec(`insert into awa.queue_terminal_live_counts values (0, 'q', 1, 0, 5), (1, 'q', 1, 0, 5)`)
	tx, err := e.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(t.Context(), `select 1 from awa.queue_terminal_live_counts where ready_slot = 0 for update`)
	require.NoError(t, err)
	began := time.Now()
	r, err := w.Write(t.Context(), correct(map[int32]int64{0: 1, 1: 1}), "testing")
	require.NoError(t, err)
	require.Less(t, time.Since(began), time.Second)
	require.Equal(t, []counter.Group{{Slot: 0, Queue: "q", Priority: 1}}, r.Deferred)
	require.Equal(t, 1, r.Written)
	require.NoError(t, tx.Rollback(t.Context()))
}

// Waits add up: a chunk as a whole is bounded, so that the rows it holds are let go of before a pruner,
// which waits 10 ms, would give up. A trigger makes every row take 10 ms here.
func TestChunkIsBoundedAsAWhole(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Direct, Slots: 4})
	w := e.writer("one")
	e.exec(`insert into awa.queue_terminal_live_counts select 0, 'q', p, 0, 5 from generate_series(1, 20) p;
		create function awa.slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.01); return new; end $$;
		create trigger slow before update on awa.queue_terminal_live_counts for each row execute function awa.slow()`)
	var chunk applier.Chunk
	for p := range int16(20) {
		chunk.Corrections = append(chunk.Corrections, applier.Correction{Group: counter.Group{Queue: "q", Priority: p + 1}, Delta: 1})
	}
	require.True(t, pg.IsBusy(w.Correct(t.Context(), chunk)))
	require.Zero(t, e.scalar(`select count(*) from awa.queue_terminal_live_counts where live_terminal_count <> 5`))
	require.NoError(t, w.Correct(t.Context(), applier.Chunk{Corrections: chunk.Corrections[:1], Patient: true}))
}

// Whoever lost the lead without noticing writes nothing more: no correction, no token, no marker.
func TestDeposedWritesNothing(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	old := e.writer("old")
	e.writer("new")
	before := e.scalar(`select pg_current_wal_insert_lsn() - '0/0'::pg_lsn`)
	_, err := old.Write(t.Context(), correct(map[int32]int64{0: 1}), "testing")
	require.ErrorIs(t, err, corrections.ErrNotLeading)
	_, err = old.Write(t.Context(), applier.Write{Seq: 3}, "testing")
	require.ErrorIs(t, err, corrections.ErrNotLeading)
	require.ErrorIs(t, old.SetMarker(t.Context(), applier.SetMarker{Seq: 4, Set: true}), corrections.ErrNotLeading)
	require.Zero(t, e.scalar(`select count(*) from awa.queue_terminal_live_counts`))
	e.marker(false, 0)
	require.Less(t, e.scalar(`select pg_current_wal_insert_lsn() - '0/0'::pg_lsn`)-before, int64(2000))
}

// What a one-shot sends does nothing once that does not hold any more on which it rests: neither the message nor the corrections
// behind it.
func TestOneShotThatComesTooLate(t *testing.T) {
	for _, shape := range []string{fleet.Direct, fleet.Ledger} {
		e := newEnv(t, fleet.Layout{Shape: shape, Slots: 4})
		conn := e.connect()
		l, err := awa.Discover(t.Context(), conn, "awa")
		require.NoError(t, err)
		columns := map[string]string{fleet.Direct: "(0, 'q', 1, 0, 5)", fleet.Ledger: "(0, 'q', 1, 0, 7, 5)"}[shape]
		e.exec(`insert into awa.queue_terminal_live_counts values ` + columns)
		sum := func() int64 {
			return e.scalar(`select sum(live_terminal_count)::int8 from awa.queue_terminal_live_counts`)
		}
		for _, delta := range []int64{4, -4} {
			chunk := applier.Chunk{Corrections: []applier.Correction{{Group: counter.Group{Queue: "q", Priority: 1}, Delta: delta}}}
			late := corrections.NewWriter(conn, corrections.OfOneShot(l, "false"), "reconcile")
			require.ErrorIs(t, late.Correct(t.Context(), chunk), corrections.ErrNotLeading)
			require.EqualValues(t, 5+max(-delta, 0), sum(), "%s %d", shape, delta)
			require.NoError(t, corrections.NewWriter(conn, corrections.OfOneShot(l, "true"), "reconcile").Correct(t.Context(), chunk))
			require.EqualValues(t, 5+max(delta, 0), sum(), "%s %d", shape, delta)
		}
	}
}

// Taking over waits for what the old leader has under way.
func TestTakingOverWaits(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	e.writer("old")
	err := pgx.BeginFunc(t.Context(), e.pool, func(tx pgx.Tx) error {
		var leads bool
		if err := tx.QueryRow(t.Context(), `select `+checkpoint.Guard(1, 2), "awa", "old").Scan(&leads); err != nil {
			return err
		}
		require.True(t, leads)
		conn, err := e.server.Connect(t.Context(), e.db)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(context.Background()) }()
		if _, err := conn.Exec(t.Context(), `set lock_timeout = '100ms'`); err != nil {
			return err
		}
		require.Error(t, checkpoint.Claim(t.Context(), conn, "awa", checkpoint.Leader{Instance: "new"}))
		return nil
	})
	require.NoError(t, err)
}
