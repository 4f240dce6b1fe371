package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// said waits until a daemon has said something, in whatever field of a line.
func (e *env) said(d *daemon, text string) {
	e.t.Helper()
	ctx, cancel := contextWithin(15 * time.Second)
	defer cancel()
	e.until(ctx, func() bool { return strings.Contains(d.text(), text) }, func() string { return "not said: " + text })
}

// A table inherits from the counters: readers add up its rows, of which no stream tells.
func TestCountersHaveAChild(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d := e.daemon()
	e.marker(true, 30*time.Second)
	e.insertAt(1, "q", 7, true)
	e.exec(`create table awa.counts_2025 () inherits (awa.queue_terminal_live_counts)`)
	e.exec(`insert into awa.counts_2025 (ready_slot, queue, priority, enqueue_shard, counter_bucket, live_terminal_count) values (1, 'q', 1, 0, 0, 40)`)
	e.lies(4*time.Second, 8*time.Second) // twice the bound
	e.said(d, "ALTER TABLE awa.counts_2025 NO INHERIT awa.queue_terminal_live_counts")
}

// A table inherits from the ring's state: there are two markers.
func TestRingHasAChild(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d := e.daemon()
	e.marker(true, 30*time.Second)
	e.exec(`create table awa.ring_2025 () inherits (awa.queue_ring_state); insert into awa.ring_2025 select * from only awa.queue_ring_state`)
	e.said(d, "ALTER TABLE awa.ring_2025 NO INHERIT awa.queue_ring_state")
	require.Zero(t, e.scalar(`select count(*) from awa.queue_ring_state where terminal_counter_trusted_at is not null`))
}

// A leaf was moved to another schema, and another table has its name: scans would read that one.
func TestLeafIsInAnotherSchema(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	e.insertAt(1, "q", 50, true)
	e.exec(`create schema archive; alter table awa.done_entries_1 set schema archive`)
	e.exec(`create table awa.done_entries_1 (like archive.done_entries_1 including all)`)
	d := e.daemon()
	e.said(d, "ALTER TABLE archive.done_entries_1 SET SCHEMA awa")
	n, err := fleet.ReadCounter(t.Context(), e.pool, "awa", "q")
	require.NoError(t, err)
	require.EqualValues(t, 50, n)
}
