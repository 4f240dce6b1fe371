package checkpoint

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

func loadBooks(ctx context.Context, c Conn, awaSchema string) (out counter.Packed, err error) {
	rows, err := c.Query(ctx, `select ready_slot, queue, priority, enqueue_shard, rows, pending, buckets, counts
		from awa_counterd.books where awa_schema = $1`, pgx.QueryExecModeDescribeExec, pgx.QueryResultFormats{pgx.BinaryFormatCode}, awaSchema)
	if err != nil {
		return out, fmt.Errorf("load the books: %w", err)
	}
	defer rows.Close()
	names := make(counter.Interner)
	var r bookRow
	for rows.Next() {
		h, err := r.read(rows.RawValues(), names)
		if err != nil {
			return out, fmt.Errorf("load the books: %w", err)
		}
		out.Add(&h)
	}
	if err := rows.Err(); err != nil {
		return out, fmt.Errorf("load the books: %w", err)
	}
	return out, nil
}

// bookRow is a row of the books in the binary format; what it holds is memory for the next one.
type bookRow struct {
	ids, counts []int64
	buckets     []counter.Bucket
}

// read makes a group of it, which is good until the next one.
func (r *bookRow) read(v [][]byte, names counter.Interner) (h counter.GroupCell, err error) {
	var n [6]int64
	for i := range n {
		var ok bool
		if n[i], ok = pg.Int(v[i]); !ok && i != 1 {
			return h, fmt.Errorf("column %d is no number", i+1)
		}
	}
	if r.ids, err = pg.Ints(r.ids, v[6]); err != nil {
		return h, err
	}
	if r.counts, err = pg.Ints(r.counts, v[7]); err != nil {
		return h, err
	}
	if len(r.ids) != len(r.counts) {
		return h, fmt.Errorf("%d buckets and %d values", len(r.ids), len(r.counts))
	}
	r.buckets = r.buckets[:0]
	for i, id := range r.ids {
		r.buckets = append(r.buckets, counter.Bucket{ID: int16(id), Value: r.counts[i]}) //nolint:gosec // of that type
	}
	return counter.GroupCell{
		Group: counter.Group{Slot: int32(n[0]), Queue: names.InternBytes(v[1]), Priority: int16(n[2]), Shard: int16(n[3])}, //nolint:gosec // the same
		Cell:  counter.NewCell(n[4], n[5], r.buckets...),
	}, nil
}

// groupsPerStatement bounds the groups of one statement, and with them what it takes to send it. A COPY of all of them would be quicker; but
// while the server waits for the rest of one, no timeout of its ends the transaction of a daemon that was stopped, and nobody else could lead.
const groupsPerStatement = 2048

func (s *Store) books(ctx context.Context, tx pgx.Tx, groups counter.Packed) error {
	var kept, gone columns
	flush := func() error {
		if err := s.keep(ctx, tx, &kept); err != nil {
			return err
		}
		err := s.drop(ctx, tx, &gone)
		kept, gone = columns{}, columns{}
		return err
	}
	for h := range groups.Lent() {
		if h.Empty() {
			gone.add(h)
		} else {
			kept.add(h)
		}
		if len(kept.slots)+len(gone.slots) == groupsPerStatement {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func (s *Store) keep(ctx context.Context, tx pgx.Tx, c *columns) error {
	if len(c.slots) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `
		insert into awa_counterd.books (awa_schema, ready_slot, queue, priority, enqueue_shard, rows, counter, pending, buckets, counts)
		select $1, slot, queue, priority, shard, n, counter, pending, buckets::int2[], counts::int8[]
		from unnest($2::int4[], $3::text[], $4::int2[], $5::int2[], $6::int8[], $7::int8[], $8::int8[], $9::text[], $10::text[])
			as d(slot, queue, priority, shard, n, counter, pending, buckets, counts)
		on conflict (awa_schema, ready_slot, queue, priority, enqueue_shard)
		do update set rows = excluded.rows, counter = excluded.counter, pending = excluded.pending, buckets = excluded.buckets, counts = excluded.counts`,
		s.awaSchema, c.slots, c.queues, c.priorities, c.shards, c.rows, c.counters, c.pending, c.buckets, c.counts)
	return err
}

func (s *Store) drop(ctx context.Context, tx pgx.Tx, c *columns) error {
	if len(c.slots) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `
		delete from awa_counterd.books b using unnest($2::int4[], $3::text[], $4::int2[], $5::int2[]) as d(slot, queue, priority, shard)
		where b.awa_schema = $1 and b.ready_slot = d.slot and b.queue = d.queue and b.priority = d.priority and b.enqueue_shard = d.shard`,
		s.awaSchema, c.slots, c.queues, c.priorities, c.shards)
	return err
}

// columns are groups as arrays, one a column. Buckets and counts are arrays themselves, of different
// lengths; so they go as text.
type columns struct {
	slots              []int32
	queues             []string
	priorities, shards []int16
	rows, counters     []int64
	pending            []int64
	buckets, counts    []string
}

func (c *columns) add(h *counter.GroupCell) {
	c.slots, c.queues = append(c.slots, h.Slot), append(c.queues, h.Queue)
	c.priorities, c.shards = append(c.priorities, h.Priority), append(c.shards, h.Shard)
	c.rows, c.counters, c.pending = append(c.rows, h.Rows), append(c.counters, h.Counter), append(c.pending, h.Pending)
	ids, counts := []byte{'{'}, []byte{'{'}
	for i, b := range h.Buckets() {
		if i > 0 {
			ids, counts = append(ids, ','), append(counts, ',')
		}
		ids, counts = strconv.AppendInt(ids, int64(b.ID), 10), strconv.AppendInt(counts, b.Value, 10)
	}
	c.buckets, c.counts = append(c.buckets, string(append(ids, '}'))), append(c.counts, string(append(counts, '}')))
}
