package reconcile

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/awa-counterd/awa-counterd/internal/awa"
)

// script is a transaction on a server that answers what it is told to, and keeps what it was sent. Whatever else a
// transaction can do it cannot: the test panics.
type script struct {
	pgx.Tx
	sent    []string
	answers map[string][]any // to a QueryRow, by its text; an error is one
	tables  map[string][]row // to a Query, by its text
	broken  error            // of every Exec
	refused error            // of every Query
}

func (s *script) Exec(_ context.Context, sql string, _ ...any) (pgconn.CommandTag, error) {
	s.sent = append(s.sent, sql)
	return pgconn.NewCommandTag("SELECT 1"), s.broken
}

func (s *script) Query(_ context.Context, sql string, _ ...any) (pgx.Rows, error) {
	s.sent = append(s.sent, sql)
	if s.refused != nil {
		return &table{broken: s.refused}, nil
	}
	return &table{rows: s.tables[sql]}, nil
}

func (s *script) QueryRow(_ context.Context, sql string, _ ...any) pgx.Row {
	s.sent = append(s.sent, sql)
	return row(s.answers[sql])
}

type row []any

func (r row) Scan(into ...any) error {
	if len(r) != len(into) {
		return fmt.Errorf("%d columns, %d expected", len(r), len(into))
	}
	for i, v := range r {
		if err, ok := v.(error); ok {
			return err
		}
		if v != nil { // NULL leaves a pointer as it is
			reflect.ValueOf(into[i]).Elem().Set(reflect.ValueOf(v))
		}
	}
	return nil
}

// table is what a query returns.
type table struct {
	pgx.Rows
	rows   []row
	broken error // instead of an end
	closed bool
}

func (t *table) Next() bool {
	if t.closed || len(t.rows) == 0 {
		t.closed = true
		return false
	}
	return true
}

func (t *table) Scan(into ...any) error {
	for _, p := range into { // as pgx does: a column that is NULL sets its pointer to nil
		reflect.ValueOf(p).Elem().SetZero()
	}
	next := t.rows[0]
	t.rows = t.rows[1:]
	return next.Scan(into...)
}

func (t *table) Err() error                    { return t.broken }
func (t *table) Close()                        { t.closed = true }
func (t *table) CommandTag() pgconn.CommandTag { return pgconn.CommandTag{} }

var errGone = errors.New("gone")

// layoutOf is a schema of two ring slots.
func layoutOf(shape string) *awa.Layout {
	leaf := func(n int32) awa.Leaf {
		return awa.Leaf{
			Slot: n, Partition: awa.Partition{Name: fmt.Sprintf("done_entries_%d", n), Readable: true},
			Ledger: awa.Partition{Name: fmt.Sprintf("deltas_%d", n), Readable: true},
		}
	}
	l := &awa.Layout{Schema: "awa", Leaves: []awa.Leaf{leaf(0), leaf(7)}}
	for _, s := range awa.Shapes() {
		if s.Name() == shape {
			l.Shape = s
		}
	}
	return l
}
