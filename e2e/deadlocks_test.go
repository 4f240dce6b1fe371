package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// deadlocks lists those that one of our sessions took part in.
func deadlocks(log string) []string { return cluster.Deadlocks(log, "awa-counterd") }

// undisturbed demands that no writer saw an error, and that the daemon was in no deadlock. Deadlocks among the
// writers themselves are awa's: its rebuild is meant for a fleet that stands still.
func (e *env) undisturbed(fleets ...*fleet.Fleet) {
	e.t.Helper()
	for _, f := range fleets {
		require.Empty(e.t, f.Errors(), "writers failed")
	}
	require.Empty(e.t, deadlocks(e.server.Log()), "a session of the daemon was in a deadlock")
}

func TestDeadlocksOfOurs(t *testing.T) {
	e := newDatabase(t, server)
	require.Contains(t, e.server.Log(), "connection authorized", "the server's log does not tell who is who")
	const (
		who = "2026-11-24 18:48:22.242 UTC [7] LOG:  connection authorized: user=postgres database=t application_name=awa-counterd reconcile\n" +
			"2026-11-24 18:48:22.242 UTC [8] LOG:  connection authorized: user=postgres database=t application_name=fleet\n"
		awas = "2026-11-24 18:48:22.242 UTC [8] ERROR:  deadlock detected\n2026-11-24 18:48:22.242 UTC [8] DETAIL:  Process 8 waits for RowExclusiveLock on relation 1; blocked by process 9.\n" +
			"\tProcess 9 waits for AccessExclusiveLock on relation 2; blocked by process 8.\n\tProcess 8: select 1\n2026-11-24 18:48:22.242 UTC [8] HINT:  See server log for query details.\n"
		waits = "2026-11-24 18:48:22.242 UTC [7] ERROR:  canceling statement due to lock timeout\n2026-11-24 18:48:22.242 UTC [7] DETAIL:  Process 7 waits\n"
	)
	require.Empty(t, deadlocks(who+awas+waits))
	named := strings.ReplaceAll(strings.ReplaceAll(who+strings.ReplaceAll(awas, "rocess 9", "rocess 7")+waits, "] LOG:", "] new|LOG:"), "] DETAIL:", "] new|DETAIL:")
	require.Len(t, deadlocks(strings.ReplaceAll(named, "] ERROR:", "] new|ERROR:")), 1, "a log whose lines name the application")
	require.Len(t, deadlocks(who+awas+strings.ReplaceAll(awas, "rocess 9", "rocess 7")+waits), 1)
}
