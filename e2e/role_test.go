package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// statuses waits until the daemon has said how it is n seconds from now or later: that many seconds have gone by for it. While all is
// well it says so at every sixth --status-interval.
func (d *daemon) statuses(n int) {
	d.t.Helper()
	due := time.Now().Add(time.Duration(n) * time.Second)
	said := func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, e := range slices.Backward(d.log) {
			if e["msg"] == "status" {
				text, _ := e["ts"].(string)
				at, err := time.Parse(time.RFC3339Nano, text)
				return err == nil && !at.Before(due)
			}
		}
		return false
	}
	require.Eventually(d.t, said, time.Duration(n+20)*time.Second, 20*time.Millisecond, d.text())
}

// hostileRole is a role for a daemon, which setup has given what it needs, and a schema evil, with a function in it that lies to whoever
// has evil in front of pg_catalog.
func (e *env) hostileRole() string {
	e.t.Helper()
	role := e.role("replication")
	e.says("setup", "--role", role)
	e.exec(`create schema evil; grant usage on schema evil to public;
		create function evil.pg_current_snapshot() returns pg_snapshot language sql as 'select ''10:10:''::pg_snapshot'`)
	return role
}

// Whatever is configured for a role, our sessions behave the same: none is ended by the server, and what the
// daemon reads and writes is right.
func TestHostileRoleSettings(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	role := e.hostileRole()
	for i, setting := range []string{
		"idle_session_timeout = '1s'", "idle_in_transaction_session_timeout = '1ms'", "transaction_timeout = '20ms'",
		"statement_timeout = '1ms'", "lock_timeout = '1ms'", "client_min_messages = 'debug5'", "client_min_messages = 'error'",
		"search_path = evil, pg_catalog", "default_transaction_isolation = 'serializable'", "default_transaction_read_only = on",
		"default_transaction_deferrable = on", "DateStyle = 'German'", "IntervalStyle = 'sql_standard'", "bytea_output = 'escape'",
		"extra_float_digits = -15", "client_encoding = 'LATIN1'", "standard_conforming_strings = off", "quote_all_identifiers = on",
		"row_security = on", "synchronous_commit = 'remote_apply'", "timezone = 'Asia/Kathmandu'", "enable_partition_pruning = off",
		"plan_cache_mode = 'force_generic_plan'", "array_nulls = off", "wal_sender_timeout = '1ms'",
	} {
		name, _, _ := strings.Cut(setting, " ")
		t.Run(setting, func(t *testing.T) {
			if e.scalar(`select count(*) from pg_settings where name = $1`, name) == 0 {
				t.Skip("this server has no such setting")
			}
			e.t = t
			e.exec(fmt.Sprintf(`alter role %s reset all; alter role %[1]s set %s`, role, setting))
			d := start(t, nil, "run", "--database-url", server.URL(role, "", e.db), "--no-setup", "--status-interval", "200ms", "--audit-interval", "1s")
			e.insertAt(int32(i)%4, "größe", 5, false)
			d.logged("marker set", 20*time.Second)
			e.balanced(3 * time.Second)
			if name == "idle_session_timeout" || name == "transaction_timeout" { // which of the daemon's are idle for long is up to chance
				src, err := pg.ParseSource(server.URL(role, "", e.db))
				require.NoError(t, err)
				conn, err := src.Connect(t.Context(), pg.Settings{})
				require.NoError(t, err)
				var has string
				require.NoError(t, conn.QueryRow(t.Context(), `select current_setting($1)`, name).Scan(&has))
				require.Equal(t, "0", has, "the server may end a session of awa-counterd")
				require.NoError(t, conn.Close(t.Context()))
			}
			if strings.Contains(setting, "session_timeout") {
				d.statuses(3)
			}
			e.insertAt(int32(i)%4, "größe", 5, false)
			e.balanced(3 * time.Second)
			e.marker(true, 0)
			code := d.stop()
			require.Zero(t, code, d.text())
			for _, bad := range []string{"session failed", "writing the trust marker failed", "writing a token failed", "audit: the books"} {
				require.NotContains(t, d.text(), bad)
			}
		})
	}
}

// A table with row level security shows a role that is subject to it what its policies let through. A right
// counter went to 0 for it, and the audit, which saw the same, agreed.
func TestRowLevelSecurity(t *testing.T) {
	for _, c := range []struct{ shape, table string }{
		{fleet.Direct, "awa.done_entries"},
		{fleet.Ledger, "awa.done_entries_1"},
		{fleet.Ledger, "awa.queue_terminal_count_deltas_1"},
		{fleet.Ledger, "awa.queue_terminal_live_counts"},
	} {
		for _, running := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %s running %t", c.shape, c.table, running), func(t *testing.T) {
				e := newEnv(t, fleet.Layout{Shape: c.shape, Slots: 4})
				role := e.role("replication")
				code, _, errs := e.command("setup", "--role", role)
				require.Zero(t, code, errs)
				url := server.URL(role, "", e.db)
				e.insertAt(1, "q", 50, true)
				begin := func() *daemon {
					return start(t, nil, "run", "--database-url", url, "--no-setup", "--audit-interval", "1s")
				}
				var d *daemon
				if running {
					d = begin()
					d.logged("marker set", 15*time.Second)
				}
				e.exec(fmt.Sprintf(`create policy nobody on %s using (false) with check (true); alter table %[1]s enable row level security`, c.table))
				wants := []string{"row level security", c.table, "nobody", "BYPASSRLS"}
				if running {
					e.marker(false, 5*time.Second)
					said := fmt.Sprint(d.logged("row level security", 10*time.Second))
					for _, w := range wants {
						require.Contains(t, said, w)
					}
				} else {
					src, err := pg.ParseSource(url)
					require.NoError(t, err)
					conn, err := src.Connect(t.Context(), pg.Settings{})
					require.NoError(t, err)
					_, err = conn.Exec(t.Context(), `select queue from `+c.table)
					require.ErrorContains(t, err, "row-level security", "a part of the rows instead of an error")
					require.NoError(t, conn.Close(t.Context()))
					refuses(t, refused, url, []string{"--no-setup"}, wants...)
				}
				e.balanced(0)
				e.paste(e.remedy("row level security", c.table+" (policies: nobody)", "--role", role))
				if !running {
					d = begin()
				}
				e.marker(true, 20*time.Second)
				e.insertAt(1, "q", 7, false)
				e.balanced(3 * time.Second)
				require.Zero(t, d.stop())
			})
		}
	}
}

// A role may have another one set for its sessions; a refusal names the one that lacks the right.
func TestRefusalNamesTheRoleThatIsSet(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	other := e.role("replication")
	role := e.role("replication in role " + other)
	e.exec(fmt.Sprintf(`alter role %s set role = '%s'`, role, other))
	refuses(t, refused, server.URL(role, "", e.db), nil, "role "+other+" lacks", fmt.Sprintf(`TO "%s"`, other))
}

// Row level security on the table that names awa's active schema.
func TestRowSecurityOnBackends(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	role := e.role("replication")
	e.says("setup", "--role", role)
	e.exec(`alter table awa.runtime_storage_backends enable row level security`)
	url := server.URL(role, "", e.db)
	refuses(t, refused, url, []string{"--no-setup"}, "row level security hides rows of awa.runtime_storage_backends", "BYPASSRLS")
	e.exec(`alter role ` + role + ` bypassrls`)
	start(t, nil, "run", "--database-url", url, "--no-setup").logged("leading", 20*time.Second)
}
