package e2e

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

var (
	logged    = regexp.MustCompile(`^\S+ \S+ \S+ \[(\d+)\] (\w+):  (.*)`)
	connected = regexp.MustCompile(`^connection authorized: .*application_name=(.*)`)
	partner   = regexp.MustCompile(`^\s*Process (\d+) waits`)
)

// deadlocksOfOurs lists the deadlocks in a server's log that one of our sessions took part in, as victim or not. The
// log names processes; which of them are ours is in what it says of connections.
func deadlocksOfOurs(log string) (all []string) {
	names := make(map[string]string)
	quarrel := false
	for line := range strings.Lines(log) {
		text := line
		if m := logged.FindStringSubmatch(line); m != nil {
			if c := connected.FindStringSubmatch(m[3]); c != nil {
				names[m[1]] = c[1]
			}
			if quarrel = quarrel && m[2] == "DETAIL" || strings.HasPrefix(m[3], "deadlock detected"); m[2] == "DETAIL" {
				text = m[3]
			}
		}
		if m := partner.FindStringSubmatch(text); quarrel && m != nil && strings.HasPrefix(names[m[1]], "awa-counterd") {
			all = append(all, names[m[1]]+": "+strings.TrimSpace(text))
		}
	}
	return all
}

// undisturbed demands that no writer saw an error, and that we were in no deadlock. Deadlocks among the
// writers themselves are awa's: its rebuild is meant for a fleet that stands still.
func (e *env) undisturbed(fleets ...*fleet.Fleet) {
	e.t.Helper()
	for _, f := range fleets {
		require.Empty(e.t, f.Errors(), "writers failed")
	}
	require.Empty(e.t, deadlocksOfOurs(e.server.Log()), "the sidecar was in a deadlock")
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
	require.Empty(t, deadlocksOfOurs(who+awas+waits))
	require.Len(t, deadlocksOfOurs(who+awas+strings.ReplaceAll(awas, "rocess 9", "rocess 7")+waits), 1)
}
