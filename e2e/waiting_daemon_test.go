package e2e

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// silent makes the leader's last heartbeat old, as a wait makes it that takes longer than a test may.
func (e *env) silent() {
	e.t.Helper()
	e.exec(`update awa_counterd.leader set heartbeat_at = now() - interval '1 min'`)
}

// nobodyIsCalledDead demands that status asserts nothing of a daemon that waits but that it does not lead, and returns the last line.
func (e *env) nobodyIsCalledDead() string {
	e.t.Helper()
	out := e.says("status")
	require.NotContains(e.t, out, "DEAD")
	require.NotContains(e.t, out, "no daemon is alive")
	require.NotContains(e.t, out, "everything of it was removed")
	return e.status().Next
}

// While awa migrates, a daemon waits, and leads no more for as long as that takes. status says so, sending nobody to teardown, and finish waits as
// well: until the migration has ended, and until the daemon has had time to lead again.
func TestWhoWaitsForAwasMigration(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d := e.daemon("--checkpoint-interval", "200ms")
	e.marker(true, 20*time.Second)
	holder := e.connect()
	pid := holder.PgConn().PID()
	_, err := holder.Exec(t.Context(), `select pg_advisory_lock(x'4157415f4d494752'::int8)`)
	require.NoError(t, err)
	d.logged("waiting until awa's migrations have ended", 10*time.Second)
	e.marker(false, 5*time.Second)
	e.silent()

	next := e.nobodyIsCalledDead()
	require.Contains(t, next, fmt.Sprintf("awa's migration is running (process %d), ", pid))
	require.NotContains(t, next, "teardown")
	var told struct {
		PID uint32 `json:"migration_pid"`
	}
	require.NoError(t, json.Unmarshal([]byte(e.says("status", "--json")), &told))
	require.Equal(t, pid, told.PID)

	said, how := e.finishes("1s", "2m")
	said(fmt.Sprintf("finish: waiting: awa's migration is running (process %d), ", pid))
	d.signal(stopped)
	require.NoError(t, holder.Close(t.Context()))
	said("finish: waiting: awa's migration has ended, and no daemon leads yet")
	d.signal(resumed)
	e.finished(d, how)
}

// Where awa-counterd was never there, finish waits for no migration.
func TestMigrationWithoutADaemon(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	_, err := e.connect().Exec(t.Context(), `select pg_advisory_lock(x'4157415f4d494752'::int8)`)
	require.NoError(t, err)
	code, out, errs := e.command("finish", "--timeout", "20s")
	require.Equal(t, refused, code, out+errs)
	require.Contains(t, errs, "not finished: awa-counterd has never run here")
}

// Between two steps of awa's migration its tables may have a shape that nobody knows. Who looks then hears that this passes.
func TestTablesInTheMiddleOfAMigration(t *testing.T) {
	t.Parallel()
	for name, layout := range map[string]fleet.Layout{"not there yet": {NoCounter: true, Slots: 4}, "of another shape": {Shape: fleet.Ledger, Slots: 4}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, layout)
			if !layout.NoCounter {
				e.exec(`alter table awa.queue_terminal_live_counts rename column priority to urgency`)
			}
			migration := "awa's migration is running (process "
			for _, command := range []string{"status", "finish"} {
				code, _, errs := e.command(command)
				require.Equal(t, refused, code)
				require.NotContains(t, errs, migration)
			}
			holder := e.connect()
			_, err := holder.Exec(t.Context(), `select pg_advisory_lock(x'4157415f4d494752'::int8)`)
			require.NoError(t, err)
			for _, command := range []string{"status", "finish"} {
				code, _, errs := e.command(command)
				require.Equal(t, refused, code)
				require.Contains(t, errs, fmt.Sprintf("%s%d): run this again when that has ended", migration, holder.PgConn().PID()))
			}
		})
	}
}
