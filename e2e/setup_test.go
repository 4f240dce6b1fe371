package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// catalogs renders everything in a database that setup or the daemon could leave a trace in: objects,
// rights as they are in effect, slots, publications, the marker.
func (e *env) catalogs() string {
	e.t.Helper()
	const locks = `select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`
	require.Eventually(e.t, func() bool { return e.scalar(locks) == 0 }, 10*time.Second, 10*time.Millisecond, "a server process ends after its client")
	var all []string
	for _, sql := range []string{
		`select 'schema ' || nspname || ' ' || coalesce((select string_agg(a::text, ' ' order by a::text) from aclexplode(coalesce(nspacl, acldefault('n', nspowner))) a), '') from pg_namespace where nspname !~ '^pg_(temp|toast)'`,
		`select 'relation ' || relnamespace::regnamespace || '.' || relname || relkind::text || relreplident::text || ' ' || coalesce((select string_agg(a::text, ' ' order by a::text) from aclexplode(coalesce(relacl, acldefault('r', relowner))) a), '') from pg_class where relnamespace::regnamespace::text !~ '^pg_'`,
		`select 'column ' || attrelid::regclass || '.' || attname || ' ' || a::text from pg_attribute, aclexplode(attacl) a where attrelid::regclass::text !~ '^pg_'`,
		`select 'function ' || oid::regprocedure from pg_proc where pronamespace::regnamespace::text !~ '^(pg_|information)'`,
		`select 'publication ' || pubname from pg_publication`,
		`select 'slot ' || slot_name from pg_replication_slots where database = current_database()`,
		`select 'database ' || coalesce((select string_agg(a::text, ' ' order by a::text) from aclexplode(coalesce(datacl, acldefault('d', datdba))) a), '') from pg_database where datname = current_database()`,
		`select 'marker ' || (terminal_counter_trusted_at is not null) from awa.queue_ring_state`,
	} {
		rows, err := e.pool.Query(context.Background(), sql+" order by 1")
		require.NoError(e.t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(e.t, err)
		all = append(all, lines...)
	}
	return strings.Join(all, "\n")
}

// nothingOfOurs looks for what can still be there when awa's tables are not.
func (e *env) nothingOfOurs() {
	e.t.Helper()
	require.Zero(e.t, e.scalar(`select (select count(*) from pg_namespace where nspname = 'awa_counterd') + (select count(*) from pg_publication)
		+ (select count(*) from pg_replication_slots where database = current_database())`))
}

// As a DBA would: setup for a role with no rights but LOGIN and REPLICATION, the daemon as that role
// with --no-setup, teardown, and not a trace is left.
func TestSetupAndTeardown(t *testing.T) {
	for shape, publications := range map[string]int{fleet.Direct: 1, fleet.Ledger: 2} {
		t.Run(shape, func(t *testing.T) {
			e := newEnv(t, fleet.Layout{Shape: shape, Slots: 4})
			role := e.role("replication")
			before := e.catalogs()
			asRole := server.URL(role, "", e.db)
			refuses(t, refused, asRole, []string{"--no-setup"}, "lacks USAGE ON SCHEMA awa")

			code, sql, errs := e.command("setup", "--role", role, "--print-sql")
			require.Zero(t, code, errs)
			require.Equal(t, publications, strings.Count(sql, "CREATE PUBLICATION"))
			require.Equal(t, before, e.catalogs(), "--print-sql changed something")
			code, out, errs := e.command("setup", "--role", role)
			require.Zero(t, code, errs)
			require.Equal(t, publications, strings.Count(out, "done: create publication awa_counterd_awa"))
			code, out, _ = e.command("setup", "--role", role)
			require.Zero(t, code)
			require.Equal(t, "nothing to do: everything exists already\n", out)

			d := start(t, nil, "run", "--database-url", asRole, "--no-setup")
			d.logged("marker set", 15*time.Second)
			e.insertAt(1, "q", 5, false)
			e.balanced(2 * time.Second)
			code, _, errs = e.command("teardown", "--role", role)
			require.Equal(t, refused, code)
			require.Contains(t, errs, "stop awa-counterd first")
			require.Zero(t, d.stop())

			e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = now()`)
			code, sql, _ = e.command("teardown", "--role", role, "--print-sql")
			require.Zero(t, code)
			require.Contains(t, sql, "DROP SCHEMA awa_counterd;\n")
			require.NotContains(t, sql, "CASCADE")
			require.Equal(t, publications, strings.Count(sql, "DROP PUBLICATION"))
			require.Less(t, strings.Index(sql, "terminal_counter_trusted_at"), strings.Index(sql, "pg_drop_replication_slot"), "whoever may not drop the slot leaves a marker")
			code, out, errs = e.command("teardown", "--role", role)
			require.Zero(t, code, errs)
			for _, what := range []string{"drop replication slot", "drop publication", "drop schema", "clear the trust marker", "revoke USAGE"} {
				require.Contains(t, out, "removed: "+what)
			}
			e.disconnected() // the server notices a moment later that the command has gone, with its locks
			require.Equal(t, before, e.catalogs(), "a trace is left")
			says, stays := "nothing to remove: awa-counterd has left nothing here\n", ""
			if n := e.scalar(`select count(*) from awa.queue_terminal_live_counts c where to_jsonb(c) ->> 'counter_bucket' = '300'`); n > 0 {
				says, stays = "", fmt.Sprintf("teardown: %d counter rows of corrections stay; awa-counterd reconcile moves them to where awa itself would hold them\n", n)
			}
			code, out, errs = e.command("teardown", "--role", role)
			require.Zero(t, code)
			require.Equal(t, says, out)
			require.Equal(t, stays, errs)
		})
	}
}

// What --print-sql prints is what psql can run.
func TestPrintedSQLRuns(t *testing.T) {
	t.Parallel()
	psql, err := exec.LookPath("psql")
	if major := os.Getenv(cluster.MajorVariable); err != nil && major != "" {
		t.Skipf("no psql on this machine, and the server of PostgreSQL %s was brought without one", major)
	}
	require.NoError(t, err, "the distribution's client package brings psql")
	for _, shape := range []string{fleet.Direct, fleet.Ledger} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: shape, Slots: 4})
			before := e.catalogs()
			pipe := func(args ...string) {
				code, sql, errs := e.command(append(args, "--print-sql")...)
				require.Zero(t, code, errs)
				cmd := exec.Command(psql, "-qX", "-v", "ON_ERROR_STOP=1", e.url())
				cmd.Stdin = strings.NewReader(sql)
				said, err := cmd.CombinedOutput()
				require.NoError(t, err, "%s\n%s", said, sql)
			}
			pipe("setup")
			d := e.daemon("--no-setup")
			d.logged("marker set", 15*time.Second)
			require.Zero(t, d.stop())
			pipe("teardown")
			require.Equal(t, before, e.catalogs())
		})
	}
}

// Two awa schemas in one database do not get in each other's way, nor does removing one.
func TestTwoSchemas(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	conn := e.connect()
	require.NoError(t, fleet.Install(t.Context(), conn, fleet.Layout{Schema: "other", Slots: 4}))
	one, two := e.daemon("--schema", "awa"), e.daemon("--schema", "other")
	one.logged("marker set", 15*time.Second)
	two.logged("marker set", 15*time.Second)
	e.insertAt(1, "q", 5, false)
	e.balanced(2 * time.Second)
	require.Zero(t, two.stop())
	code, out, errs := e.command("teardown", "--schema", "other")
	require.Zero(t, code, errs)
	require.NotContains(t, out, "drop schema")
	e.insertAt(2, "q", 5, false)
	e.balanced(2 * time.Second)
	require.Zero(t, one.stop())
	code, out, _ = e.command("teardown", "--schema", "awa")
	require.Zero(t, code)
	require.Contains(t, out, "drop schema")
}

// teardown and finish revoke what setup granted, to which role does not have to be said, and nothing that the role had
// before.
func TestTeardownRevokesWhatWasGranted(t *testing.T) {
	for _, shape := range []string{fleet.Direct, fleet.Ledger} {
		t.Run(shape, func(t *testing.T) {
			var named []string
			e := newEnv(t, fleet.Layout{Shape: shape, Slots: 4})
			role := e.role("replication")
			e.exec(fmt.Sprintf(`grant usage on schema awa to %[1]s; grant select, insert, update, delete on awa.queue_terminal_live_counts to %[1]s;
				grant select (queue, priority) on awa.done_entries to %[1]s; grant select on awa.done_entries_2 to %[1]s`, role))
			before := e.catalogs()
			e.says("setup", "--role", role)
			require.NotEqual(t, before, e.catalogs())
			d := start(t, nil, "run", "--database-url", server.URL(role, "", e.db), "--no-setup")
			d.logged("marker set", 15*time.Second)
			require.Zero(t, d.stop())
			e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = null`) // for the comparison only
			if shape == fleet.Direct {
				named = []string{"--role", role}
			}
			e.says(append([]string{"teardown"}, named...)...)
			e.disconnected()
			require.Equal(t, before, e.catalogs(), "a trace is left, or something is missing")
		})
	}
}

// Before awa's migration setup grants the whole table of the marker's column, which is not there; with it setup grants the column alone.
// doctor tells of what nobody has narrowed, and teardown revokes either. Who had a right on a column of it before keeps that, and gets no more.
func TestMarkersRightBeforeItsColumn(t *testing.T) {
	const whole = `select has_table_privilege($1, 'awa.queue_ring_state', 'update')::int`
	const some = `select has_any_column_privilege($1, 'awa.queue_ring_state', 'update')::int`
	e := newEnv(t, fleet.Layout{NoCounter: true, Slots: 4})
	role, had := e.role("replication"), e.role("replication")
	e.exec(`grant update (current_slot) on awa.queue_ring_state to ` + had)
	require.Contains(t, e.says("setup", "--role", role, "--print-sql"), fmt.Sprintf("GRANT UPDATE ON awa.queue_ring_state TO %q;", role))
	require.NotContains(t, e.says("setup", "--role", had), "done: grant UPDATE")
	require.Zero(t, e.scalar(whole, had))
	e.says("setup", "--role", role)
	require.EqualValues(t, 1, e.scalar(whole, role))
	require.Equal(t, "nothing to do: everything exists already\n", e.says("setup", "--role", role))
	require.Contains(t, e.says("teardown"), "revoke UPDATE ON awa.queue_ring_state from "+role)
	require.Zero(t, e.scalar(some, role))
	require.EqualValues(t, 1, e.scalar(some, had))

	e.says("setup", "--role", role)
	to := fleet.Layout{Schema: e.layout.Schema, Shape: fleet.Ledger, Slots: 4}
	require.NoError(t, to.Migrate(t.Context(), e.connect()))
	e.layout = to
	remedy := e.remedy("right: UPDATE ON awa.queue_ring_state", "UPDATE (terminal_counter_trusted_at) ON awa.queue_ring_state will do", "--role", role)
	require.Equal(t, "awa-counterd setup --role "+role, remedy)
	e.paste(remedy)
	require.Zero(t, e.scalar(whole, role))
	require.EqualValues(t, 1, e.scalar(some, role))
	require.Equal(t, "nothing to do: everything exists already\n", e.says("setup", "--role", role))
	e.says("teardown")
	require.Zero(t, e.scalar(some, role))
}

// Amazon RDS has a role in the place of the REPLICATION attribute. Start, doctor and setup ask for that one, and are content
// with a member.
func TestStreamRightOnRDS(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	e.exec(`create role rds_replication`)
	t.Cleanup(func() { e.exec(`drop role rds_replication`) })
	role := e.role("")
	refuses(t, refused, server.URL(role, "", e.db), nil, "GRANT rds_replication TO")
	code, out, _ := e.command("doctor", "--role", role)
	require.NotZero(t, code)
	require.Contains(t, out, "GRANT rds_replication TO")
	require.Contains(t, e.says("setup", "--role", role, "--print-sql"), "GRANT rds_replication TO")
	e.exec(fmt.Sprintf(`grant rds_replication to %s`, role))
	require.NotContains(t, e.says("setup", "--role", role, "--print-sql"), "rds_replication")
	_, out, _ = e.command("doctor", "--role", role)
	require.Contains(t, out, "✔ REPLICATION right")
}

// What setup granted for two awa schemas is revoked with the second.
func TestSharedGrants(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	conn := e.connect()
	require.NoError(t, fleet.Install(t.Context(), conn, fleet.Layout{Schema: "other", Slots: 4}))
	role := e.role("replication")
	for _, schema := range []string{"awa", "other"} {
		e.says("setup", "--role", role, "--schema", schema)
		e.exec(`insert into awa_counterd.leader (awa_schema, instance, host, pid, version) values ($1, 'i', 'h', 1, 'v')`, schema)
	}
	may := fmt.Sprintf(`select has_table_privilege('%s', 'awa.runtime_storage_backends', 'select')::int`, role)
	e.says("teardown", "--role", role, "--schema", "awa")
	require.EqualValues(t, 1, e.scalar(may))
	e.says("teardown", "--role", role, "--schema", "other")
	require.Zero(t, e.scalar(may))
}

// Our tables are those of every awa schema in the database: another version's are not dropped under its daemon.
func TestTablesOfAnotherVersionInUse(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	d := e.daemon()
	d.logged("marker set", 15*time.Second)
	require.Zero(t, d.stop())
	e.exec(`alter table awa_counterd.books rename column counts to tallies;
		insert into awa_counterd.leader (awa_schema, instance, host, pid, version) values ('other', 'i', 'elsewhere', 77, 'v0.0.9')`)
	refuses(t, refused, e.url(), nil, "are those of version v0.0.9, and its daemon corrects awa's schema other", "stop that daemon (elsewhere pid 77)")
	code, _, errs := e.command("setup")
	require.Equal(t, refused, code)
	require.Contains(t, errs, "stop that daemon (elsewhere pid 77)")
	require.EqualValues(t, 1, e.scalar(`select count(*) from awa_counterd.leader where awa_schema = 'other'`))
	e.exec(`update awa_counterd.leader set heartbeat_at = now() - interval '1 min' where awa_schema = 'other'`)
	e.daemon().logged("marker set", 15*time.Second)
}
