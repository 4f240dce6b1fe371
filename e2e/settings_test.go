package e2e

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// extreme is what a setting is given for a role: as far from its default as its kind allows, towards one end or the other.
func extreme(name, kind, normal, low, high string, values []string, up bool) string {
	switch {
	case kind == "bool" && normal == "on":
		return "off"
	case kind == "bool":
		return "on"
	case kind == "enum":
		values = slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == normal })
		if len(values) == 0 {
			return ""
		}
		if up {
			return values[len(values)-1]
		}
		return values[0]
	case kind == "string":
		return map[string]string{"DateStyle": "German", "TimeZone": "Asia/Kathmandu", "search_path": "evil", "client_encoding": "LATIN1"}[name]
	case up:
		return high
	}
	return low
}

// notOurs are settings that are left as they are: what they do is to the server and to everybody's log, or no session of anybody
// can begin with them.
var notOurs = regexp.MustCompile(`^(log_|trace_|debug_(print|pretty|deadlocks|assertions)|transaction_(isolation|read_only|deferrable)$|` +
	`max_stack_depth$|post_auth_delay$|ssl_|wal_debug$|ignore_|zero_damaged|allow_system|session_authorization$|role$|seed$|is_superuser$|` +
	`debug_discard_caches$|commit_delay$|backtrace)`)

// Whatever a role can set, one end and then the other of every setting at once: the daemon works as ever. A counter row is held
// by somebody for a while, so that errors of which it makes nothing come as well.
func TestEverySettingOfARole(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	role := e.hostileRole()
	for _, up := range []bool{false, true} {
		t.Run(fmt.Sprintf("up %t", up), func(t *testing.T) {
			e.t = t
			e.exec(fmt.Sprintf(`alter role %s reset all`, role))
			e.heldFor(role, e.settings(role, up))
		})
	}
}

// settings gives the role every setting that it can have, and returns their names.
func (e *env) settings(role string, up bool) (names []string) {
	e.t.Helper()
	rows, err := e.pool.Query(e.t.Context(), `select name, vartype, coalesce(reset_val, ''), coalesce(min_val, ''), coalesce(max_val, ''), coalesce(enumvals, '{}')
		from pg_settings where context in ('user', 'superuser') order by 1`)
	require.NoError(e.t, err)
	var name, kind, normal, low, high string
	var values []string
	_, err = pgx.ForEachRow(rows, []any{&name, &kind, &normal, &low, &high, &values}, func() error {
		if v := extreme(name, kind, normal, low, high, values, up); v != "" && !notOurs.MatchString(name) {
			_, err := e.pool.Exec(e.t.Context(), fmt.Sprintf(`alter role %s set %s = '%s'`, role, name, v))
			if err != nil {
				e.t.Logf("%s = %s: %v", name, v, err)
				return nil
			}
			names = append(names, name+" = "+v)
		}
		return nil
	})
	require.NoError(e.t, err)
	require.Greater(e.t, len(names), 100)
	e.t.Log(strings.Join(names, "\n"))
	return names
}

// heldFor has a daemon of the role work, beside a transaction that holds a counter row which is to be corrected.
func (e *env) heldFor(role string, set []string) {
	e.t.Helper()
	url := e.server.URL(role, "", e.db)
	d := start(e.t, nil, "run", "--database-url", url, "--no-setup", "--status-interval", "200ms", "--audit-interval", "1s")
	d.logged("marker set", 30*time.Second)
	e.insertAt(1, "größe", 5, true)
	e.balanced(5 * time.Second)
	tx, err := e.pool.Begin(e.t.Context())
	require.NoError(e.t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(e.t.Context(), fmt.Sprintf(`select 1 from %s.queue_terminal_live_counts for update`, e.layout.Schema))
	require.NoError(e.t, err)
	e.insertAt(1, "größe", 3, false)
	d.statuses(3)
	require.NoError(e.t, tx.Rollback(e.t.Context()))
	e.balanced(5 * time.Second)
	e.marker(true, 10*time.Second)
	for _, c := range []string{"status", "doctor"} {
		code, out, errs := e.commandOn(url, c)
		require.Contains(e.t, []int{0, 3}, code, out+errs) // doctor finds the server's WAL unbounded
	}
	require.Zero(e.t, d.stop(), d.text())
	for _, bad := range []string{"session failed", "writing a token failed", "audit: the books"} {
		require.NotContains(e.t, d.text(), bad, "under %v", set)
	}
}
