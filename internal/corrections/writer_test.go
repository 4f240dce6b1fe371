package corrections

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

func layoutOf(shape string) *awa.Layout {
	l := &awa.Layout{Schema: "awa", HasMarker: true}
	for _, s := range awa.Shapes() {
		if s.Name() == shape {
			l.Shape = s
		}
	}
	return l
}

// texts are the statements by name.
func texts(s Statements) map[string]string {
	out := map[string]string{"Set.Alone": s.Set.Alone, "Set.Noted": s.Set.Noted, "Clear.Alone": s.Clear.Alone, "Clear.Noted": s.Clear.Noted}
	for v, i := reflect.ValueOf(s), 0; i < v.NumField(); i++ {
		if f := v.Type().Field(i); f.IsExported() && f.Type.Kind() == reflect.String {
			out[f.Name] = v.Field(i).String()
		}
	}
	return out
}

// Each statement of a daemon's that writes anything but the history of a change takes effect only while its instance leads, whatever
// shape awa's counters have. The daemon's own rows at 0 are the exception: whoever deletes them, nothing is lost.
func TestStatementsOfALeaderAreFenced(t *testing.T) {
	for _, shape := range awa.Shapes() {
		all := texts(OfLeader(layoutOf(shape.Name()), true))
		require.Len(t, all, 12)
		for name, text := range all {
			switch name {
			case "DeleteZeroRows":
				require.Equal(t, shape.HasBuckets(), text != "")
				continue
			case "StillSet":
				continue // it writes nothing
			case "Withdraw":
				require.NotContains(t, text, "awa_counterd.lead g", "whoever holds the leader's row would hold it up")
				require.Contains(t, text, checkpoint.HoldsLock(1, 2))
				continue
			}
			require.Contains(t, text, map[bool]string{true: "update awa_counterd.leader", false: "awa_counterd.lead g"}[strings.HasSuffix(name, "Beat")], "%s of %s", name, shape.Name())
		}
	}
	plain := OfLeader(layoutOf("#306"), false)
	require.Empty(t, plain.Note+plain.Set.Noted+plain.Clear.Noted, "a history that this role may not write")
	l := layoutOf("#306")
	l.HasMarker = false
	require.Empty(t, OfLeader(l, true).Note)
}

func TestADryRunHasNothingToWriteWith(t *testing.T) {
	for name, text := range texts(OfDryRun(layoutOf("ledger"))) {
		require.Equal(t, strings.HasSuffix(name, "Beat"), text != "", name)
	}
}

// The one-shot works where there is no schema awa_counterd.
func TestTheOneShotNeedsNothingOfOurs(t *testing.T) {
	s := OfOneShot(layoutOf("#306"), "still so")
	for _, text := range []string{s.guard, s.Add, s.Subtract, s.Set.Alone, s.Clear.Alone} {
		require.Contains(t, text, " and still so")
	}
	require.NotContains(t, s.guard, "awa_counterd")
	for name, text := range texts(s) {
		require.NotContains(t, text, "awa_counterd", name)
	}
	require.NotEmpty(t, s.Add+s.Set.Alone)
}

// conn takes batches down, and answers with one error after the other; nil is success.
type conn struct {
	sent    [][]string
	answers []error
	kept    bool // a trigger keeps the marker set
}

func (c *conn) SendBatch(_ context.Context, b *pgx.Batch) pgx.BatchResults {
	var sql []string
	for _, q := range b.QueuedQueries {
		sql = append(sql, q.SQL)
	}
	c.sent = append(c.sent, sql)
	var err error
	if len(c.answers) > 0 {
		err, c.answers = c.answers[0], c.answers[1:]
	}
	cleared := strings.HasPrefix(sql[len(sql)-1], "select exists")
	return &answer{err: err, set: !cleared || c.kept}
}

type answer struct {
	pgx.BatchResults

	err error
	set bool
}

func (a *answer) Exec() (pgconn.CommandTag, error) { return pgconn.NewCommandTag("SELECT 1"), a.err }
func (a *answer) QueryRow() pgx.Row                { return a }
func (a *answer) Close() error                     { return a.err }
func (a *answer) Scan(dest ...any) error {
	for _, d := range dest {
		if set, ok := d.(*bool); ok {
			*set = a.set
		}
	}
	return a.err
}

// The marker is written though its history cannot be: by itself from then on, until the history can be written again.
func TestMarkerGoesWithoutItsHistory(t *testing.T) {
	sql := OfLeader(layoutOf("#306"), true)
	denied := &pgconn.PgError{Code: "42501"}
	c := &conn{answers: []error{denied, nil, denied, nil, nil, nil}}
	w := NewWriter(c, sql, "one")
	for _, cmd := range []applier.SetMarker{{Seq: 1, Set: true}, {Seq: 2}, {Seq: 3, Set: true, Until: time.Unix(9, 0)}} {
		require.NoError(t, w.SetMarker(t.Context(), cmd))
	}
	var second []string
	for _, batch := range c.sent {
		require.Len(t, batch, map[bool]int{true: 3, false: 2}[strings.Contains(batch[1], "= null")], "who clears it looks whether it is")
		second = append(second, batch[1])
	}
	require.Equal(t, []string{sql.Set.Noted, sql.Set.Alone, sql.Note, sql.Clear.Alone, sql.Note, sql.Set.Noted}, second)
}

// What the server says of a lock is an answer; anything else ends the session.
func TestChunksThatAreLocked(t *testing.T) {
	c := &conn{answers: []error{&pgconn.PgError{Code: "55P03"}, nil, errors.New("gone")}}
	w := NewWriter(c, OfLeader(layoutOf("ledger"), false), "one")
	chunk := func(delta int64, ends bool) applier.Chunk {
		return applier.Chunk{Corrections: []applier.Correction{{Group: counter.Group{Queue: "q"}, Delta: delta, Ends: ends}}}
	}
	r, err := w.Write(t.Context(), applier.Write{Seq: 1, Chunks: []applier.Chunk{chunk(1, false), chunk(-1, true)}}, "testing")
	require.ErrorContains(t, err, "write a token: gone")
	require.Equal(t, []counter.Group{{Queue: "q"}}, r.Deferred)
	require.Equal(t, 1, r.Written)
	require.Len(t, c.sent[0], 2)
	require.Len(t, c.sent[1], 3, "what comes to 0 is deleted")
	require.Contains(t, c.sent[2][1], "update awa_counterd.leader")
}

// Somebody holds the leader's row, and with it up every statement that looks who leads: the marker is cleared without.
func TestMarkerIsClearedWhoeverHoldsTheLeadersRow(t *testing.T) {
	sql := OfLeader(layoutOf("ledger"), false)
	locked := &pgconn.PgError{Code: "55P03"}
	c := &conn{answers: []error{locked, nil, locked}}
	w := NewWriter(c, sql, "one")
	require.NoError(t, w.SetMarker(t.Context(), applier.SetMarker{Seq: 1}))
	require.ErrorIs(t, w.SetMarker(t.Context(), applier.SetMarker{Seq: 2, Set: true}), locked, "to set it takes the lead")
	require.Len(t, c.sent, 3)
	require.Equal(t, []string{sql.Clear.Alone, sql.Withdraw, sql.Set.Alone}, []string{c.sent[0][1], c.sent[1][1], c.sent[2][1]})
	require.NotContains(t, c.sent[1][0], "awa_counterd.lead g")
}

// Somebody holds the marker's table: tokens, and with them corrections, go on without a look at it.
func TestTokensDoNotWaitForTheMarkersTable(t *testing.T) {
	sql := OfLeader(layoutOf("ledger"), false)
	c := &conn{answers: []error{&pgconn.PgError{Code: "55P03"}, errors.New("gone")}}
	w := NewWriter(c, sql, "one")
	r, err := w.Write(t.Context(), applier.Write{Seq: 1}, "testing")
	require.ErrorContains(t, err, "write a token: gone")
	require.True(t, r.Blind)
	require.Len(t, c.sent, 2)
	require.Equal(t, []string{sql.Beat, sql.BlindBeat}, []string{c.sent[0][1], c.sent[1][1]})
	require.NotContains(t, sql.BlindBeat, "queue_ring_state")
}

// Clearing the marker was carried out, and it is set all the same: that is not said to be cleared, whichever statement it was.
func TestMarkerIsSetAlthoughItWasCleared(t *testing.T) {
	sql := OfLeader(layoutOf("ledger"), true)
	c := &conn{kept: true, answers: []error{nil, &pgconn.PgError{Code: "55P03"}, nil}}
	w := NewWriter(c, sql, "one")
	require.ErrorIs(t, w.SetMarker(t.Context(), applier.SetMarker{Seq: 1}), applier.ErrKept)
	require.ErrorIs(t, w.SetMarker(t.Context(), applier.SetMarker{Seq: 2}), applier.ErrKept)
	require.Len(t, c.sent, 3)
	for i, second := range []string{sql.Clear.Noted, sql.Clear.Noted, sql.Withdraw} {
		require.Equal(t, []string{second, sql.StillSet}, c.sent[i][1:])
	}
}
