package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Whoever may make schemas could make one of our name beforehand, with triggers that run as our role.
func TestRefusesASchemaThatSomebodyElseMade(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	d := e.daemon()
	d.logged("marker set", 15*time.Second)
	require.Zero(t, d.stop())
	thief := e.role("")
	for _, what := range []string{"table awa_counterd.leader", "schema awa_counterd"} {
		e.exec(fmt.Sprintf("alter %s owner to %s", what, thief))
		wants := []string{what + " belongs to role " + thief, "DROP SCHEMA awa_counterd CASCADE"}
		refuses(t, refused, e.url(), nil, wants...)
		code, _, errs := e.command("setup")
		require.Equal(t, refused, code)
		require.Contains(t, errs, wants[0])
		_, failed := e.doctor()
		require.Contains(t, fmt.Sprint(failed), wants[0])
	}
	e.mended("DROP SCHEMA awa_counterd CASCADE")
}

// A leaf is called what whoever made it liked.
func TestLeafNamesAreQuoted(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	e.exec(`alter table awa.done_entries_1 rename to "Done'1; --"; alter table awa.queue_terminal_count_deltas_1 rename to "select ""x"""`)
	role := e.role("replication")
	code, _, errs := e.command("setup", "--role", role)
	require.Zero(t, code, errs)
	d := start(t, nil, "run", "--database-url", server.URL(role, "", e.db), "--no-setup")
	d.logged("marker set", 15*time.Second)
	e.exec(`insert into awa.queue_terminal_live_counts (ready_slot, queue, priority, enqueue_shard, counter_bucket, live_terminal_count) values (1, 'q', 1, 0, 7, 9)`)
	e.balanced(3 * time.Second)
	require.Zero(t, d.stop())
	code, _, errs = e.command("reconcile")
	require.Zero(t, code, errs)
	code, _, errs = e.command("teardown", "--role", role)
	require.Zero(t, code, errs)
}

// Publications that take in all tables of a schema make awa's own statements fail: ours is refused by name, and
// doctor names those of others.
func TestWidePublicationsAreNamed(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	kinds := []string{"for all tables"}
	if e.scalar(`select current_setting('server_version_num')::int8`) >= 150000 {
		kinds = append(kinds, "for tables in schema awa")
	}
	for _, kind := range kinds {
		e.exec(`create publication awa_counterd_awa ` + kind)
		refuses(t, refused, e.url(), nil, "publication awa_counterd_awa is", "awa's own DELETEs", "drop it and run: CREATE PUBLICATION")
		code, _, errs := e.command("setup")
		require.Equal(t, refused, code)
		require.Contains(t, errs, "publication awa_counterd_awa is")
		e.exec(`drop publication awa_counterd_awa; create publication theirs ` + kind)
		e.paste(e.remedy("other publications", "publication theirs"))
		require.EqualValues(t, 1, e.scalar(`select count(*) from pg_publication where pubname = 'theirs' and pubupdate and pubdelete`), "their consumer lost something")
		_, failed := e.doctor()
		require.NotContains(t, fmt.Sprint(failed), "theirs")
		e.dropTheirs()
	}
}

// What fails under such a publication is told table by table: awa deletes from some, and into its ledger it only inserts.
func TestWidePublicationsByTable(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	e.exec(`create table awa.job_unique_claims (unique_key bytea not null, job_id bigint); create unique index on awa.job_unique_claims (unique_key)`)
	const claims = "awa's own fail on awa.job_unique_claims"
	const ledger = "finish and reconcile cannot move changes of another generation, should there be any, out of awa.queue_terminal_count_deltas_0 and 3 more, into which awa only inserts"
	const head = "publication theirs publishes updates or deletes of tables that have no replica identity: "
	for of, says := range map[string]string{
		"for all tables": head + claims + "; " + ledger,
		"for table awa.queue_terminal_count_deltas":                                             head + ledger,
		"for table awa.queue_terminal_count_deltas with (publish_via_partition_root)":           head + ledger,
		"for table awa.job_unique_claims with (publish = 'update')":                             head + claims,
		"for table awa.queue_terminal_count_deltas with (publish = 'insert, update, truncate')": "",
		"for all tables with (publish = 'insert, truncate')":                                    "",
	} {
		e.exec(`create publication theirs ` + of)
		if says != "" {
			require.NotContains(t, e.remedy("other publications", says), "ALTER PUBLICATION", of)
			e.paste(e.remedy("other publications", says))
		}
		_, failed := e.doctor()
		require.NotContains(t, fmt.Sprint(failed), "theirs", of)
		e.dropTheirs()
	}
}

// dropTheirs undoes what doctor named as well.
func (e *env) dropTheirs() {
	e.t.Helper()
	e.exec(`drop publication theirs; do $$ declare r record; begin
		for r in select c.oid::regclass as name from pg_class c where relreplident = 'f' and relkind = 'r' loop
			execute format('alter table %s replica identity default', r.name); end loop; end $$`)
}

// With our slot in place a server whose wal_level is lowered does not start again. It is said while it can be read.
func TestLoweredLevelIsSaid(t *testing.T) {
	t.Parallel()
	c, err := cluster.Start(t.Context(), cluster.Options{Bin: pgBin, Settings: map[string]string{"max_slot_wal_keep_size": "1GB"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	e := newEnvOn(t, c, fleet.Layout{Slots: 4})
	d := e.daemon()
	d.logged("marker set", 15*time.Second)
	e.exec(`alter system set wal_level = 'replica'`)
	_, failed := e.doctor()
	require.Contains(t, fmt.Sprint(failed), "the server would not start")
	_, out, _ := e.command("doctor")
	require.Contains(t, out, "ALTER SYSTEM SET wal_level = 'logical'")

	// A role that may not read the server's files hears of it when they were loaded, and until then what it cannot know.
	weak := e.role("replication")
	e.says("setup", "--role", weak)
	_, out, _ = e.commandOn(c.URL(weak, "", e.db), "doctor")
	require.Contains(t, out, "✔ wal_level after a restart: no reload has found another one; whether the server's files have one that was not loaded yet, this role may not see")
	e.exec(`select pg_reload_conf()`)
	require.Eventually(t, func() bool {
		code, out, _ := e.commandOn(c.URL(weak, "", e.db), "doctor")
		return code == 3 && strings.Contains(out, "✘ wal_level after a restart: a configuration file lowers wal_level: as long as replication slot")
	}, 10*time.Second, 100*time.Millisecond)
	e.exec(`alter system set wal_level = 'logical'`)
	require.Zero(t, d.stop())
	_, _, errs := e.command("setup")
	require.Contains(t, errs, "wal_level")
}

// The password of a URL, and that of PGPASSWORD, is in nothing that anybody is told: by a daemon that says all it can, by any command,
// in any form. Some of them are refused, and say why.
func TestNoPasswordIsSaid(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Slots: 4})
	role := e.role("superuser password '" + planted + "'")
	url := server.URL(role, planted, e.db)
	said := make(map[string]string)
	d := start(t, []string{"PGPASSWORD=" + planted}, "run", "--database-url", url, "--log-level", "debug", "--listen", "0")
	e.marker(true, 15*time.Second)
	e.insertAt(1, "email", 5, false)
	e.balanced(3 * time.Second)
	commands := [][]string{
		{"status"},
		{"status", "--json"},
		{"doctor"},
		{"doctor", "--json"},
		{"setup", "--print-sql"},
		{"setup", "--json"},
		{"distrust"},
		{"distrust", "--json"},
		{"reconcile", "--check"},
		{"reconcile", "--json"},
		{"reconcile", "--trust"},
		{"teardown"},
		{"finish", "--timeout", "1s"},
	}
	for i, on := range []string{url, server.URL(role, planted, "nowhere"), server.URL("nobody_here", planted, e.db), "postgres://app:" + planted + "@127.0.0.1:1/x"} {
		if i == 1 {
			commands = commands[:6] // that do not get as far as differing
		}
		for _, args := range commands {
			code, out, errs := e.commandOn(on, args...)
			said[fmt.Sprint(args, " on the URL number ", i)] = out + errs
			require.True(t, code == 0 || out+errs != "", "%v says nothing", args)
		}
	}
	e.exec(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like 'awa-counterd%'`)
	d.logged("session failed", 10*time.Second)
	d.logged("trust: marker set", 20*time.Second)
	require.Zero(t, d.stop())
	said["log"] = d.text()
	for name, text := range said {
		require.NotContains(t, text, planted, name)
	}
}
