package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// What setup has prepared for one schema of awa's, the teardown of another leaves alone.
func TestTeardownOfAnotherSchema(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	require.NoError(t, fleet.Install(t.Context(), e.connect(), fleet.Layout{Schema: "other", Slots: 4, Shape: fleet.Ledger}))
	role := e.role("replication")
	for _, schema := range []string{"awa", "other"} {
		e.says("setup", "--schema", schema, "--role", role)
	}
	e.says("teardown", "--schema", "awa")
	require.Positive(t, e.scalar(`select count(*) from pg_class where relnamespace = to_regnamespace('awa_counterd') and relname = 'grants'`),
		"nobody remembers any more what was granted for schema other")
	d := start(t, nil, "run", "--database-url", server.URL(role, "", e.db), "--no-setup", "--schema", "other")
	d.logged("marker set", 20*time.Second)
	require.Zero(t, d.stop())
	e.disconnected()
	e.says("teardown", "--schema", "other")
	e.nothingOfOurs()
	e.nothingGranted(role)
}

// All of awa's is gone, or a table, or the schema has another name: teardown takes back what is left.
func TestTeardownWithoutAwa(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, gone, schema string }{
		{"all of it", `drop schema awa cascade`, "awa"},
		{"a leaf", `drop table awa.done_entries_1 cascade`, "awa"},
		{"renamed", `alter schema awa rename to jobs`, "jobs"},
		{"renamed, by its old name", `alter schema awa rename to jobs`, "awa"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			role := e.role("replication")
			e.says("setup", "--role", role)
			e.exec(c.gone)
			e.says("teardown", "--schema", c.schema)
			e.nothingOfOurs()
			e.nothingGranted(role)
		})
	}
}

// nothingGranted looks for rights of a role in the environment's database.
func (e *env) nothingGranted(role string) {
	e.t.Helper()
	require.Zero(e.t, e.scalar(`select (select count(*) from pg_class c, aclexplode(c.relacl) a where a.grantee = $1::text::regrole)
		+ (select count(*) from pg_attribute c, aclexplode(c.attacl) a where a.grantee = $1::text::regrole)
		+ (select count(*) from pg_namespace n, aclexplode(n.nspacl) a where a.grantee = $1::text::regrole)`, role), "rights are left")
}

// A sweep has left the row of who led another schema, for that one may come back. Once the last schema is torn down nothing is left,
// unless a daemon of the other one is at work.
func TestTeardownAfterASweep(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	before := e.catalogs()
	e.says("setup")
	e.exec(`insert into awa_counterd.leader (awa_schema, instance, host, pid, version, heartbeat_at) values ('other', 'i', 'h', 1, 'v', now())`)
	e.says("teardown")
	require.EqualValues(t, 1, e.scalar(`select count(*) from awa_counterd.leader`), "it is at work")
	e.exec(`update awa_counterd.leader set heartbeat_at = now() - interval '1 min'`)
	e.says("teardown")
	e.nothingOfOurs()
	require.Equal(t, before, e.catalogs(), "a trace is left")
}

// Whoever has just ended may still hold the leader lock, as the server sees it: teardown does not take that for a daemon that runs.
func TestTeardownRightAfterAStop(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Slots: 4})
	d := e.daemon()
	e.marker(true, 15*time.Second)
	require.Zero(t, d.stop())
	before := e.connect()
	got, err := checkpoint.TryLead(t.Context(), before, "awa")
	require.NoError(t, err)
	require.True(t, got)
	teardown := start(t, nil, "teardown", "--database-url", e.url())
	ctx, cancel := contextWithin(10 * time.Second)
	defer cancel()
	e.until(ctx, func() bool {
		return e.scalar(`select count(*) from pg_stat_activity where datname = current_database() and application_name = 'awa-counterd command' and query like '%pg_try_advisory_lock%'`) == 1
	}, func() string { return "teardown never tried to take the lock" })
	require.NoError(t, before.Close(t.Context()))
	require.Zero(t, teardown.wait(10*time.Second))
	e.nothingOfOurs()
}

// A teardown and a finish need not be told which publications the daemon made: the checkpoint says so. What is others' as well stays,
// and what no checkpoint names, and the command says what removes it.
func TestPublicationsOfAnotherName(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T) (*env, *daemon, string) {
		e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
		before := e.catalogs()
		d := e.daemon("--publication", "mine", "--checkpoint-interval", "200ms")
		e.marker(true, 20*time.Second)
		return e, d, before
	}
	t.Run("teardown", func(t *testing.T) {
		t.Parallel()
		e, d, before := run(t)
		require.Zero(t, d.stop())
		out := e.says("teardown")
		require.Contains(t, out, "removed: drop publication mine\n")
		require.Contains(t, out, "removed: drop publication mine_ledger\n")
		e.disconnected()
		require.Equal(t, before, e.catalogs(), "a trace is left")
	})
	t.Run("finish", func(t *testing.T) {
		t.Parallel()
		e, d, _ := run(t)
		out := e.says("finish", "--quiet-period", "1s", "--timeout", "30s")
		require.Contains(t, out, "removed: drop publication mine\n")
		require.Contains(t, out, "removed: drop publication mine_ledger\n")
		require.Zero(t, d.wait(20*time.Second))
		e.nothingOfOurs()
	})
	t.Run("shared", func(t *testing.T) {
		t.Parallel()
		e, d, _ := run(t)
		require.Zero(t, d.stop())
		e.exec(`create table theirs (id int primary key); alter publication mine add table theirs`)
		code, out, errs := e.command("teardown")
		require.Zero(t, code, errs)
		require.NotContains(t, out, "drop publication mine\n")
		require.Contains(t, errs, "teardown: publication mine, which the daemon used, is left, for it publishes other tables as well; if nobody else reads awa's from it, run: ALTER PUBLICATION \"mine\" DROP TABLE ")
		e.exec(`drop table theirs`)
		e.says("teardown", "--publication", "mine")
		e.nothingOfOurs()
	})
	t.Run("never used", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
		e.exec(`create publication theirs for table awa.done_entries`)
		e.says("setup", "--publication", "mine")
		code, out, errs := e.command("teardown")
		require.Zero(t, code, errs)
		require.Contains(t, errs, "teardown: publication mine is left, which publishes awa's counters; if awa-counterd created it, run: awa-counterd teardown --publication mine\n")
		require.NotContains(t, out+errs, "publication theirs")
		code, out, _ = e.command("teardown")
		require.Zero(t, code)
		require.NotContains(t, out, "left nothing here")
		e.says("teardown", "--publication", "mine")
		e.exec(`drop publication theirs`)
		e.nothingOfOurs()
	})
}

// The daemon's corrections stay in counter rows of its own, or the counters would be wrong. A teardown says so, and what moves them, unless
// there are none, or the role may not know.
func TestTeardownNamesTheCorrectionsThatStay(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	role := e.role("replication")
	e.ownedBy(role)
	url := e.server.URL(role, "", e.db)
	d := start(t, nil, "run", "--database-url", url)
	d.logged("marker set", 20*time.Second)
	e.insertAt(1, "q", 5, false)
	e.insertAt(2, "q", 5, false)
	e.balanced(5 * time.Second)
	require.Zero(t, d.stop())
	const stay = "2 counter rows of corrections stay; awa-counterd reconcile moves them to where awa itself would hold them"
	of := func(args ...string) (out, errs string) {
		t.Helper()
		code, out, errs := e.commandOn(url, append([]string{"teardown"}, args...)...)
		require.Zero(t, code, out+errs)
		return out, errs
	}
	_, errs := of()
	require.Contains(t, errs, "teardown: "+stay+"\n")
	out, errs := of()
	require.Contains(t, errs, "teardown: "+stay+"\n")
	require.NotContains(t, out, "has left nothing here")
	out, _ = of("--json")
	require.Contains(t, out, stay)
	const counters = " on awa.queue_terminal_live_counts "
	e.exec("revoke select" + counters + "from " + role)
	out, errs = of()
	require.NotContains(t, out+errs, "stay")
	e.exec("grant select" + counters + "to " + role)
	e.says("reconcile")
	out, errs = of()
	require.Equal(t, "nothing to remove: awa-counterd has left nothing here\n", out)
	require.Empty(t, errs)
	e.byBucket()
}
