package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// What only the tables of another form know outlives that form: what the daemon before was told to call its replication slot and
// publications, and what setup granted. Else a replication slot that nobody reads would keep WAL for ever.
func TestFormerFormIsNotForgotten(t *testing.T) {
	t.Parallel()
	older := olderBuilds(t, oneRow)[0]
	for name, test := range map[string]func(e *env, made func() int64){
		"teardown": func(e *env, made func() int64) {
			e.saysOf(binary, e.url(), "teardown")
			require.Zero(e.t, made())
			e.nothingOfOurs()
		},
		"setup, then teardown": func(e *env, made func() int64) {
			e.saysOf(binary, e.url(), "setup")
			require.Zero(e.t, e.scalar(`select count(*) from pg_class where relname = 'former_checkpoint'`))
			e.saysOf(binary, e.url(), "teardown")
			require.Zero(e.t, made())
			e.nothingOfOurs()
		},
		"a daemon under other names": func(e *env, made func() int64) {
			d := e.runs(binary, e.url())
			e.serves(d, afresh)
			d.logged("publications that the daemon used before are left", 0)
			require.EqualValues(e.t, 2, made(), "publications of another name may have been somebody's")
			require.Zero(e.t, d.stop())
		},
		"teardown beside another schema": func(e *env, made func() int64) {
			e.exec(`insert into awa_counterd.leader (awa_schema, instance, host, pid, version) values ('other', 'x', 'db9', 4711, 'v0')`)
			e.saysOf(binary, e.url(), "teardown")
			require.Zero(e.t, made())
			require.EqualValues(e.t, 1, e.scalar(`select count(*) from awa_counterd.leader`), "its daemon may have made something as well")
		},
		"a daemon of another schema": func(e *env, made func() int64) {
			e.exec(`update awa_counterd.checkpoint set awa_schema = 'other'`)
			e.exec(`update awa_counterd.leader set awa_schema = 'other', heartbeat_at = now() - interval '1 hour'`)
			e.saysOf(binary, e.url(), "setup")
			e.saysOf(binary, e.url(), "teardown")
			require.EqualValues(e.t, 1, e.scalar(`select count(*) from awa_counterd.checkpoint`), "nothing else knows what the other one made")
			d := e.runs(binary, e.url())
			e.serves(d, afresh)
			e.none(`select count(*) from pg_replication_slots where slot_name like 'mine%' and database = current_database()`, 20*time.Second, "nobody reads it")
			require.EqualValues(e.t, 2, made(), "only publications of the default name are known to be the other one's")
			require.Zero(e.t, d.stop())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			mine := "mine_" + e.db
			made := func() int64 {
				return e.scalar(`select (select count(*) from pg_replication_slots where slot_name = $1) + (select count(*) from pg_publication where pubname like $1 || '%')`, mine)
			}
			old := e.runs(older, e.url(), "--slot", mine, "--publication", mine)
			e.serves(old, "leading")
			e.checkpointed()
			require.Zero(t, old.stop())
			require.EqualValues(t, 3, made())
			test(e, made)
		})
	}
	for name, commands := range map[string][]string{
		"rights":           {"setup", "teardown"},
		"rights, teardown": {"teardown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			role := e.role("replication")
			e.saysOf(older, e.url(), "setup", "--role", role)
			for _, command := range commands {
				e.saysOf(binary, e.url(), command, "--role", role)
			}
			e.nothingGranted(role)
		})
	}
}
