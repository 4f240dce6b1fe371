package replication

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/awa-counterd/awa-counterd/decoder"
)

// System is what IDENTIFY_SYSTEM says.
type System struct {
	ID       string
	Timeline int32
	End      pglogrepl.LSN // the server's end of WAL
	Database string
}

// Batch is what the stream has read since the last one, in order.
type Batch struct {
	Txs []decoder.Tx
	// Idle is a keepalive position after all of Txs; 0 when there was none. Nothing that was
	// received before it is missing from Txs.
	Idle pglogrepl.LSN
}

// Stream reads one replication slot. Run owns the connection; only Acknowledge may be called beside it.
type Stream struct {
	conn     *pgconn.PgConn
	wire     *coalesce
	net      net.Conn
	front    *pgproto3.Frontend
	decoder  *decoder.Decoder
	slot     string
	end      pglogrepl.LSN // the newest end of WAL heard of
	acked    atomic.Uint64
	reported time.Time
	room     int // transactions that the last batch had: as many are expected of the next
	gather   time.Duration
}

const (
	statusInterval = time.Second
	askAfter       = 5 * time.Second  // of silence, the server is asked for a word
	giveUpAfter    = 15 * time.Second // of silence, the connection is taken for dead
	endWithin      = time.Second      // each step of ending a connection: a peer that is gone answers none
	batchSize      = 256              // transactions; keeps the reader ahead of the books without piling up
)

// ErrPastEnd refuses a position that the server has not reached.
var ErrPastEnd = errors.New("position is past the server's end of WAL")

// ErrSilent says that the server does not answer any more: the other end of the connection is gone,
// and nobody told this one.
var ErrSilent = errors.New("the server has not answered")

// ErrPublicationSkipped is PostgreSQL 18's warning that changes were silently left out.
var ErrPublicationSkipped = errors.New("the server skipped the publication")

// Open connects a walsender session.
func Open(ctx context.Context, config *pgconn.Config) (*Stream, error) {
	s := &Stream{}
	c := config.Copy()
	dial := c.DialFunc
	c.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		raw, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		s.wire = newCoalesce(raw)
		return s.wire, nil
	}
	var err error
	if s.conn, err = pgconn.ConnectConfig(ctx, c); err != nil {
		return nil, fmt.Errorf("connect for replication: %w", err)
	}
	return s, nil
}

// Gather has messages that are rare come together for so long before they are read, lest each wakes a thread. They are heard of as much later.
// It has to be called before Run; without it, or with 0, nothing is put off.
func (s *Stream) Gather(long time.Duration) { s.gather = long }

// Identify asks the server who it is.
func (s *Stream) Identify(ctx context.Context) (System, error) {
	r, err := pglogrepl.IdentifySystem(ctx, s.conn)
	if err != nil {
		return System{}, fmt.Errorf("identify the server: %w", err)
	}
	s.end = r.XLogPos
	return System{ID: r.SystemID, Timeline: r.Timeline, End: r.XLogPos, Database: r.DBName}, nil
}

// Start begins to stream from position. Identify must have been called. Protocol 2 with streaming,
// which every supported server has, brings a big transaction while it runs, not after.
func (s *Stream) Start(ctx context.Context, slot string, publications []string, position pglogrepl.LSN, d *decoder.Decoder) error {
	if position > s.end {
		return fmt.Errorf("start the stream of replication slot %s at %s, but the server ends at %s: %w", slot, position, s.end, ErrPastEnd)
	}
	names := make([]string, 0, len(publications))
	for _, p := range publications {
		names = append(names, pgx.Identifier{p}.Sanitize())
	}
	err := pglogrepl.StartReplication(ctx, s.conn, slot, position, pglogrepl.StartReplicationOptions{
		Mode: pglogrepl.LogicalReplication,
		PluginArgs: []string{
			"proto_version '2'", "streaming 'on'", "messages 'true'", fmt.Sprintf("publication_names '%s'", escape(strings.Join(names, ","))),
		},
	})
	if err != nil {
		return fmt.Errorf("start the stream of replication slot %s: %w", slot, err)
	}
	hijacked, err := s.conn.Hijack()
	if err != nil {
		return fmt.Errorf("take over the connection of replication slot %s: %w", slot, err)
	}
	s.net, s.front = hijacked.Conn, hijacked.Frontend
	s.decoder, s.slot = d, slot
	s.Acknowledge(position)
	return nil
}

// escape doubles single quotes, for a name inside a quoted option.
func escape(name string) string {
	out := make([]rune, 0, len(name))
	for _, r := range name {
		if r == '\'' {
			out = append(out, r)
		}
		out = append(out, r)
	}
	return string(out)
}

// Acknowledge says up to where everything is safely stored. It never moves back.
func (s *Stream) Acknowledge(position pglogrepl.LSN) {
	for {
		old := s.acked.Load()
		if uint64(position) <= old || s.acked.CompareAndSwap(old, uint64(position)) {
			return
		}
	}
}

// Run reads until ctx ends or the connection does, and hands batches to out.
func (s *Stream) Run(ctx context.Context, out chan<- Batch) error {
	s.wire.start(s.gather) // before anybody else may set a deadline
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		_ = s.net.SetDeadline(time.Unix(1, 0)) // wakes the read
	})
	defer stop()
	defer func() {
		if ctx.Err() != nil {
			<-woken
			s.endCopy()
		}
	}()
	var batch Batch
	if err := s.report(time.Now()); err != nil {
		return s.lost(ctx, err)
	}
	for {
		msg, err := s.front.Receive()
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded):
			if silent := now.Sub(s.wire.heard); silent > giveUpAfter {
				return s.lost(ctx, fmt.Errorf("%w for %s", ErrSilent, silent.Round(time.Second)))
			}
			if err := s.report(now); err != nil {
				return s.lost(ctx, err)
			}
			continue
		case err != nil:
			return s.lost(ctx, err)
		}
		if err := s.take(msg, &batch); err != nil {
			return err
		}
		drained := s.front.ReadBufferLen() == 0 && s.wire.buffered() == 0
		if (drained && (len(batch.Txs) > 0 || batch.Idle != 0)) || len(batch.Txs) >= batchSize {
			if err := s.deliver(ctx, out, batch); err != nil {
				return s.lost(ctx, err)
			}
			s.room, batch = len(batch.Txs), Batch{}
		}
		if now.Sub(s.reported) >= statusInterval {
			if err := s.report(now); err != nil {
				return s.lost(ctx, err)
			}
		}
	}
}

// deliver waits for the books, and keeps the server content meanwhile.
func (s *Stream) deliver(ctx context.Context, out chan<- Batch, b Batch) error {
	select {
	case out <- b:
		return nil
	default:
	}
	tick := time.NewTicker(statusInterval)
	defer tick.Stop()
	for {
		select {
		case out <- b:
			s.wire.heard = time.Now() // nobody listened meanwhile: that was no silence of the server's
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case now := <-tick.C:
			if err := s.report(now); err != nil {
				return err
			}
		}
	}
}

func (s *Stream) take(msg pgproto3.BackendMessage, batch *Batch) error {
	switch m := msg.(type) {
	case *pgproto3.CopyData:
		return s.copyData(m.Data, batch)
	case *pgproto3.ErrorResponse:
		return fmt.Errorf("%w of replication slot %s: %w", ErrStream, s.slot, pgconn.ErrorResponseToPgError(m))
	case *pgproto3.NoticeResponse:
		if skips(m) {
			return fmt.Errorf("stream of replication slot %s: %s: %w", s.slot, m.Message, ErrPublicationSkipped)
		}
	case *pgproto3.CopyDone:
		return fmt.Errorf("stream of replication slot %s: %w", s.slot, errEnded)
	}
	return nil
}

// skips reports a warning that changes are left out (ErrPublicationSkipped). A failover slot's walsender warns with the same
// code that it waits for a standby (synchronized_standby_slots): there nothing is left out. The fields that are
// looked at are the same in every language of the server's.
func skips(m *pgproto3.NoticeResponse) bool {
	if m.SeverityUnlocalized != "WARNING" || m.Routine == "StandbySlotsHaveCaughtup" {
		return false
	}
	return m.Code == "55000" || strings.Contains(m.Message, "publication")
}

// ErrUnreadable marks a message that could not be understood: reading it again will not help.
var ErrUnreadable = errors.New("unreadable")

// ErrStream marks what the server said when it ended a stream.
var ErrStream = errors.New("stream")

var errEnded = errors.New("the server ended the stream")

func (s *Stream) copyData(data []byte, batch *Batch) error {
	if len(data) == 0 {
		return fmt.Errorf("stream of replication slot %s: empty message", s.slot)
	}
	switch data[0] {
	case pglogrepl.XLogDataByteID:
		const header = 24 // start, end of WAL, clock
		if len(data) < 1+header {
			return fmt.Errorf("stream of replication slot %s: message cut short", s.slot)
		}
		// The end of WAL in here is not a position: relation messages carry 0/0.
		tx, done, err := s.decoder.Decode(data[1+header:])
		if err != nil {
			return fmt.Errorf("%w: stream of replication slot %s: %w", ErrUnreadable, s.slot, err)
		}
		if done {
			if batch.Txs == nil {
				batch.Txs = make([]decoder.Tx, 0, max(s.room, 1))
			}
			batch.Txs = append(batch.Txs, tx)
			batch.Idle = 0
			s.end = max(s.end, tx.End)
		}
	case pglogrepl.PrimaryKeepaliveMessageByteID:
		k, err := pglogrepl.ParsePrimaryKeepaliveMessage(data[1:])
		if err != nil {
			return fmt.Errorf("stream of replication slot %s: %w", s.slot, err)
		}
		s.end = max(s.end, k.ServerWALEnd)
		if !s.decoder.InTransaction() {
			batch.Idle = k.ServerWALEnd
		}
		if k.ReplyRequested {
			return s.report(time.Now())
		}
	}
	return nil
}

// report sends a standby status update and sets the time of the next one.
func (s *Stream) report(now time.Time) error {
	_ = s.net.SetWriteDeadline(now.Add(giveUpAfter))
	return s.send(now)
}

func (s *Stream) send(now time.Time) error {
	at := min(pglogrepl.LSN(s.acked.Load()), s.end)
	status := make([]byte, 0, 34)
	status = append(status, pglogrepl.StandbyStatusUpdateByteID)
	for range 3 { // written, flushed, applied: all three are what is persisted
		status = binary.BigEndian.AppendUint64(status, uint64(at))
	}
	const pgEpoch = 946684800                                                                 // 2000-01-01 in Unix seconds
	status = binary.BigEndian.AppendUint64(status, uint64(now.UnixMicro()-pgEpoch*1_000_000)) //nolint:gosec // after 2000
	ask := byte(0)
	if now.Sub(s.wire.heard) > askAfter {
		ask = 1
	}
	status = append(status, ask)
	s.front.Send(&pgproto3.CopyData{Data: status})
	if err := s.front.Flush(); err != nil {
		return fmt.Errorf("report to replication slot %s: %w", s.slot, err)
	}
	s.reported = now
	return s.net.SetReadDeadline(now.Add(statusInterval))
}

// endCopy reports the last acknowledgement on the way out and ends the stream in good order, so that
// the replication slot is free by the time we are gone. It is bounded; the connection ends either way.
func (s *Stream) endCopy() {
	_ = s.net.SetDeadline(time.Now().Add(endWithin))
	if s.send(time.Now()) != nil {
		return
	}
	s.front.Send(&pgproto3.CopyDone{})
	if s.front.Flush() != nil {
		return
	}
	_ = s.net.SetDeadline(time.Now().Add(endWithin))
	for {
		msg, err := s.front.Receive()
		if err != nil {
			return
		}
		if _, ready := msg.(*pgproto3.ReadyForQuery); ready {
			s.front.Send(&pgproto3.Terminate{})
			_ = s.front.Flush()
			return
		}
	}
}

func (s *Stream) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("stream of replication slot %s lost: %w", s.slot, err)
}

// Close ends the connection.
func (s *Stream) Close() {
	if s.net != nil {
		_ = s.net.Close()
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), endWithin)
	defer cancel()
	_ = s.conn.Close(ctx)
}
