package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/testonly/pgoutputtest"
)

// table is a relation as the wire sends it.
type table struct {
	name    string
	columns []string
}

// Names that awa gives its columns.
const (
	cSlot, cQueue, cPriority, cShard = "ready_slot", "queue", "priority", "enqueue_shard"
	cBucket, cCount                  = "counter_bucket", "live_terminal_count"
	cMarker                          = "terminal_counter_trusted_at"
)

// keys are the columns that a DELETE carries.
var keys = []string{cSlot, cQueue, cPriority, cShard, cBucket, "lane_seq"}

// tables lists the relations. Each has an order of columns of its own, as old databases do.
func (s shape) tables(seed uint64) map[uint32]*table {
	counters := []string{cSlot, cQueue, cPriority, cShard, cCount}
	if s.HasBuckets() {
		counters = append(counters, cBucket)
	}
	rollups := []string{cQueue, cPriority, "pruned_completed_count"}
	if s.receipts {
		rollups = append(rollups, "pruned_failed_count")
	}
	out := map[uint32]*table{
		counterOID:      {"queue_terminal_live_counts", counters},
		ringOID:         {"queue_ring_state", []string{"singleton", "current_slot", cMarker}},
		rollupOID:       {"queue_terminal_rollups", rollups},
		rollupDeltasOID: {"queue_terminal_rollup_deltas", []string{cQueue, cPriority, "pruned_completed_delta", "pruned_failed_delta", "recorded_at"}},
	}
	for _, l := range s.layout().Leaves {
		out[l.OID] = &table{l.Name, []string{cSlot, "kind", cQueue, cPriority, "lane_seq", cShard, "payload"}}
		if s.HasLedger() {
			out[l.Ledger.OID] = &table{l.Ledger.Name, []string{
				cSlot, "ready_generation", cQueue, cPriority, cShard, cBucket, "terminal_delta", "recorded_at",
			}}
		}
	}
	for oid, t := range out {
		rand.New(rand.NewPCG(seed, uint64(oid))).Shuffle(len(t.columns), func(i, j int) { t.columns[i], t.columns[j] = t.columns[j], t.columns[i] })
	}
	return out
}

// wire is one replication connection: it sends the WAL as pgoutput does.
type wire struct {
	decoder   *decoder.Decoder
	described map[uint32]bool
	tables    map[uint32]*table
	out       [][]byte
	prefix    func(kind byte) *pgoutputtest.Message
}

func newWire(s shape, seed uint64) *wire {
	return &wire{
		decoder:   decoder.New(awa.NewCatalog(s.layout()), applier.MessagePrefix),
		described: make(map[uint32]bool), tables: s.tables(seed),
	}
}

// read sends a record and reads it back through the decoder.
func (c *wire) read(r *record) (decoder.Tx, error) {
	c.out = c.out[:0]
	xid := uint32(r.xid)
	streamed := r.noise%3 == 0
	if streamed {
		c.put(pgoutputtest.New('S').U32(xid).U8(1))
		c.prefix = func(kind byte) *pgoutputtest.Message { return pgoutputtest.New(kind).U32(xid) }
	} else {
		c.put(pgoutputtest.New('B').U64(uint64(r.commit)).U64(0).U32(xid))
		c.prefix = pgoutputtest.New
	}
	for _, t := range r.tokens {
		c.put(c.prefix('M').U8(1).U64(uint64(r.commit)).Str(applier.MessagePrefix).U32(uint32(len(t.Content))).Raw(t.Content))
	}
	c.changes(r)
	if streamed {
		c.savepoint(r)
		c.put(pgoutputtest.New('E'))
		if r.noise%2 == 0 {
			c.put(pgoutputtest.New('A').U32(xid).U32(xid + 1<<20))
		}
		c.put(pgoutputtest.New('c').U32(xid).U8(0).U64(uint64(r.commit)).U64(uint64(r.end)).U64(micros(r)))
	} else {
		c.put(pgoutputtest.New('C').U8(0).U64(uint64(r.commit)).U64(uint64(r.end)).U64(micros(r)))
	}
	for i, m := range c.out {
		tx, done, err := c.decoder.Decode(m)
		if err != nil {
			return tx, fmt.Errorf("message %d of transaction %d: %w", i, xid, err)
		}
		if done {
			return tx, nil
		}
	}
	return decoder.Tx{}, fmt.Errorf("transaction %d never ended", xid)
}

func micros(r *record) uint64 {
	const pgEpoch = 946684800 // 2000-01-01 in Unix seconds
	return uint64(r.at.UnixMicro() - pgEpoch*1_000_000)
}

func (c *wire) put(m *pgoutputtest.Message) { c.out = append(c.out, m.B) }

// describe sends a relation before its first change, and again after each truncate.
func (c *wire) describe(oid uint32) {
	if !c.described[oid] {
		c.described[oid] = true
		t := c.tables[oid]
		c.put(c.prefix('R').Relation(oid, "awa", t.name, t.columns...))
	}
}

// change sends one row: an INSERT or UPDATE of the whole, a DELETE of the key.
func (c *wire) change(kind byte, oid uint32, values map[string]any) {
	c.describe(oid)
	columns := c.tables[oid].columns
	tuple := make([]any, 0, len(columns))
	for _, name := range columns {
		v := values[name]
		if kind == 'D' && !slices.Contains(keys, name) {
			v = nil
		}
		tuple = append(tuple, v)
	}
	part := byte('N')
	if kind == 'D' {
		part = 'K'
	}
	c.put(c.prefix(kind).U32(oid).U8(part).Tuple(tuple...))
}

func (k key) values(more map[string]any) map[string]any {
	out := map[string]any{cSlot: k.Slot, cQueue: k.Queue, cPriority: k.Priority, cShard: k.Shard, cBucket: k.bucket}
	maps.Copy(out, more)
	return out
}

// changes sends what a transaction did. Statements of different tables come in any order; but who truncates
// the counters fills them afterwards.
func (c *wire) changes(r *record) {
	parts := []func(*record){c.rows, c.pending, c.truncate, c.counters, c.rollups, c.ring}
	rng := rand.New(rand.NewPCG(r.noise, 0))
	rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	if r.reset {
		c.truncate(r)
	}
	again := *r
	if r.reset {
		again.worldTx = new(worldTx)
		*again.worldTx = *r.worldTx
		again.truncated, again.emptied, again.reset, again.forgets = nil, nil, false, false
	}
	for _, part := range parts {
		part(&again)
	}
}

// truncate is one statement, and one message.
func (c *wire) truncate(r *record) {
	var oids []uint32
	if r.reset {
		oids = append(oids, counterOID)
	}
	if !r.viaRoot.rows {
		for _, s := range r.truncated {
			oids = append(oids, leafOIDs+uint32(s))
		}
	}
	if !r.viaRoot.ledger {
		for _, s := range r.emptied {
			oids = append(oids, ledgerOIDs+uint32(s))
		}
	}
	if r.forgets {
		oids = append(oids, rollupOID)
	}
	if len(oids) == 0 {
		return
	}
	if r.noise%2 == 0 {
		slices.Reverse(oids)
	}
	for _, oid := range oids {
		c.describe(oid)
	}
	m := c.prefix('T').U32(uint32(len(oids))).U8(0)
	for _, oid := range oids {
		m.U32(oid)
		delete(c.described, oid)
	}
	c.put(m)
}

func (c *wire) rows(r *record) {
	for _, k := range ordered(r.rows, key.compare) {
		n := r.rows[k]
		for range max(n, -n) {
			c.row(k, n > 0)
		}
		if r.noise%5 == 0 { // rows that come and go again
			c.row(k, true)
			c.row(k, false)
		}
	}
}

func (c *wire) row(k key, in bool) {
	kind := byte('D')
	if in {
		kind = 'I'
	}
	c.change(kind, leafOIDs+uint32(k.Slot), k.values(map[string]any{"kind": "job", "lane_seq": 7, "payload": "x"}))
}

func (c *wire) pending(r *record) {
	for _, d := range ordered(r.pending, delta.compare) {
		n := r.pending[d]
		if r.noise%5 == 1 { // in two rows
			c.delta(d, n+3)
			n = -3
		}
		c.delta(d, n)
	}
}

func (c *wire) delta(d delta, n int64) {
	c.change('I', ledgerOIDs+uint32(d.Slot), d.values(map[string]any{"ready_generation": d.generation, "terminal_delta": n, "recorded_at": "2026-01-01"}))
}

func (c *wire) counters(r *record) {
	for _, k := range ordered(r.counters, key.compare) {
		v := r.counters[k]
		if r.noise%7 == 0 { // written twice; the last value counts
			c.counter('U', k, 77)
		}
		switch {
		case v == nil:
			c.counter('D', k, 0)
		case r.noise%2 == 0:
			c.counter('I', k, *v)
		default:
			c.counter('U', k, *v)
		}
	}
}

func (c *wire) counter(kind byte, k key, v int64) {
	c.change(kind, counterOID, k.values(map[string]any{cCount: v}))
}

func (c *wire) rollups(r *record) {
	values := func(to rollup, suffix string, j jobs) map[string]any {
		return map[string]any{cQueue: to.queue, cPriority: to.priority, "pruned_completed" + suffix: j.completed, "pruned_failed" + suffix: j.failed}
	}
	for _, to := range ordered(r.totals, rollup.compare) {
		kind := byte('U')
		if r.totals[to].fresh {
			kind = 'I'
		}
		c.change(kind, rollupOID, values(to, "_count", r.totals[to].jobs))
	}
	for _, to := range ordered(r.folded, rollup.compare) {
		c.change('I', rollupDeltasOID, values(to, "_delta", r.folded[to]))
	}
}

func (c *wire) ring(r *record) {
	if r.mark == nil {
		return
	}
	var at any
	if *r.mark {
		at = "2026-01-01"
	}
	c.change('U', ringOID, map[string]any{"singleton": "t", "current_slot": 3, cMarker: at})
}

// savepoint sends what a subtransaction did that is rolled back afterwards.
func (c *wire) savepoint(r *record) {
	if r.noise%2 != 0 {
		return
	}
	outer := c.prefix
	c.prefix = func(kind byte) *pgoutputtest.Message { return pgoutputtest.New(kind).U32(uint32(r.xid) + 1<<20) }
	for _, k := range ordered(r.rows, key.compare)[:min(1, len(r.rows))] {
		c.row(k, true)
	}
	for _, d := range ordered(r.pending, delta.compare)[:min(1, len(r.pending))] {
		c.delta(d, 5)
	}
	c.prefix = outer
}
