package e2e

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/proxy"
)

// since is a server of this major version or a later one: the suite's own if it is new enough. Where the suite
// was asked to run on an older one, the test is skipped.
func since(t *testing.T, major int, what string) string {
	t.Helper()
	version, err := cluster.Version(t.Context(), pgBin)
	require.NoError(t, err)
	mine, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(mine)
	require.NoError(t, err)
	if n >= major {
		return pgBin
	}
	if os.Getenv(cluster.MajorVariable) != "" {
		t.Skipf("%s came with PostgreSQL %d", what, major)
	}
	bin, err := cluster.OfMajor(t.Context(), strconv.Itoa(major), os.Stderr)
	require.NoError(t, err)
	return bin
}

// failover makes a failover slot of the daemon's, which nobody may read meanwhile.
func (e *env) failover() {
	e.t.Helper()
	var slot string
	require.NoError(e.t, e.pool.QueryRow(e.t.Context(), `select slot_name from pg_replication_slots where database = current_database()`).Scan(&slot))
	walsender, err := pgconn.Connect(e.t.Context(), e.url()+"&replication=database")
	require.NoError(e.t, err)
	defer func() { _ = walsender.Close(context.Background()) }()
	require.NoError(e.t, walsender.Exec(e.t.Context(), fmt.Sprintf("ALTER_REPLICATION_SLOT %s (FAILOVER true)", slot)).Close())
}

// followed makes a standby to which failover slots are synchronized.
func followed(t *testing.T, primary *cluster.Cluster, e *env) *cluster.Cluster {
	t.Helper()
	e.exec(`select pg_create_physical_replication_slot('standby', true)`)
	replica, err := primary.Copy(t.Context(), true)
	require.NoError(t, err)
	t.Cleanup(func() { _ = replica.Close() })
	for key, value := range map[string]string{"primary_slot_name": "standby", "hot_standby_feedback": "on", "sync_replication_slots": "on"} {
		require.NoError(t, replica.Configure(key, value))
	}
	require.NoError(t, replica.Up(t.Context()))
	e.exec(`alter system set synchronized_standby_slots = 'standby'`)
	e.exec(`select pg_reload_conf()`)
	return replica
}

// synchronized waits until a standby has the daemon's slot for good.
func (e *env) synchronized(replica *cluster.Cluster) {
	e.t.Helper()
	n := e.on(replica)
	ctx, cancel := contextWithin(60 * time.Second)
	defer cancel()
	e.until(ctx, func() bool {
		e.exec(`select pg_log_standby_snapshot()`) // else the slot's beginning moves every fifteen seconds only
		return n.scalar(`select count(*) from pg_replication_slots where synced and not temporary and invalidation_reason is null`) == 1
	}, func() string { return "the slot does not come to the standby: " + replica.Log() })
}

// --slot-lifetime failover: the slot comes along to a standby that is promoted, and the daemon goes on from its
// checkpoint on the other timeline. Uncounted writes before and after it are counted, and nothing is scanned.
func TestPromotionIsResumed(t *testing.T) {
	t.Parallel()
	primary, err := cluster.Start(t.Context(), cluster.Options{Bin: since(t, 17, "a failover slot")})
	require.NoError(t, err)
	t.Cleanup(func() { _ = primary.Close() })
	e := newEnvOn(t, primary, fleet.Layout{})
	p, err := proxy.New(primary.Address())
	require.NoError(t, err)
	t.Cleanup(p.Close)
	run := func(lifetime string) *daemon {
		return start(t, nil, "run", "--database-url", "postgres://postgres@"+p.Addr()+"/"+e.db+"?sslmode=disable",
			"--checkpoint-interval", "200ms", "--audit-interval", "1s", "--slot-lifetime", lifetime)
	}
	d := run("permanent")
	d.logged("marker set", 15*time.Second)
	require.Zero(t, d.stop())
	replica := followed(t, primary, e)

	f := e.fleet(steady)
	d = run("failover") // out of the slot that is there
	d.logged("resuming from the checkpoint", 10*time.Second)
	e.marker(true, 20*time.Second)
	e.synchronized(replica)
	e.wait(time.Second)
	require.NoError(t, primary.Down(t.Context(), "immediate"))
	f.Stop()
	require.NoError(t, replica.Promote(t.Context()))
	n := e.on(replica)
	g := n.fleet(steady)
	p.Retarget(replica.Address())
	p.Cut()
	p.Heal()

	ctx, cancel := contextWithin(30 * time.Second)
	defer cancel()
	n.until(ctx, func() bool { return strings.Count(d.text(), "resuming from the checkpoint") == 2 }, func() string { return "not resumed: " + d.text() })
	n.marker(true, 20*time.Second)
	n.wait(2 * time.Second) // an audit
	g.Stop()
	n.balanced(2 * time.Second)
	n.noMismatch(d)
	require.NotContains(t, d.text(), "scanning afresh")
	require.Empty(t, g.Errors())
	require.EqualValues(t, 1, n.scalar(`select count(*) from pg_replication_slots where failover and active`))
	require.Zero(t, d.stop())

	// Created again it is one for standbys as well.
	n.exec(`select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database()`)
	d = run("failover")
	require.Contains(t, d.logged("scanning afresh", 10*time.Second)["reason"], "is gone")
	d.logged("marker set", 20*time.Second)
	require.EqualValues(t, 1, n.scalar(`select count(*) from pg_replication_slots where failover and not synced`))
	require.Zero(t, d.stop())
}

// Where there are no failover slots, asking for one is refused.
func TestFailoverNeedsItsServer(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	if e.scalar(`select current_setting('server_version_num')::int8`) >= 170000 {
		t.Skip("this server has failover slots")
	}
	refuses(t, refused, e.url(), []string{"--slot-lifetime", "failover"}, "has no failover slots", "leave --slot-lifetime=failover out")
}

// A failover slot is not streamed past what the standbys have that synchronized_standby_slots names. With such a
// standby away the stream stands still, whatever is written: trust ends, and comes back.
func TestStreamWaitsForAStandby(t *testing.T) {
	t.Parallel()
	c, err := cluster.Start(t.Context(), cluster.Options{Bin: since(t, 17, "a failover slot")})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	e := newEnvOn(t, c, fleet.Layout{Slots: 4})
	d := e.daemon()
	d.logged("marker set", 15*time.Second)
	require.Zero(t, d.stop())
	e.failover()
	e.exec(`select pg_create_physical_replication_slot('standby', true)`)
	d = e.daemon("--checkpoint-interval", "200ms")
	d.logged("marker set", 15*time.Second) // by this one: a stop can leave it set
	e.exec(`alter system set synchronized_standby_slots = 'standby'`)
	e.exec(`select pg_reload_conf()`)
	e.insert(7)
	e.marker(false, 5*time.Second)
	for line := range strings.Lines(d.text()) {
		if strings.Contains(line, "trust:") || strings.Contains(line, "session failed") {
			t.Log(line)
		}
	}
	e.exec(`alter system reset synchronized_standby_slots`)
	e.exec(`select pg_reload_conf()`)
	e.balanced(20 * time.Second)
	e.marker(true, 20*time.Second)
	e.noMismatch(d)
	require.NotContains(t, d.text(), "session failed", "that the stream waits is no reason to create everything again")
	require.EqualValues(t, 1, e.scalar(`select count(*) from pg_replication_slots where failover and slot_type = 'logical'`))
	require.Zero(t, d.stop())
}

// A slot that nobody reads for idle_replication_slot_timeout is invalidated at the next checkpoint; one that a
// daemon reads is not, however little there is to read.
func TestIdleSlotIsInvalidated(t *testing.T) {
	t.Parallel()
	c, err := cluster.Start(t.Context(), cluster.Options{
		Bin: since(t, 18, "idle_replication_slot_timeout"), Settings: map[string]string{"idle_replication_slot_timeout": "1s"},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	e := newEnvOn(t, c, fleet.Layout{Slots: 4})
	d := e.daemon()
	e.marker(true, 15*time.Second)
	e.wait(2 * time.Second)
	e.exec(`checkpoint`)
	e.wait(time.Second)
	require.NotContains(t, d.text(), "session failed")
	require.Zero(t, d.stop())
	e.insert(7)
	ctx, cancel := contextWithin(20 * time.Second)
	defer cancel()
	e.until(ctx, func() bool {
		e.exec(`checkpoint`)
		return e.scalar(`select count(*) from pg_replication_slots where invalidation_reason = 'idle_timeout' and wal_status = 'lost'`) == 1
	}, func() string { return "the slot is not invalidated" })
	d = e.daemon()
	require.Contains(t, d.logged("scanning afresh", 10*time.Second)["reason"],
		"was read by nobody for longer than idle_replication_slot_timeout; raise idle_replication_slot_timeout")
	d.logged("marker set", 15*time.Second)
	e.balanced(2 * time.Second)
	e.noMismatch(d)
	require.Zero(t, d.stop())
}
