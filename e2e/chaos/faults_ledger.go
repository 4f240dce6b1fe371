package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// ledgerFaults are of the ledger alone. What its folds lose besides happens by itself in a mixed fleet.
func ledgerFaults() []fault {
	return []fault{
		{"late deltas appended", 3, false, func(ctx context.Context, a *env) error {
			return a.loop(ctx, 5, 60*time.Millisecond, func() error {
				key := fleet.Key{Slot: int32(a.rng.IntN(slots)), Queue: queues[a.rng.IntN(len(queues))], Priority: int16(1 + a.rng.IntN(2)), Shard: int16(a.rng.IntN(2))}
				n := int64(1 + a.rng.IntN(20))
				return a.write1(ctx, func(tx pgx.Tx, w fleet.Writer) error { return w.LateDelta(ctx, tx, key, n) })
			})
		}},
		{"leaf of the ledger re-created", 1, false, recreateLedgerLeaf},
	}
}

// recreateLedgerLeaf drops a leaf with its pending deltas and creates it again, in one transaction.
func recreateLedgerLeaf(ctx context.Context, a *env) error {
	a.observer.noteUnloggedDrift()
	return a.patiently(ctx, `lock table awa.queue_terminal_count_deltas in access exclusive mode;
		insert into fleet_log.uncounted_awa select ready_slot, queue, priority, enqueue_shard, sum(terminal_delta)
			from awa.queue_terminal_count_deltas_6 group by 1, 2, 3, 4 having sum(terminal_delta) <> 0;
		insert into fleet_log.disturbed_awa values (6, 'reborn');
		drop table awa.queue_terminal_count_deltas_6;
		create table awa.queue_terminal_count_deltas_6 partition of awa.queue_terminal_count_deltas for values in (6);
		alter table awa.queue_terminal_count_deltas_6 owner to `+role)
}
