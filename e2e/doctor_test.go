package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

type check struct {
	Name    string `json:"check"`
	Verdict string `json:"verdict"`
	Detail  string `json:"detail"`
	Remedy  string `json:"remedy"`
}

// doctor returns the checks that failed.
func (e *env) doctor(args ...string) (code int, failed []check) {
	e.t.Helper()
	code, out, errs := e.command(append([]string{"doctor", "--json"}, args...)...)
	var report struct {
		Checks []check `json:"checks"`
	}
	require.NoError(e.t, json.Unmarshal([]byte(out), &report), out+errs)
	for _, c := range report.Checks {
		if c.Verdict != "ok" {
			failed = append(failed, c)
		}
	}
	return code, failed
}

// remedy is what doctor says to a check that failed, whose detail has to contain a text.
func (e *env) remedy(name, detail string, args ...string) (remedy string) {
	e.t.Helper()
	code, failed := e.doctor(args...)
	require.Equal(e.t, 3, code)
	for _, w := range failed {
		if w.Name == name {
			require.Contains(e.t, w.Detail, detail)
			remedy = w.Remedy
		}
	}
	require.NotEmpty(e.t, remedy, "%+v", failed)
	return remedy
}

// Ten planted faults on a fresh cluster: the doctor finds each, and its remedy works when pasted.
func TestDoctorFindsPlantedFaults(t *testing.T) {
	t.Parallel()
	c, err := cluster.Start(t.Context(), cluster.Options{Bin: pgBin, Settings: map[string]string{
		"max_slot_wal_keep_size": "1GB", "max_prepared_transactions": "2", "max_replication_slots": "2",
	}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	e := newEnvOn(t, c, fleet.Layout{Shape: fleet.Direct, Slots: 4})
	code, failed := e.doctor()
	require.Zero(t, code, "%+v", failed)
	const tables = "awa.done_entries, awa.queue_terminal_live_counts, awa.queue_ring_state, awa.queue_terminal_rollups"
	e.exec(`create role app login`)

	restart := func() {
		e.pool.Reset()
		require.NoError(t, c.Down(t.Context(), "fast"))
		require.NoError(t, c.Up(t.Context()))
	}
	for _, f := range []struct {
		name    string
		plant   string
		check   string
		args    []string
		restart bool
	}{
		{name: "wal_level", plant: `alter system set wal_level = replica`, check: "wal_level", restart: true},
		{name: "no slot free", plant: `select pg_create_physical_replication_slot('a'), pg_create_physical_replication_slot('b')`, check: "replication slot free", restart: true},
		{name: "unbounded WAL", plant: `alter system set max_slot_wal_keep_size = -1`, check: "WAL bounded", restart: true},
		{name: "no REPLICATION", plant: `grant all on all tables in schema awa to app; grant usage on schema awa to app; grant create on database ` + e.db + ` to app; create publication awa_counterd_awa for table ` + tables, check: "REPLICATION right", args: []string{"--role", "app"}},
		{name: "no UPDATE", plant: `revoke update on awa.queue_terminal_live_counts from app`, check: "right: UPDATE ON awa.queue_terminal_live_counts", args: []string{"--role", "app"}},
		{name: "via root", plant: `alter publication awa_counterd_awa set (publish_via_partition_root = true)`, check: "publication awa_counterd_awa"},
		{name: "table missing", plant: `alter publication awa_counterd_awa drop table awa.queue_ring_state`, check: "publication awa_counterd_awa"},
		{name: "replica identity", plant: `alter table awa.done_entries_2 replica identity nothing`, check: "replica identities"},
		{name: "no index", plant: `drop index awa.idx_awa_queue_terminal_live_counts_queue`, check: "queue-leading index"},
		{name: "orphaned marker", plant: `update awa.queue_ring_state set terminal_counter_trusted_at = now()`, check: "trust marker is justified"},
		{name: "prepared", plant: `begin; create table p (i int); prepare transaction 'left'`, check: "prepared transactions"},
	} {
		t.Run(f.name, func(t *testing.T) {
			e.t = t
			e.exec(f.plant)
			if f.restart {
				restart()
			}
			code, failed := e.doctor(f.args...)
			require.Equal(t, 3, code)
			require.Len(t, failed, 1, "%+v", failed)
			require.Equal(t, f.check, failed[0].Name)
			e.paste(failed[0].Remedy)
			if strings.Contains(failed[0].Remedy, "restart the server") {
				restart()
			}
			code, failed = e.doctor(f.args...)
			require.Zero(t, code, "%+v", failed)
		})
	}
	e.t = t
	e.daemon().logged("marker set", 15*time.Second)
}

// paste does what a remedy says, as a person would: the statement up to the words around it, or the
// command.
func (e *env) paste(remedy string) {
	e.t.Helper()
	if command, ok := strings.CutPrefix(remedy, "awa-counterd "); ok {
		code, out, errs := e.command(strings.Fields(command)...)
		require.Zero(e.t, code, out+errs)
		return
	}
	for _, words := range []string{" and restart the server", " or COMMIT PREPARED"} {
		remedy, _, _ = strings.Cut(remedy, words)
	}
	for statement := range strings.SplitSeq(remedy, ";") {
		e.exec(statement)
	}
}

// What a role may not look at is told apart from what failed; without awa there is little to say.
func TestDoctorElsewhere(t *testing.T) {
	e := newDatabase(t, server)
	code, failed := e.doctor()
	require.Equal(t, 3, code)
	require.Condition(t, func() bool {
		for _, w := range failed {
			if w.Name == "awa's tables" && strings.Contains(w.Detail, "there is no table awa.done_entries") {
				return true
			}
		}
		return false
	}, "%+v", failed)
	code, out, errs := e.command("doctor")
	require.Equal(t, 3, code, errs)
	require.Contains(t, out, "✘ awa's tables: schema awa: there is no table awa.done_entries")
	require.Contains(t, out, fmt.Sprintf("%d checks, ", strings.Count(out, "✔")+strings.Count(out, "✘")))
}

// No walsender is free: doctor says so to a role that sees nothing of others' sessions, and the refusal names the setting.
func TestNoWalsender(t *testing.T) {
	t.Parallel()
	c, err := cluster.Start(t.Context(), cluster.Options{Bin: pgBin, Settings: map[string]string{"max_wal_senders": "1"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	one, two := newEnvOn(t, c, fleet.Layout{Slots: 4}), newEnvOn(t, c, fleet.Layout{Slots: 4})
	one.daemon().logged("marker set", 20*time.Second)
	role := two.role("replication")
	two.says("setup", "--role", role)
	_, out, _ := two.commandOn(c.URL(role, "", two.db), "doctor")
	require.Contains(t, out, "✘ walsender free: 1 of 1 used")
	require.Contains(t, out, "max_wal_senders")
	d := two.daemon()
	d.logged("no walsender is free", 20*time.Second)
	require.NotContains(t, d.text(), "raise max_connections")
}

// How old others' transactions are, a weak role may not see; doctor says that, and not that there is none.
func TestDoctorSaysWhatItCannotSee(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	role := e.role("replication")
	e.says("setup", "--role", role)
	url := server.URL(role, "", e.db)
	conn := e.connect()
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `create table public.x (i int)`)
	require.NoError(t, err)
	_, out, _ := e.commandOn(url, "doctor")
	require.Contains(t, out, "? long transactions")
	e.exec(`grant pg_read_all_stats to ` + role)
	_, out, _ = e.commandOn(url, "doctor")
	require.Contains(t, out, "✔ long transactions")
	require.NoError(t, tx.Rollback(t.Context()))
}
