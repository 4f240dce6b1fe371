package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Who hardens a server takes EXECUTE on some of its functions from PUBLIC: the daemon is refused with the statement that gives its role
// what it needs, a marker that nobody vouches for is cleared before, and doctor says the same.
func TestFunctionsOfTheServer(t *testing.T) {
	t.Parallel()
	for name, function := range map[string]string{
		"tokens": "pg_logical_emit_message(boolean, text, text%s)", "locks": "pg_try_advisory_lock(bigint)", "snapshots": "pg_current_snapshot()",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			if name == "tokens" {
				more := ""
				if e.scalar(`select current_setting('server_version_num')::int8`) >= 170000 {
					more = ", boolean"
				}
				function = fmt.Sprintf(function, more)
			}
			role := e.role("replication")
			e.says("setup", "--role", role)
			url := server.URL(role, "", e.db)
			e.exec(`revoke execute on function ` + function + ` from public`) // of this database only
			e.setMarker()
			remedy := e.remedy("functions", "the role may not execute", "--role", role)
			refuses(t, refused, url, []string{"--no-setup"}, "lacks EXECUTE on", "as a superuser run: GRANT EXECUTE ON FUNCTION")
			e.marker(false, 0)
			e.paste(remedy)
			d := start(t, nil, "run", "--no-setup", "--database-url", url)
			d.logged("marker set", 20*time.Second)
			require.Zero(t, d.stop())
		})
	}
}
