package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// server carries out what corrections.Writer sends, each batch as one transaction of the world. It is one
// of the two that understand upsert and update; the other is PostgreSQL, in e2e. Each statement is judged by the conditions
// in its own text (dialect_test.go).
type server struct{ *sim }

// SendBatch implements corrections.Batcher.
func (s server) SendBatch(_ context.Context, b *pgx.Batch) pgx.BatchResults {
	t := s.begin()
	var answer [][]any
	holds := false
	for _, q := range b.QueuedQueries {
		var row []any
		k := s.sql.read(q)
		leads := s.mayRun(k, q)
		switch {
		case k.kind == setsMarker:
			set := leads && s.inTime(k, q) && !s.mark
			if set {
				t.mark = new(true)
			}
			row = []any{set || s.mark}
		case !leads:
		case k.kind == announces:
			require.Equal(s.t, applier.MessagePrefix, q.Arguments[4], s.at("no statement of awa-counterd: %q", q.SQL))
			t.tokens = []decoder.Token{{Content: q.Arguments[5].(string)}}
			row = []any{true}
		case k.kind == raises, k.kind == lowers:
			s.correct(t, q, k.kind)
		case k.kind == sweeps:
			s.sweep(t, q)
		case k.kind == clearsMarker:
			if s.mark {
				t.mark = new(false)
			}
		case k.kind == beats:
			holds = q.Arguments[3].(bool)
			row = []any{s.now.Add(s.skew), s.snapshot().String(), s.mark, s.lsn.String(), fmt.Sprint(s.xid)}
		}
		answer = append(answer, row)
	}
	if len(t.tokens)+len(t.counters) == 0 && t.mark == nil { // who writes nothing has no id
		s.xid--
		return &results{rows: answer}
	}
	busy := len(t.counters) > 0 && s.rng.IntN(10) == 0
	if busy || !s.admit(t) {
		return &results{err: &pgconn.PgError{Code: "55P03", Message: "lock timeout"}}
	}
	s.commit(t)
	s.show(t)
	s.held = s.held || (holds && s.finishing)
	for k := range t.counters {
		v, ok := s.counters[k]
		require.False(s.t, ok && v == 0 && s.shape.HasBuckets(), s.at("our counter row of %s is at 0 and stays", k))
	}
	return &results{rows: answer}
}

// groups reads the arrays of a correction.
func (s server) groups(q *pgx.QueuedQuery, each func(k key, delta int64)) {
	slots, queues := q.Arguments[0].([]int32), q.Arguments[1].([]string)
	priorities, shards, deltas := q.Arguments[2].([]int16), q.Arguments[3].([]int16), q.Arguments[4].([]int64)
	for i := range slots {
		require.Equal(s.t, slots[0], slots[i], s.at("corrections of two slots in one transaction"))
		require.Equal(s.t, deltas[0] > 0, deltas[i] > 0, s.at("corrections of two signs in one statement"))
		g := counter.Group{Slot: slots[i], Queue: queues[i], Priority: priorities[i], Shard: shards[i]}
		each(key{g, s.shape.own()}, deltas[i])
	}
}

// correct raises and lowers. The daemon's own rows may be below 0; awa's may not, and are made by raising only.
func (s server) correct(t *worldTx, q *pgx.QueuedQuery, k kind) {
	require.False(s.t, s.held, s.at("a correction while they are held back"))
	if s.eaten {
		return
	}
	s.groups(q, func(row key, delta int64) {
		v, ok := s.counters[row]
		switch {
		case s.shape.HasBuckets():
			t.counters[row] = new(v + delta)
		case k == raises:
			require.True(s.t, ok || delta > 0, s.at("a negative correction made a row of %s", row))
			t.counters[row] = new(v + delta)
		case ok:
			t.counters[row] = new(max(0, v+delta))
		}
	})
}

// sweep deletes the daemon's own rows that are at 0.
func (s server) sweep(t *worldTx, q *pgx.QueuedQuery) {
	s.groups(q, func(k key, _ int64) {
		v, ok := s.counters[k]
		if u, set := t.counters[k]; set {
			v, ok = *u, true
		}
		if ok && v == 0 {
			t.counters[k] = nil
		}
	})
}

// results answers a batch: a row a statement, nil for none.
type results struct {
	rows [][]any
	err  error
}

func (r *results) next() ([]any, error) {
	if r.err != nil {
		return nil, r.err
	}
	if len(r.rows) == 0 {
		return nil, pgx.ErrNoRows
	}
	row := r.rows[0]
	r.rows = r.rows[1:]
	return row, nil
}

func (r *results) Exec() (pgconn.CommandTag, error) {
	row, err := r.next()
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	if row == nil {
		return pgconn.NewCommandTag("SELECT 0"), nil
	}
	return pgconn.NewCommandTag("SELECT 1"), nil
}

func (r *results) Query() (pgx.Rows, error) { return nil, errors.New("not in this world") }
func (r *results) Close() error             { return r.err }
func (r *results) Tx() pgx.Tx               { return nil }

func (r *results) QueryRow() pgx.Row {
	row, err := r.next()
	if err == nil && row == nil {
		err = pgx.ErrNoRows
	}
	return answerRow{row, err}
}

type answerRow struct {
	values []any
	err    error
}

func (a answerRow) Scan(dest ...any) error {
	if a.err != nil {
		return a.err
	}
	for i, d := range dest {
		switch d := d.(type) {
		case *bool:
			*d = a.values[i].(bool)
		case *string:
			*d = a.values[i].(string)
		case *time.Time:
			*d = a.values[i].(time.Time)
		default:
			return fmt.Errorf("cannot scan into %T", d)
		}
	}
	return nil
}
