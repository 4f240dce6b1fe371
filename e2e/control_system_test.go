package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Who hardens a server takes EXECUTE on pg_control_system from PUBLIC. Without it nobody can tell whether a checkpoint is of this cluster, and
// so whose the replication slot and the publications are that it names: what removes them is refused, and nothing is touched.
func TestRemovalWithoutControlSystem(t *testing.T) {
	t.Parallel()
	for command, args := range map[string][]string{
		"teardown": {"teardown", "--publication", "cdc"}, "finish": {"finish", "--publication", "cdc", "--quiet-period", "1s", "--timeout", "20s"},
	} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			role := e.role("replication")
			e.ownedBy(role)
			url := e.server.URL(role, "", e.db)
			d := start(t, nil, "run", "--database-url", url, "--slot", "own_"+e.db, "--publication", "cdc", "--checkpoint-interval", "200ms")
			d.logged("marker set", 30*time.Second)
			if command == "teardown" {
				require.Zero(t, d.stop())
			}
			e.exec(`create schema other; insert into awa_counterd.checkpoint (awa_schema, position, persisted_by, slot_name, publications, publication_state, system_identifier, timeline,
					relations, awa_shape, last_token, unseen_xids, trusted, reason)
				select 'other', position, persisted_by, 'other', publications, publication_state, system_identifier, timeline, relations, awa_shape, 0, '{}', false, ''
				from awa_counterd.checkpoint where awa_schema = 'awa'`)
			e.exec(`revoke execute on function pg_control_system() from public`)
			code, out, errs := e.commandOn(url, args...)
			require.Equal(t, refused, code, out+errs)
			require.Contains(t, errs, "nothing was changed: role "+role+" lacks EXECUTE on pg_control_system()")
			grant := `GRANT EXECUTE ON FUNCTION pg_control_system() TO "` + role + `"`
			require.Contains(t, errs, "as a superuser run: "+grant)
			require.EqualValues(t, 1, e.scalar(`select count(*) from pg_replication_slots where database = current_database()`))
			require.EqualValues(t, 2, e.scalar(`select count(*) from pg_publication`))
			require.EqualValues(t, 2, e.scalar(`select count(*) from awa_counterd.checkpoint`))
			e.exec(grant)
			if command == "finish" { // whose daemon has been without it, too
				return
			}
			code, out, errs = e.commandOn(url, args...)
			require.Zero(t, code, out+errs)
			require.Contains(t, out+errs, "publication cdc, which the daemon used, is left, for the daemon of another schema of awa's works with it as well")
			require.Zero(t, e.scalar(`select count(*) from pg_replication_slots where database = current_database()`))
			require.EqualValues(t, 2, e.scalar(`select count(*) from pg_publication`))
		})
	}
}
