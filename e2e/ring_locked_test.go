package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Somebody locks the ring's table for a while, and an old binary writes. A reader waits for the lock, and what it finds then is to be
// right: the marker cannot be cleared meanwhile, so the counters are corrected.
func TestRingIsLocked(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	e.daemon()
	e.marker(true, 30*time.Second)
	tx, err := e.connect().Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `lock table awa.queue_ring_state in access exclusive mode`)
	require.NoError(t, err)
	e.insertAt(1, "q", 7, false)
	reader := e.connect()
	type read struct {
		set   bool
		count int64
		err   error
	}
	got := make(chan read, 1)
	go func() {
		var r read
		r.err = reader.QueryRow(context.Background(), `select (select terminal_counter_trusted_at is not null from awa.queue_ring_state),
			(select coalesce(sum(live_terminal_count), 0)::int8 from awa.queue_terminal_live_counts where queue = 'q')
			+ (select coalesce(sum(terminal_delta), 0)::int8 from awa.queue_terminal_count_deltas where queue = 'q')`, pgx.QueryExecModeSimpleProtocol).Scan(&r.set, &r.count)
		got <- r
	}()
	e.balanced(8 * time.Second)
	require.NoError(t, tx.Commit(t.Context()))
	r := <-got
	require.NoError(t, r.err)
	require.False(t, r.set && r.count != 7, "the marker is set, and a reader gets %d", r.count)
	e.lies(time.Second, 3*time.Second)
}
