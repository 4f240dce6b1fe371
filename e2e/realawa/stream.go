package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// stream reads the leaves of done_entries and of the ledger from a slot of its own.
type stream struct {
	*book
	start map[string]int64 // rows by queue, as of the slot's beginning
	conn  *pgconn.PgConn
	done  chan struct{}
	err   error // once done is closed

	relations map[uint32]*pglogrepl.RelationMessage
	tx        transaction
}

const naiveSlot = "realawa_naive"

// openStream makes publications and slot, temporary, and begins to read. The ledger has no primary key:
// a publication that published its deletes would be a trap, so it has one of its own.
func openStream(ctx context.Context, url, database string, q *pgx.Conn) (*stream, error) {
	for _, sql := range []string{
		`create publication realawa_done for table awa.done_entries with (publish = 'insert, delete, truncate')`,
		`create publication realawa_ledger for table awa.queue_terminal_count_deltas with (publish = 'insert, truncate')`,
	} {
		if _, err := q.Exec(ctx, sql); err != nil {
			return nil, fmt.Errorf("publish for the naive consumer: %w", err)
		}
	}
	conn, err := pgconn.Connect(ctx, url+" replication=database application_name="+testers+" dbname="+database)
	if err != nil {
		return nil, err
	}
	s := &stream{conn: conn, done: make(chan struct{}), relations: make(map[uint32]*pglogrepl.RelationMessage)}
	slot, err := pglogrepl.CreateReplicationSlot(ctx, conn, naiveSlot, "pgoutput",
		pglogrepl.CreateReplicationSlotOptions{Temporary: true, Mode: pglogrepl.LogicalReplication, SnapshotAction: "EXPORT_SNAPSHOT"})
	if err == nil {
		s.start, err = rowsAt(ctx, q, slot.SnapshotName)
	}
	var from pglogrepl.LSN
	if err == nil {
		from, err = pglogrepl.ParseLSN(slot.ConsistentPoint)
	}
	if err == nil {
		err = pglogrepl.StartReplication(ctx, conn, naiveSlot, from, pglogrepl.StartReplicationOptions{
			PluginArgs: []string{"proto_version '1'", "publication_names 'realawa_done,realawa_ledger'"},
		})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("naive consumer: %w", err), conn.Close(context.WithoutCancel(ctx)))
	}
	s.book = newBook(maps.Clone(s.start))
	go s.read(ctx)
	return s, nil
}

// rowsAt counts rows in the slot's own snapshot, so that nothing is in both or in neither.
func rowsAt(ctx context.Context, q *pgx.Conn, snapshot string) (map[string]int64, error) {
	tx, err := q.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := tx.Exec(ctx, `set transaction snapshot '`+snapshot+`'`); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `select queue, count(*) from awa.done_entries group by 1`)
	if err != nil {
		return nil, err
	}
	out := make(map[string]int64)
	var queue string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&queue, &n}, func() error { out[queue] = n; return nil })
	return out, err
}

// close ends the stream; the slot goes with its connection.
func (s *stream) close(ctx context.Context) error {
	_ = s.conn.Close(ctx)
	<-s.done
	return s.err
}

func (s *stream) read(ctx context.Context) {
	defer close(s.done)
	answered := time.Now()
	for {
		if time.Since(answered) > time.Second {
			answered = time.Now()
			if err := pglogrepl.SendStandbyStatusUpdate(ctx, s.conn, pglogrepl.StandbyStatusUpdate{WALWritePosition: pglogrepl.LSN(s.at())}); err != nil {
				s.err = closed(err)
				return
			}
		}
		wait, cancel := context.WithTimeout(ctx, time.Second)
		msg, err := s.conn.ReceiveMessage(wait)
		cancel()
		if err != nil {
			if pgconn.Timeout(err) && ctx.Err() == nil {
				continue
			}
			s.err = closed(err)
			return
		}
		data, ok := msg.(*pgproto3.CopyData)
		if !ok {
			continue
		}
		if err := s.hear(data.Data); err != nil {
			s.err = err
			return
		}
	}
}

// closed tells a stream that we ended from one that broke.
func closed(err error) error {
	if strings.Contains(err.Error(), "closed") || errors.Is(err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("naive consumer: %w", err)
}

func (s *stream) hear(data []byte) error {
	switch data[0] {
	case pglogrepl.PrimaryKeepaliveMessageByteID:
		k, err := pglogrepl.ParsePrimaryKeepaliveMessage(data[1:])
		if err != nil {
			return err
		}
		if s.tx.groups == nil { // between transactions everything before it is in the book
			s.reached(uint64(k.ServerWALEnd))
		}
		return nil
	case pglogrepl.XLogDataByteID:
		x, err := pglogrepl.ParseXLogData(data[1:])
		if err != nil {
			return err
		}
		m, err := pglogrepl.Parse(x.WALData)
		if err != nil {
			return err
		}
		return s.enter(m)
	}
	return nil
}

func (s *stream) enter(m pglogrepl.Message) error {
	switch m := m.(type) {
	case *pglogrepl.RelationMessage:
		s.relations[m.RelationID] = m
	case *pglogrepl.BeginMessage:
		s.tx = transaction{
			at: m.CommitTime, groups: make(map[group]change), inserted: make(map[string]int64), deleted: make(map[string]int64),
			doneLeaf: make(map[int32]bool), ledgerLeaf: make(map[int32]bool),
		}
	case *pglogrepl.CommitMessage:
		s.tx.cursorAfter = uint64(m.TransactionEndLSN)
		s.take(s.tx)
		s.tx = transaction{}
	case *pglogrepl.InsertMessage:
		return s.row(m.RelationID, m.Tuple, 1)
	case *pglogrepl.DeleteMessage:
		return s.row(m.RelationID, m.OldTuple, -1)
	case *pglogrepl.TruncateMessage:
		for _, id := range m.RelationIDs {
			leaf, slot, err := s.leaf(id)
			if err != nil {
				return err
			}
			if leaf == ledgerLeaf {
				s.tx.ledgerLeaf[slot] = true
			} else {
				s.tx.doneLeaf[slot] = true
			}
		}
	}
	return nil
}

const (
	doneLeaf   = "done_entries_"
	ledgerLeaf = "queue_terminal_count_deltas_"
)

func (s *stream) leaf(relation uint32) (prefix string, slot int32, err error) {
	r, ok := s.relations[relation]
	if !ok {
		return "", 0, fmt.Errorf("naive consumer: relation %d was never described", relation)
	}
	for _, prefix := range []string{doneLeaf, ledgerLeaf} {
		if n, found := strings.CutPrefix(r.RelationName, prefix); found {
			slot, err := strconv.ParseInt(n, 10, 32)
			return prefix, int32(slot), err
		}
	}
	return "", 0, fmt.Errorf("naive consumer: no leaf: %s", r.RelationName)
}

func (s *stream) row(relation uint32, t *pglogrepl.TupleData, sign int64) error {
	prefix, slot, err := s.leaf(relation)
	if err != nil {
		return err
	}
	g, delta := group{Slot: slot}, int64(0)
	for i, c := range s.relations[relation].Columns {
		if i >= len(t.Columns) {
			break
		}
		text := string(t.Columns[i].Data)
		switch c.Name { // by name: on a database that began as an alpha, enqueue_shard is the last column
		case "queue":
			g.Queue = text
		case "priority":
			g.Priority, err = small(text, err)
		case "enqueue_shard":
			g.Shard, err = small(text, err)
		case "terminal_delta":
			delta, err = strconv.ParseInt(text, 10, 64)
		}
	}
	if err != nil {
		return fmt.Errorf("naive consumer: %w", err)
	}
	c := s.tx.groups[g]
	if prefix == ledgerLeaf {
		c.ledger += delta
	} else {
		c.rows += sign
		if sign > 0 {
			s.tx.inserted[g.Queue]++
		} else {
			s.tx.deleted[g.Queue]++
		}
	}
	s.tx.groups[g] = c
	return nil
}

func small(text string, err error) (int16, error) {
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 16)
	return int16(n), err
}
