package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/pgoutput"
	"github.com/awa-counterd/awa-counterd/internal/terminal"
)

const (
	leafOIDs   = 1000 // and the slot
	counterOID = 2000
	ringOID    = 3000
)

var leafColumns = []string{"ready_slot", "kind", "queue", "priority", "lane_seq", "enqueue_shard", "payload"}

func worldLayout() *awa.Layout {
	l := &awa.Layout{Schema: "awa", Counters: counterOID, Ring: ringOID, HasMarker: true}
	for _, s := range worldLeaves {
		l.Leaves = append(l.Leaves, awa.Leaf{Slot: s, OID: leafOIDs + uint32(s), Name: fmt.Sprint("done_entries_", s)})
	}
	return l
}

// wire is one replication connection: it sends the WAL as pgoutput does.
type wire struct {
	world     *world
	decoder   *decoder.Decoder
	described map[uint32]bool
	columns   map[uint32][]string // each leaf has an order of its own, as old databases do
	out       [][]byte
	prefix    func(kind byte) *pgoutput.Message
}

func newWire(w *world, seed uint64) *wire {
	c := &wire{
		world: w, decoder: decoder.New(awa.NewCatalog(worldLayout()), applier.MessagePrefix),
		described: make(map[uint32]bool), columns: make(map[uint32][]string),
	}
	for _, s := range worldLeaves {
		columns := slices.Clone(leafColumns)
		rand.New(rand.NewPCG(seed, uint64(s))).Shuffle(len(columns), func(i, j int) { columns[i], columns[j] = columns[j], columns[i] })
		c.columns[leafOIDs+uint32(s)] = columns
	}
	return c
}

// read sends a record and reads it back through the decoder.
func (c *wire) read(r *record) (decoder.Tx, error) {
	c.out = c.out[:0]
	streamed := r.noise%3 == 0
	if streamed {
		c.put(pgoutput.New('S').U32(r.XID).U8(1))
		c.prefix = func(kind byte) *pgoutput.Message { return pgoutput.New(kind).U32(r.XID) }
	} else {
		c.put(pgoutput.New('B').U64(uint64(r.Commit)).U64(0).U32(r.XID))
		c.prefix = pgoutput.New
	}
	for _, t := range r.Tokens {
		c.put(c.prefix('M').U8(1).U64(uint64(r.Commit)).Str(applier.MessagePrefix).U32(uint32(len(t.Content))).Raw(t.Content))
	}
	c.changes(r)
	if streamed {
		c.savepoint(r)
		c.put(pgoutput.New('E'))
		if r.noise%2 == 0 {
			c.put(pgoutput.New('A').U32(r.XID).U32(r.XID + 1<<20))
		}
		c.put(pgoutput.New('c').U32(r.XID).U8(0).U64(uint64(r.Commit)).U64(uint64(r.End)).U64(micros(r)))
	} else {
		c.put(pgoutput.New('C').U8(0).U64(uint64(r.Commit)).U64(uint64(r.End)).U64(micros(r)))
	}
	for i, m := range c.out {
		tx, done, err := c.decoder.Decode(m)
		if err != nil {
			return tx, fmt.Errorf("message %d of transaction %d: %w", i, r.XID, err)
		}
		if done {
			return tx, nil
		}
	}
	return decoder.Tx{}, fmt.Errorf("transaction %d never ended", r.XID)
}

func micros(r *record) uint64 {
	const pgEpoch = 946684800 // 2000-01-01 in Unix seconds
	return uint64(r.CommitTime.UnixMicro() - pgEpoch*1_000_000)
}

func (c *wire) put(m *pgoutput.Message) { c.out = append(c.out, m.B) }

// describe sends a relation before its first change, and again after each truncate.
func (c *wire) describe(oid uint32) {
	if c.described[oid] {
		return
	}
	c.described[oid] = true
	m := c.prefix('R')
	switch oid {
	case counterOID:
		c.put(m.Relation(oid, "awa", "queue_terminal_live_counts", "ready_slot", "queue", "priority", "enqueue_shard", "live_terminal_count"))
	case ringOID:
		c.put(m.Relation(oid, "awa", "queue_ring_state", "singleton", "current_slot", "terminal_counter_trusted_at"))
	default:
		c.put(m.Relation(oid, "awa", fmt.Sprint("done_entries_", oid-leafOIDs), c.columns[oid]...))
	}
}

func (c *wire) changes(r *record) {
	for _, s := range r.Effect.Truncated {
		oid := leafOIDs + uint32(s)
		if r.viaRoot {
			continue
		}
		c.describe(oid)
		c.put(c.prefix('T').U32(1).U8(0).U32(oid))
		delete(c.described, oid)
	}
	for _, ch := range r.Effect.Rows {
		for range max(ch.N, -ch.N) {
			c.row(ch.Group, ch.N > 0)
		}
		if r.noise%5 == 0 { // rows that come and go again
			c.row(ch.Group, true)
			c.row(ch.Group, false)
		}
	}
	if r.Effect.CountersReset {
		c.describe(counterOID)
		c.put(c.prefix('T').U32(1).U8(0).U32(counterOID))
		delete(c.described, counterOID)
	}
	for _, ch := range r.Effect.Counters {
		c.describe(counterOID)
		key := []any{ch.Slot, ch.Queue, ch.Priority, ch.Shard}
		switch {
		case ch.Gone:
			c.put(c.prefix('D').U32(counterOID).U8('K').Tuple(append(key, nil)...))
		case r.noise%2 == 0:
			c.put(c.prefix('I').U32(counterOID).U8('N').Tuple(append(key, ch.Value)...))
		default:
			c.put(c.prefix('U').U32(counterOID).U8('N').Tuple(append(key, ch.Value)...))
		}
	}
	if r.Effect.Marker.Seen {
		c.describe(ringOID)
		var at any
		if r.Effect.Marker.Set {
			at = "2026-01-01"
		}
		c.put(c.prefix('U').U32(ringOID).U8('N').Tuple("t", 3, at))
	}
}

func (c *wire) row(g terminal.Group, in bool) {
	oid := leafOIDs + uint32(g.Slot)
	c.describe(oid)
	values := map[string]any{
		"ready_slot": g.Slot, "kind": "job", "queue": g.Queue, "priority": g.Priority, "lane_seq": 7, "enqueue_shard": g.Shard, "payload": "x",
	}
	tuple := make([]any, 0, len(leafColumns))
	for _, name := range c.columns[oid] {
		v := values[name]
		if !in && (name == "kind" || name == "payload") {
			v = nil // not in the key
		}
		tuple = append(tuple, v)
	}
	if in {
		c.put(c.prefix('I').U32(oid).U8('N').Tuple(tuple...))
	} else {
		c.put(c.prefix('D').U32(oid).U8('K').Tuple(tuple...))
	}
}

// savepoint sends what a subtransaction did that is rolled back afterwards.
func (c *wire) savepoint(r *record) {
	if r.noise%2 != 0 || len(r.Effect.Rows) == 0 {
		return
	}
	outer := c.prefix
	c.prefix = func(kind byte) *pgoutput.Message { return pgoutput.New(kind).U32(r.XID + 1<<20) }
	c.row(r.Effect.Rows[0].Group, true)
	c.prefix = outer
}
