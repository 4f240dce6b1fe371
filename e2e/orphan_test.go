package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// setMarker sets the marker by hand, as awa's installer, a migration or a daemon that died leaves it.
func (e *env) setMarker() {
	e.t.Helper()
	e.exec(fmt.Sprintf(`update %s.queue_ring_state set terminal_counter_trusted_at = now()`, e.layout.Schema))
}

// Whatever makes a start fail, nobody vouches for the marker then: it is cleared first.
func TestEveryRefusalClearsTheMarker(t *testing.T) {
	t.Parallel()
	const tables = "awa.done_entries, awa.queue_terminal_live_counts, awa.queue_ring_state, awa.queue_terminal_rollups"
	for name, c := range map[string]struct {
		breaks string // %[1]s is the daemon's role
		args   []string
		want   string
	}{
		"no REPLICATION":                {`alter role %[1]s noreplication`, nil, "has no REPLICATION right"},
		"a right on the counters":       {`revoke update on awa.queue_terminal_live_counts from %[1]s`, nil, "lacks UPDATE ON awa.queue_terminal_live_counts"},
		"a right on the rows":           {`revoke select (queue) on awa.done_entries from %[1]s`, nil, "lacks SELECT (ready_slot"},
		"the active schema's name":      {`revoke select on awa.runtime_storage_backends from %[1]s`, nil, "lacks SELECT ON awa.runtime_storage_backends"},
		"a schema that awa cannot have": {`update awa.runtime_storage_backends set schema_name = 'x"; --'`, nil, "awa's schema names are lower-case letters"},
		"our schema gone":               {`drop schema awa_counterd cascade`, []string{"--no-setup"}, "schema awa_counterd is missing"},
		"no right to make our schema":   {`drop schema awa_counterd cascade`, nil, "may not create the schema awa_counterd"},
		"no rights in our schema":       {`revoke usage on schema awa_counterd from %[1]s`, nil, "permission denied for schema awa_counterd"},
		"no rights on our tables":       {`revoke all on awa_counterd.leader from %[1]s`, nil, "permission denied for table leader"},
		"no done_entries":               {`drop table awa.done_entries cascade`, nil, "there is no table awa.done_entries"},
		"not partitioned":               {`drop table awa.done_entries cascade; create table awa.done_entries (ready_slot int)`, nil, "is not partitioned"},
		"unknown shape":                 {`alter table awa.queue_terminal_live_counts rename column live_terminal_count to n`, nil, "this build does not know that shape"},
		"alpha without shard":           {`alter table awa.done_entries drop column enqueue_shard cascade`, nil, "has no column enqueue_shard"},
		"replica identity":              {`alter table awa.done_entries_3 replica identity nothing`, nil, "REPLICA IDENTITY DEFAULT"},
		"row level security":            {`alter table awa.done_entries_1 enable row level security`, nil, "row level security hides rows"},
		"an unlogged leaf":              {`alter table awa.done_entries_1 set unlogged`, nil, "is unlogged"},
		"a leaf of two slots":           {`create table awa.both partition of awa.done_entries for values in (8, 9)`, nil, "not one ring slot"},
		"a leaf that is partitioned":    {`create table awa.parts partition of awa.done_entries for values in (8) partition by list (queue)`, nil, "is not an ordinary table"},
		"somebody else's schema":        {`alter schema awa_counterd owner to pg_monitor`, nil, "belongs to role pg_monitor"},
		"no publication":                {`drop publication awa_counterd_awa`, []string{"--no-setup"}, "run awa-counterd setup"},
		"publication via root":          {`alter publication awa_counterd_awa set (publish_via_partition_root = true)`, nil, "publishes via the partition root"},
		"publication of all tables":     {`drop publication awa_counterd_awa; create publication awa_counterd_awa for all tables`, nil, "FOR ALL TABLES"},
		"publication of too little":     {`alter publication awa_counterd_awa set (publish = 'insert')`, nil, "does not publish all of"},
		"publication of other tables":   {`drop publication awa_counterd_awa; create publication awa_counterd_awa for table awa.done_entries_0, ` + tables[len("awa.done_entries, "):], nil, "does not publish"},
		"somebody else's slot":          {`select pg_create_logical_replication_slot('s' || current_database(), 'test_decoding')`, []string{"--slot", "s"}, `has the plugin "test_decoding"`},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, fleet.Layout{Shape: fleet.Direct, Slots: 4})
			role := e.role("replication")
			code, _, errs := e.command("setup", "--role", role)
			require.Zero(t, code, errs)
			e.exec(`insert into awa_counterd.leader (awa_schema, instance, host, pid, version, heartbeat_at)
				values ('awa', 'i', 'h', 1, 'v', now() - interval '1 minute')`) // who led once
			e.setMarker()
			breaks := c.breaks
			if len(c.args) == 2 {
				c.args[1] += e.db
			}
			if len(breaks) > 0 {
				e.exec(fmt.Sprintf(breaks+"%.0[1]s", role))
			}
			d := start(t, nil, append([]string{"run", "--database-url", server.URL(role, "", e.db)}, c.args...)...)
			d.logged(c.want, 15*time.Second)
			e.marker(false, 5*time.Second)
		})
	}
}

// The row of the marker is the one that rotations and prunes lock: a refusal waits for it.
func TestRefusalWaitsForTheMarkersRow(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	role := e.role("replication")
	code, _, errs := e.command("setup", "--role", role)
	require.Zero(t, code, errs)
	e.exec(fmt.Sprintf(`alter role %s noreplication`, role))
	e.setMarker()
	tx, err := e.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(t.Context(), `select 1 from awa.queue_ring_state for update`)
	require.NoError(t, err)
	d := start(t, nil, "run", "--database-url", server.URL(role, "", e.db))
	waits := make(map[int64]struct{})
	ctx, cancel := contextWithin(15 * time.Second)
	defer cancel()
	e.until(ctx, func() bool {
		at := e.scalar(`select coalesce(max(extract(epoch from query_start) * 1e6)::int8, 0) from pg_stat_activity
			where datname = current_database() and application_name = 'awa-counterd control' and wait_event_type = 'Lock'`)
		if at != 0 {
			waits[at] = struct{}{}
		}
		select {
		case <-d.Done():
			require.Fail(t, "it left a marker that nobody vouches for", d.text())
		default:
		}
		return len(waits) == 3
	}, func() string { return fmt.Sprintf("it tried %d times", len(waits)) })
	require.NoError(t, tx.Rollback(t.Context()))
	require.Equal(t, refused, d.wait(5*time.Second))
	d.logged("has no REPLICATION right", 0)
	e.marker(false, 0)
}

// The daemon's role loses REPLICATION while it works: the session ends at the next fault, no other begins, and
// the marker does not stand.
func TestRoleLosesReplicationWhileRunning(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	role := e.role("replication")
	code, _, errs := e.command("setup", "--role", role)
	require.Zero(t, code, errs)
	d := start(t, nil, "run", "--database-url", server.URL(role, "", e.db), "--no-setup")
	d.logged("marker set", 15*time.Second)
	e.exec(fmt.Sprintf(`alter role %s noreplication`, role))
	d.kill()
	e.disconnected()
	d = start(t, nil, "run", "--database-url", server.URL(role, "", e.db), "--no-setup")
	require.Equal(t, refused, d.wait(15*time.Second))
	e.marker(false, 0)
	e.exec(fmt.Sprintf(`alter role %s replication`, role))
	d = start(t, nil, "run", "--database-url", server.URL(role, "", e.db), "--no-setup")
	d.logged("marker set", 15*time.Second)
	e.exec(fmt.Sprintf(`alter role %s noreplication; select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'awa-counterd%%' and datname = current_database()`, role))
	d.logged("has no REPLICATION right", 10*time.Second)
	e.setMarker() // an installer, say
	e.marker(false, 15*time.Second)
}
