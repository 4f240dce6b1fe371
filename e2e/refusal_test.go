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

// refuses starts the daemon and expects one line that names the cause and what mends it.
func refuses(t *testing.T, code int, url string, args []string, wants ...string) {
	t.Helper()
	d := start(t, []string{"PGPASSWORD="}, append([]string{"run", "--database-url", url}, args...)...)
	require.Equal(t, code, d.wait(15*time.Second), d.text())
	lines := strings.Split(strings.TrimSpace(d.text()), "\n")
	last := lines[len(lines)-1]
	for _, want := range wants {
		require.Contains(t, last, want)
	}
	require.True(t, strings.HasPrefix(last, "awa-counterd: "), last)
	require.NotContains(t, d.text(), "hunter2", "a password in the output")
}

// mended runs the statement that a refusal named, and expects the daemon to work then.
func (e *env) mended(statement string, args ...string) {
	e.t.Helper()
	e.exec(statement)
	e.daemon(args...).logged("marker set", 15*time.Second)
}

const refused = 4

// couldNot is the exit code of what could not be done.
const couldNot = 1

// After a reboot the daemon may be up before its server: it tries for as long as it takes, and says what is wrong. Commands refuse.
func TestServerThatComesLater(t *testing.T) {
	c := ownServer(t)
	e := newEnvOn(t, c, fleet.Layout{Slots: 4})
	e.setMarker()
	e.pool.Reset()
	require.NoError(t, c.Down(t.Context(), "fast"))
	d := start(t, nil, "run", "--database-url", c.URL(cluster.Superuser, "hunter2", e.db))
	reason, _ := d.logged("session failed; starting the next one", 15*time.Second)["reason"].(string)
	for _, want := range []string{"is not reachable", "connection refused", "start the server, or correct host and port"} {
		require.Contains(t, reason, want)
	}
	code, _, errs := e.command("status")
	require.Equal(t, refused, code)
	require.Contains(t, errs, "is not reachable")
	require.NoError(t, c.Up(t.Context()))
	d.logged("leading", 30*time.Second)
	require.NotContains(t, d.text(), "hunter2", "a password in the output")
	require.Zero(t, d.stop())
}

func TestRefusesOnStrictCluster(t *testing.T) {
	strict, err := cluster.Start(t.Context(), cluster.Options{Bin: pgBin, Auth: "scram-sha-256", Settings: map[string]string{
		"wal_level": "replica", "max_replication_slots": "1", "max_wal_senders": "2",
	}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = strict.Close() })
	e := newEnvOn(t, strict, fleet.Layout{})
	e.exec(`create role app login superuser password 'secret'`)
	url := strict.URL("app", "secret", e.db)

	t.Run("wrong password", func(t *testing.T) {
		refuses(t, refused, strict.URL("app", "hunter2", e.db), nil, "wrong password for role app", "PGPASSWORD")
	})
	t.Run("no such database", func(t *testing.T) {
		refuses(t, refused, strict.URL("app", "secret", "nowhere"), nil, "there is no such database", "--database-url")
	})
	t.Run("wal_level", func(t *testing.T) {
		refuses(t, refused, url, nil, `wal_level is "replica"`, "ALTER SYSTEM SET wal_level = 'logical' and restart")
	})
	t.Run("no slot free", func(t *testing.T) {
		e.pool.Reset()
		require.NoError(t, strict.Down(t.Context(), "fast"))
		require.NoError(t, strict.Configure("wal_level", "logical"))
		require.NoError(t, strict.Up(t.Context()))
		e.exec(`select pg_create_physical_replication_slot('other')`)
		refuses(t, refused, url, nil, "no replication slot is free", "raise max_replication_slots", "drop a replication slot that nobody needs")
		e.exec(`select pg_drop_replication_slot('other')`)
		start(t, nil, "run", "--database-url", url).logged("marker set", 15*time.Second)
	})
}

func TestRefusesRoleWithoutRights(t *testing.T) {
	e := newEnv(t, fleet.Layout{})
	role := e.role("")
	url := server.URL(role, "", e.db)
	refuses(t, refused, url, nil, "has no REPLICATION right", fmt.Sprintf(`ALTER ROLE "%s" REPLICATION`, role))
	e.exec(fmt.Sprintf(`alter role %s replication`, role))
	// Each refusal names the next GRANT that is missing; pasted one after the other they suffice.
	for range 20 {
		d := start(t, nil, "run", "--database-url", url)
		over := time.After(10 * time.Second)
		select {
		case <-d.Done():
		case <-over:
			require.Fail(t, "neither refused nor working", d.text())
		case <-seen(d, "marker set"):
		}
		d.kill()
		text := d.text()
		if _, grant, ok := strings.Cut(text, "run: GRANT "); ok {
			e.exec("GRANT " + strings.TrimSpace(grant))
			continue
		}
		_, create, ok := strings.Cut(text, "have the owner of awa's tables run awa-counterd setup, or run: ")
		if !ok {
			break
		}
		create, _, _ = strings.Cut(create, "\n")
		e.exec(strings.TrimSpace(create))
	}
	d := start(t, nil, "run", "--database-url", url)
	d.logged("marker set", 15*time.Second)
	require.Zero(t, d.stop())
}

// seen is closed when the daemon has logged text.
func seen(d *daemon, text string) <-chan struct{} {
	out := make(chan struct{})
	go func() {
		defer close(out)
		for {
			e, more := d.find(text)
			if e != nil {
				return
			}
			select {
			case <-more:
			case <-d.Done():
				<-make(chan struct{})
			}
		}
	}()
	return out
}

func TestRefusesPublications(t *testing.T) {
	const tables = "awa.done_entries, awa.queue_terminal_live_counts, awa.queue_ring_state, awa.queue_terminal_rollups"
	for name, c := range map[string]struct {
		make  string
		wants []string
		mend  string
	}{
		"via root": {
			"create publication awa_counterd_awa for table " + tables + " with (publish_via_partition_root = true)",
			[]string{"publishes via the partition root", "publish_via_partition_root = false"},
			`ALTER PUBLICATION "awa_counterd_awa" SET (publish_via_partition_root = false)`,
		},
		"leaf outside": {
			"create publication awa_counterd_awa for table awa.done_entries_0, awa.done_entries_1, awa.queue_terminal_live_counts, awa.queue_ring_state, awa.queue_terminal_rollups",
			[]string{"does not publish awa.done_entries_2, awa.done_entries_3", `ALTER PUBLICATION "awa_counterd_awa" ADD TABLE awa.done_entries`},
			`ALTER PUBLICATION "awa_counterd_awa" ADD TABLE awa.done_entries`,
		},
		"no truncate": {
			"create publication awa_counterd_awa for table " + tables + " with (publish = 'insert, update, delete')",
			[]string{"does not publish all of insert, update, delete, truncate"},
			`ALTER PUBLICATION "awa_counterd_awa" SET (publish = 'insert, update, delete, truncate')`,
		},
		"all tables": {
			"create publication awa_counterd_awa for all tables",
			[]string{"FOR ALL TABLES", "awa's own DELETEs"},
			`DROP PUBLICATION awa_counterd_awa`,
		},
		"row filter": {
			"create publication awa_counterd_awa for table awa.done_entries_0 where (queue <> 'x'), awa.done_entries_1, awa.done_entries_2, awa.done_entries_3, awa.queue_terminal_live_counts, awa.queue_ring_state, awa.queue_terminal_rollups",
			[]string{"has a row filter", `ALTER PUBLICATION "awa_counterd_awa" DROP TABLE awa.done_entries_0; ALTER PUBLICATION "awa_counterd_awa" ADD TABLE awa.done_entries`},
			`ALTER PUBLICATION "awa_counterd_awa" DROP TABLE awa.done_entries_0; ALTER PUBLICATION "awa_counterd_awa" ADD TABLE awa.done_entries`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, fleet.Layout{Shape: fleet.Direct, Slots: 4})
			if name == "row filter" && e.scalar(`select current_setting('server_version_num')::int8`) < 150000 {
				t.Skip("row filters came with PostgreSQL 15")
			}
			e.exec(c.make)
			refuses(t, refused, e.url(), nil, c.wants...)
			e.mended(c.mend)
		})
	}
}

func TestRefusesShapes(t *testing.T) {
	for name, c := range map[string]struct {
		change string
		wants  []string
	}{
		"no done_entries": {"drop table awa.done_entries", []string{"there is no table awa.done_entries", "--schema"}},
		"not partitioned": {
			"drop table awa.done_entries; create table awa.done_entries (ready_slot int)", []string{"is not partitioned"},
		},
		"a ledger beside counters without buckets": {
			`create table awa.queue_terminal_count_deltas (ready_slot int, terminal_delta bigint) partition by list (ready_slot)`,
			[]string{"this build does not know that shape", "and a ledger beside it"},
		},
		"a slot without its leaf of the ledger": {
			`alter table awa.queue_terminal_live_counts drop constraint queue_terminal_live_counts_pkey, add counter_bucket smallint not null default 0,
				add primary key (ready_slot, queue, priority, enqueue_shard, counter_bucket);
			create table awa.queue_terminal_count_deltas (ready_slot int, queue text, priority int2, enqueue_shard int2, terminal_delta bigint) partition by list (ready_slot)`,
			[]string{"ring slot 0 has a leaf of done_entries but none of queue_terminal_count_deltas"},
		},
		"unknown": {
			`alter table awa.queue_terminal_live_counts rename column live_terminal_count to n`, []string{"this build does not know that shape", "(ready_slot, queue, priority, enqueue_shard, n)"},
		},
		"replica identity": {
			`alter table awa.done_entries_3 replica identity nothing`, []string{"awa.done_entries_3", "ALTER TABLE awa.done_entries_3 REPLICA IDENTITY DEFAULT"},
		},
		"alpha without shard": {
			`alter table awa.done_entries drop column enqueue_shard cascade`, []string{"has no column enqueue_shard"},
		},
		"a leaf of two slots": {
			`create table awa.both partition of awa.done_entries for values in (8, 9)`, []string{"leaf both holds FOR VALUES IN (8, 9), not one ring slot"},
		},
		"a leaf of all other slots": {`create table awa.rest partition of awa.done_entries default`, []string{"leaf rest holds DEFAULT, not one ring slot"}},
		"a leaf that is partitioned": {
			`create table awa.parts partition of awa.done_entries for values in (8) partition by list (queue)`, []string{"awa.parts is not an ordinary table (relkind p)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, fleet.Layout{Shape: fleet.Direct, Slots: 4})
			e.exec(c.change)
			refuses(t, refused, e.url(), nil, c.wants...)
		})
	}
}

func TestRefusesSlotsOfOthers(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	slot := "s" + e.db
	e.exec(`select pg_create_logical_replication_slot($1, 'test_decoding')`, slot)
	refuses(t, refused, e.url(), []string{"--slot", slot}, `has the plugin "test_decoding"`, "--slot", fmt.Sprintf("SELECT pg_drop_replication_slot('%s')", slot))
	e.mended(fmt.Sprintf("SELECT pg_drop_replication_slot('%s')", slot), "--slot", slot)

	other := newEnv(t, fleet.Layout{Slots: 4})
	refuses(t, refused, other.url(), []string{"--slot", slot}, fmt.Sprintf("belongs to database %q", e.db))
}

func TestRefusesNamesAndFlags(t *testing.T) {
	const usage = 2
	for name, args := range map[string][]string{
		"needs quoting": {"--schema", "My Schema"},
		"hostile":       {"--schema", `awa"; drop table x; --`},
		"digits":        {"--schema", "1awa"},
		"too long":      {"--schema", strings.Repeat("a", 64)},
		"slot":          {"--slot", "Slot-1"},
		"publication":   {"--publication", "a b"},
		"trust":         {"--trust", "maybe"},
		"staleness":     {"--max-staleness", "1ms"},
		"flush":         {"--flush-interval", "1s"},
		"duration":      {"--audit-interval", "soon"},
		"unknown flag":  {"--colour"},
		"url":           {"--database-url", "postgres://u:hunter2@host:port/x"},
	} {
		t.Run(name, func(t *testing.T) {
			refuses(t, usage, "postgres://127.0.0.1:1/x", args, "awa-counterd: ")
		})
	}
	// The database may name a schema as hostile as a flag can.
	e := newEnv(t, fleet.Layout{Slots: 4})
	e.exec(`update awa.runtime_storage_backends set schema_name = 'x"; drop schema awa cascade; --'`)
	refuses(t, refused, e.url(), nil, "awa's schema names are lower-case letters")
}

// One --slot for two schemas of awa, or for two databases: the second daemon is refused, with the name of who has it, and the first
// one does not notice. When that one has gone, the other may begin.
func TestOneSlotForTwo(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	other := fleet.Layout{Schema: "other", Slots: 4}
	require.NoError(t, fleet.Install(t.Context(), e.connect(), other))
	slot := "one_" + e.db
	first := e.daemon("--schema", "awa", "--slot", slot)
	e.marker(true, 20*time.Second)
	refuses(t, refused, e.url(), []string{"--schema", "other", "--slot", slot}, "replication slot "+slot+" is that of the daemon of awa's schema awa", "--slot of its own")
	elsewhere := newEnv(t, fleet.Layout{Slots: 4})
	refuses(t, refused, elsewhere.url(), []string{"--slot", slot}, `belongs to database "`+e.db+`"`)
	e.marker(true, 0)
	require.NotContains(t, first.text(), "session ended")
	require.Zero(t, first.stop())
	second := e.daemon("--schema", "other", "--slot", slot)
	second.logged("marker set", 20*time.Second)
	require.Zero(t, second.stop())
}

// awa's active schema is another one now, and the daemon goes on there with the --slot that it had: nobody can drop that, and there is
// nothing to be said about it.
func TestOneSlotForASchemaThatSwitches(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	require.NoError(t, fleet.Install(t.Context(), e.connect(), fleet.Layout{Schema: "other", Slots: 4, Shape: fleet.Ledger}))
	e.exec(`update awa.runtime_storage_backends set schema_name = 'awa' where backend = 'queue_storage'`)
	slot := "one_" + e.db
	d := e.daemon("--slot", slot, "--checkpoint-interval", "200ms")
	e.marker(true, 30*time.Second)
	e.checkpointed()
	e.exec(`update awa.runtime_storage_backends set schema_name = 'other' where backend = 'queue_storage'`)
	o := *e
	o.layout.Schema = "other"
	o.marker(true, 30*time.Second)
	e.marker(false, 0)
	soon, end := contextWithin(15 * time.Second)
	defer end()
	e.until(soon, func() bool {
		return e.scalar(`select (select count(*) from awa_counterd.leader) + (select count(*) from awa_counterd.checkpoint where awa_schema = 'awa')`) == 1
	}, func() string { return "the schema that was left is not swept" })
	e.exec(`select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1 and active`, slot) // another session, another process
	o.marker(false, 10*time.Second)
	o.marker(true, 30*time.Second)
	require.NotContains(t, d.text(), "could not remove")
	require.Zero(t, d.stop())
}
