package corrections

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/base/pgsnap"
)

// ErrNotLeading says that the guard of a statement did not hold.
var ErrNotLeading = errors.New("this daemon no longer leads")

// limits bound a transaction of awa-counterd: wait is for one row lock, within for a whole statement, overdue for its answer
// after that.
type limits struct{ wait, within, overdue time.Duration }

// A plain chunk holds other rows while it waits for one, and from 0.6.0 on awa's pruner gives up a whole
// prune when it waits 10 ms for a counter row. So a chunk is one statement, bounded as a whole; a second one
// that deletes what came to 0 waits for nobody and gets its share of the bound. A patient chunk holds nothing
// while it waits. All stay below deadlock_timeout (1 s), so that a deadlock never costs one of awa's
// statements.
func correctionLimits(patient, ends bool) limits {
	switch {
	case patient:
		return limits{250 * time.Millisecond, 260 * time.Millisecond, patience}
	case ends:
		return limits{3 * time.Millisecond, 4 * time.Millisecond, patience}
	}
	return limits{3 * time.Millisecond, 7 * time.Millisecond, patience}
}

func tokenLimits() limits { return limits{250 * time.Millisecond, 5 * time.Second, patience} }

// While an answer about the marker is awaited nobody clears it, and the heartbeat, on another connection, keeps every standby
// from doing so. So one that is overdue soon ends the session, which clears it on a connection that lives.
func markerLimits() limits {
	return limits{300 * time.Millisecond, time.Second, 500 * time.Millisecond}
}

// Batcher sends a batch in one go; a *pgx.Conn is one.
type Batcher interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// Writer carries out Write and SetMarker. Each transaction is one round trip: the server needs
// nothing from us between taking a row lock and letting go of it, so that a daemon that is stopped
// in its tracks holds no lock.
type Writer struct {
	conn     Batcher
	sql      Statements
	instance string
	apart    bool // the marker's changes are remembered by statements of their own: with the marker's it failed

	// Took is told how long a transaction of corrections took, sent to answered, whether it was committed or given up:
	// an upper bound of how long it held counter rows. It is called from Write; nil for nobody.
	Took func(time.Duration)
	// Sent is told the transaction id of each token that is committed. It is called from Write; nil for nobody.
	Sent func(xid uint64)
}

// NewWriter makes a Writer over a session with asynchronous commit, on behalf of an instance: its messages in the WAL bear that
// name, and statements of a leader take effect only while it leads.
func NewWriter(conn Batcher, sql Statements, instance string) *Writer {
	return &Writer{conn: conn, sql: sql, instance: instance}
}

// Write writes the corrections of w and then its token. state is what operators read in the
// leader's row. It fails only when the session cannot go on; ErrNotLeading means that nothing was
// written.
func (w *Writer) Write(ctx context.Context, cmd applier.Write, state string) (applier.WriteResult, error) {
	r := applier.WriteResult{Seq: cmd.Seq}
	var vain time.Duration
	for _, chunk := range cmd.Chunks {
		if chunk.Alone && !chunk.Patient && vain >= mostInVain {
			r.Deferred, r.Passed = chunk.AppendGroups(r.Deferred), chunk.AppendGroups(r.Passed)
			continue
		}
		began := time.Now()
		err := w.Correct(ctx, chunk)
		if w.Took != nil && (err == nil || pg.IsBusy(err)) {
			w.Took(time.Since(began))
		}
		switch {
		case pg.IsBusy(err):
			r.Deferred = chunk.AppendGroups(r.Deferred)
			if chunk.Alone {
				vain += time.Since(began)
			}
		case err != nil:
			return r, fmt.Errorf("write corrections: %w", err)
		default:
			r.Written += len(chunk.Corrections)
		}
	}
	r.Sent = time.Now()
	err := w.token(ctx, cmd, w.sql.Beat, state, &r)
	if pg.IsBusy(err) && w.sql.BlindBeat != "" {
		// Perhaps somebody holds the marker's table. Readers wait for that as well, and are to find right counters then.
		r.Sent, r.Blind = time.Now(), true
		err = w.token(ctx, cmd, w.sql.BlindBeat, state, &r)
	}
	if pg.IsBusy(err) {
		r.Err = err
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("write a token: %w", err)
	}
	return r, nil
}

// noAnswer marks a chunk as ours without answering for anything: the token is back only when all chunks
// before it are.
const noAnswer = 0

// Correct writes one chunk in one transaction. A row that is locked for too long is an error for which
// pg.IsBusy holds; nothing was written then.
func (w *Writer) Correct(ctx context.Context, chunk applier.Chunk) error {
	var all, ended arrays
	for _, c := range chunk.Corrections {
		all.add(c.Group, c.Delta)
		if c.Ends {
			ended.add(c.Group, c.Delta)
		}
	}
	sql := w.sql.Add
	if chunk.Corrections[0].Delta < 0 {
		sql = w.sql.Subtract
	}
	b := &pgx.Batch{}
	l := correctionLimits(chunk.Patient, len(ended.slots) > 0)
	w.beginTransaction(b, noAnswer, l, "off")
	b.Queue(sql, all.slots, all.queues, all.priorities, all.shards, all.deltas, w.sql.awaSchema, w.instance)
	if len(ended.slots) > 0 && w.sql.DeleteZeroRows != "" {
		b.Queue(w.sql.DeleteZeroRows, ended.slots, ended.queues, ended.priorities, ended.shards, ended.deltas)
	}
	return w.send(ctx, b, l, nil)
}

// beginTransaction queues what every transaction of awa-counterd begins with: the guard, the token's message, and
// the limits of this transaction.
func (w *Writer) beginTransaction(b *pgx.Batch, seq uint64, l limits, durability string) {
	w.beginWhere(b, w.sql.guard, seq, l, durability)
}

func (w *Writer) beginWhere(b *pgx.Batch, guard string, seq uint64, l limits, durability string) {
	b.Queue(`select set_config('lock_timeout', $3, true), set_config('synchronous_commit', $4, true),
		set_config('statement_timeout', $7, true), pg_logical_emit_message(true, $5, $6) where `+guard,
		w.sql.awaSchema, w.instance, fmt.Sprint(l.wait.Milliseconds()), durability, applier.MessagePrefix, applier.Token(w.instance, seq), fmt.Sprint(l.within.Milliseconds()))
}

// mostInVain is how much a write may lose to rows that were found locked before, besides those with which it has patience.
const mostInVain = 500 * time.Millisecond

// patience is how long most answers may be overdue. Behind a half-open connection no timeout of the
// server's is ever heard of; the connection is closed then, and the session with it.
const patience = 10 * time.Second

// send runs a batch that begins with beginTransaction, as one transaction. answer reads what the statements behind that yield;
// nil where it is nothing.
func (w *Writer) send(ctx context.Context, b *pgx.Batch, l limits, answer func(pgx.BatchResults) error) error {
	ctx, cancel := context.WithTimeout(ctx, l.within+l.overdue)
	defer cancel()
	br := w.conn.SendBatch(ctx, b)
	tag, err := br.Exec()
	leads := err == nil && tag.RowsAffected() == 1
	if err == nil && answer != nil {
		err = answer(br)
	}
	if closed := br.Close(); err == nil {
		err = closed
	}
	if !leads && (err == nil || errors.Is(err, pgx.ErrNoRows)) {
		return ErrNotLeading
	}
	return err
}

// token commits durably: that pushes the WAL of the corrections before it out to the stream. With
// "local" it does not wait for a synchronous standby, which might never answer.
func (w *Writer) token(ctx context.Context, cmd applier.Write, beat, state string, r *applier.WriteResult) error {
	b := &pgx.Batch{}
	w.beginTransaction(b, cmd.Seq, tokenLimits(), "local")
	b.Queue(beat, w.sql.awaSchema, w.instance, state, cmd.Holds)
	var snapshot, insert, id string
	err := w.send(ctx, b, tokenLimits(), func(br pgx.BatchResults) error {
		return br.QueryRow().Scan(&r.Server, &snapshot, &r.Marker, &insert, &id)
	})
	if err != nil {
		return err
	}
	if xid, err := strconv.ParseUint(id, 10, 64); err == nil && w.Sent != nil {
		w.Sent(xid)
	}
	if r.Insert, err = pglogrepl.ParseLSN(insert); err != nil {
		return err
	}
	r.Snapshot, err = pgsnap.Parse(snapshot)
	return err
}

// SetMarker sets or clears the trust marker in a tiny transaction of its own: its row is the one
// that rotate and prune lock. A busy row is an error for which pg.IsBusy holds.
//
// The same statement remembers the change. That is history: what keeps it from being written must not keep the marker from
// being cleared. So after a failure the marker is written first, by itself, until that can be remembered again.
func (w *Writer) SetMarker(ctx context.Context, cmd applier.SetMarker) error {
	cmd.Reason = pg.Storable(cmd.Reason)
	remembers := w.sql.Note != ""
	err := w.mark(ctx, cmd, remembers && !w.apart)
	if _, failed := errors.AsType[*pgconn.PgError](err); failed && remembers && !w.apart {
		w.apart = true
		if !pg.IsBusy(err) { // a lock may as well be on the marker: that is tried again by who asks
			err = w.mark(ctx, cmd, false)
		}
	}
	if pg.IsBusy(err) && !cmd.Set && w.sql.Withdraw != "" {
		err = w.withdraw(ctx, cmd.Seq)
	}
	if err != nil {
		return fmt.Errorf("write the marker: %w", err)
	}
	if w.apart {
		w.apart = w.note(ctx, cmd.Reason) != nil
	}
	return nil
}

// withdraw clears the marker while somebody holds the leader's row, perhaps, on which the guard waits, and not the marker's. That this
// daemon leads shows by its locks.
func (w *Writer) withdraw(ctx context.Context, seq uint64) error {
	b := &pgx.Batch{}
	l := markerLimits()
	w.beginWhere(b, checkpoint.HoldsLock(1, 2), seq, l, "local")
	b.Queue(w.sql.Withdraw, w.sql.awaSchema, w.instance)
	return w.sendClearing(ctx, b, l)
}

// sendClearing sends a batch whose second statement clears the marker, and looks what became of it.
func (w *Writer) sendClearing(ctx context.Context, b *pgx.Batch, l limits) error {
	if w.sql.StillSet == "" {
		return w.send(ctx, b, l, nil)
	}
	b.Queue(w.sql.StillSet)
	set := false
	err := w.send(ctx, b, l, func(br pgx.BatchResults) error {
		if _, err := br.Exec(); err != nil {
			return err
		}
		return br.QueryRow().Scan(&set)
	})
	if err == nil && set {
		err = applier.ErrKept
	}
	return err
}

// note remembers a change of the marker by itself.
func (w *Writer) note(ctx context.Context, reason string) error {
	l := markerLimits()
	ctx, cancel := context.WithTimeout(ctx, l.within+l.overdue)
	defer cancel()
	b := &pgx.Batch{}
	b.Queue(`select set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true)`, fmt.Sprint(l.wait.Milliseconds()), fmt.Sprint(l.within.Milliseconds()))
	b.Queue(w.sql.Note, w.sql.awaSchema, w.instance, reason)
	return w.conn.SendBatch(ctx, b).Close()
}

// mark writes the marker; noted, together with its history.
func (w *Writer) mark(ctx context.Context, cmd applier.SetMarker, noted bool) error {
	b := &pgx.Batch{}
	l := markerLimits()
	w.beginTransaction(b, cmd.Seq, l, "local")
	change, args := w.sql.Clear, []any{w.sql.awaSchema, w.instance}
	if cmd.Set {
		change, args = w.sql.Set, append(args, pg.OrNull(cmd.Until))
	}
	if noted {
		b.Queue(change.Noted, append(args, cmd.Reason)...)
	} else {
		b.Queue(change.Alone, args...)
	}
	if !cmd.Set {
		return w.sendClearing(ctx, b, l)
	}
	set := false
	err := w.send(ctx, b, l, func(br pgx.BatchResults) error { return br.QueryRow().Scan(&set) })
	if err == nil && !set {
		err = applier.ErrTooLate
	}
	return err
}

type arrays struct {
	slots      []int32
	queues     []string
	priorities []int16
	shards     []int16
	deltas     []int64
}

func (a *arrays) add(g counter.Group, delta int64) {
	a.slots, a.queues = append(a.slots, g.Slot), append(a.queues, g.Queue)
	a.priorities, a.shards = append(a.priorities, g.Priority), append(a.shards, g.Shard)
	a.deltas = append(a.deltas, delta)
}
