package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/terminal"
)

// The statements that the server below knows.
var statements = applier.Statements{
	Raise: "raise", Lower: "lower", Guard: "guard", Beat: "beat", SetMarker: "set marker", ClearMarker: "clear marker",
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
	for _, q := range b.QueuedQueries[1:] {
		switch q.SQL {
		case statements.Raise, statements.Lower:
			s.correct(t, q)
		case statements.SetMarker, statements.ClearMarker:
			if set := q.SQL == statements.SetMarker; set != s.mark {
				t.mark = new(set)
			}
		case statements.Beat:
			answer = append(answer, []any{s.now.Add(s.skew), s.snapshot().String(), s.mark, s.lsn.String()})
		}
	}
	busy := len(t.counters) > 0 && s.rng.IntN(10) == 0
	if busy || !s.admit(t) {
		return &results{err: &pgconn.PgError{Code: "55P03", Message: "lock timeout"}}
	}
	s.commit(t)
	s.show(t)
	return &results{rows: answer}
}

func (s server) correct(t *worldTx, q *pgx.QueuedQuery) {
	slots, queues := q.Arguments[0].([]int32), q.Arguments[1].([]string)
	priorities, shards, deltas := q.Arguments[2].([]int16), q.Arguments[3].([]int16), q.Arguments[4].([]int64)
	for i := range slots {
		g := terminal.Group{Slot: slots[i], Queue: queues[i], Priority: priorities[i], Shard: shards[i]}
		have, ok := s.count[g]
		switch {
		case q.SQL == statements.Raise:
			t.counters[g] = new(have + deltas[i])
			if !ok && deltas[i] < 0 {
				s.t.Fatalf("%s", s.at("a negative correction made a row of %s", g))
			}
		case ok:
			t.counters[g] = new(max(0, have+deltas[i]))
		}
	}
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
