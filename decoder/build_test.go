package decoder

import (
	"slices"
	"time"

	"github.com/awa-counterd/awa-counterd/internal/testonly/pgoutputtest"
)

func msg(kind byte) *pgoutputtest.Message { return pgoutputtest.New(kind) }

var unchanged = pgoutputtest.Unchanged

const (
	leafOID     = 100 // slot 3
	counterOID  = 200
	ringOID     = 300
	rollupOID   = 400
	strangerOID = 500
	ledgerOID   = 600 // slot 3
	bucketedOID = 700 // counters with a bucket in the key
	foldedOID   = 800
	nextLeafOID = 101 // slot 4
	nextLogOID  = 601 // slot 4: its leaf of the ledger
)

var ledgerColumns = []string{"ready_slot", "ready_generation", "queue", "priority", "enqueue_shard", "counter_bucket", "delta"}

var leafColumns = []string{"ready_slot", "kind", "queue", "priority", "lane_seq", "enqueue_shard", "payload"}

func begin(xid uint32) []byte {
	return msg('B').U64(90).U64(0).U32(xid).B
}

func commit(end uint64) []byte { return msg('C').U8(0).U64(end - 5).U64(end).U64(1_000_000).B }

func relationOf(prefix *pgoutputtest.Message, oid uint32, name string, columns ...string) []byte {
	return prefix.Relation(oid, "awa", name, columns...).B
}

func describeAll() [][]byte {
	return [][]byte{
		relationOf(msg('R'), leafOID, "done_entries_3", leafColumns...),
		relationOf(msg('R'), counterOID, "counters", "ready_slot", "queue", "priority", "enqueue_shard", "live"),
		relationOf(msg('R'), ringOID, "ring", "singleton", "trusted"),
		relationOf(msg('R'), rollupOID, "rollups", "queue", "priority", "pruned"),
		relationOf(msg('R'), strangerOID, "stranger", "x"),
		relationOf(msg('R'), ledgerOID, "deltas_3", ledgerColumns...),
		relationOf(msg('R'), bucketedOID, "counters", "ready_slot", "queue", "priority", "enqueue_shard", "live", "counter_bucket"),
		relationOf(msg('R'), foldedOID, "rollup_deltas", "queue", "priority", "pruned", "failed"),
		relationOf(msg('R'), nextLeafOID, "done_entries_4", leafColumns...),
		relationOf(msg('R'), nextLogOID, "deltas_4", ledgerColumns...),
	}
}

// testCatalog knows the relations above by their columns.
type testCatalog struct{}

func (testCatalog) Table(oid uint32, _, _ string, columns []string) (Table, error) {
	at := func(name string) int { return slices.Index(columns, name) }
	t := Table{Slot: -1, Queue: at("queue"), Priority: at("priority"), Shard: at("enqueue_shard"), Bucket: -1, Value: -1, Failed: -1}
	switch oid {
	case leafOID:
		t.Kind, t.LeafSlot = Rows, 3
	case nextLeafOID:
		t.Kind, t.LeafSlot = Rows, 4
	case counterOID:
		t.Kind, t.Slot, t.Value = Counters, at("ready_slot"), at("live")
	case ringOID:
		t.Kind, t.Value = Ring, at("trusted")
	case rollupOID:
		t.Kind, t.Value = Rollups, at("pruned")
	case ledgerOID:
		t.Kind, t.LeafSlot, t.Value = Ledger, 3, at("delta")
	case nextLogOID:
		t.Kind, t.LeafSlot, t.Value = Ledger, 4, at("delta")
	case bucketedOID:
		t.Kind, t.Slot, t.Value, t.Bucket = Counters, at("ready_slot"), at("live"), at("counter_bucket")
	case foldedOID:
		t.Kind, t.Value, t.Failed = RollupDeltas, at("pruned"), at("failed")
	default:
		t.Kind = Ignored
	}
	return t, nil
}

const prefix = "awa-counterd"

func newTestDecoder() *Decoder { return New(testCatalog{}, prefix) }

func row(queue any, priority, shard int) []any {
	return []any{3, "job", queue, priority, 77, shard, "{}"}
}

// keyOnly is a row as a DELETE carries it under the default replica identity.
func keyOnly(queue string, priority, shard int) []any {
	return []any{3, nil, queue, priority, 77, shard, nil}
}

var pgEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
