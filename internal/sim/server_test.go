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
	"github.com/awa-counterd/awa-counterd/internal/terminal"
)

// statements are those that the server below knows. As in awa.Layout, there is nothing to sweep where no
// counter rows are ours.
func (s shape) statements() applier.Statements {
	out := applier.Statements{
		Raise: "raise", Lower: "lower", Guard: "guard", Beat: "beat", SetMarker: "set marker", ClearMarker: "clear marker",
	}
	if s.HasBuckets() {
		out.Lower, out.Sweep = out.Raise, "sweep"
	}
	return out
}

// server carries out what applier.Writer sends, each batch as one transaction of the world. It is one
// of the two that understand upsert and update; the other is PostgreSQL, in e2e.
type server struct{ *sim }

// SendBatch implements applier.Batcher.
func (s server) SendBatch(_ context.Context, b *pgx.Batch) pgx.BatchResults {
	first := b.QueuedQueries[0]
	if first.Arguments[1].(string) != s.leader {
		return &results{rows: [][]any{nil}}
	}
	t := s.begin()
	t.tokens = []decoder.Token{{Content: first.Arguments[5].(string)}}
	answer := [][]any{{true}}
	holds := false
	for _, q := range b.QueuedQueries[1:] {
		switch q.SQL {
		case "raise", "lower":
			s.correct(t, q)
		case "sweep":
			s.sweep(t, q)
		case "set marker":
			until, _ := q.Arguments[2].(*time.Time)
			inTime := until == nil || s.now.Add(s.skew).Before(*until)
			if inTime && !s.mark {
				t.mark = new(true)
			}
			answer = append(answer, []any{inTime || s.mark})
		case "clear marker":
			if s.mark {
				t.mark = new(false)
			}
		case "beat":
			holds = q.Arguments[3].(bool)
			answer = append(answer, []any{s.now.Add(s.skew), s.snapshot().String(), s.mark, s.lsn.String()})
		default:
			s.t.Fatalf("%s", s.at("no statement of ours: %q", q.SQL))
		}
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
		g := terminal.Group{Slot: slots[i], Queue: queues[i], Priority: priorities[i], Shard: shards[i]}
		each(key{g, s.shape.own()}, deltas[i])
	}
}

// correct raises and lowers. Rows of ours may be below 0; awa's may not, and are made by raising only.
func (s server) correct(t *worldTx, q *pgx.QueuedQuery) {
	require.False(s.t, s.held, s.at("a correction while they are held back"))
	if s.eaten {
		return
	}
	s.groups(q, func(k key, delta int64) {
		v, ok := s.counters[k]
		switch {
		case s.shape.HasBuckets():
			t.counters[k] = new(v + delta)
		case q.SQL == "raise":
			require.True(s.t, ok || delta > 0, s.at("a negative correction made a row of %s", k))
			t.counters[k] = new(v + delta)
		case ok:
			t.counters[k] = new(max(0, v+delta))
		}
	})
}

// sweep deletes rows of ours that are at 0.
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
