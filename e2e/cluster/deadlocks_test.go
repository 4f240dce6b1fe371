package cluster

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Process ids come round again within an hour of kills and restarts. Who has one now need not be who had it before, and need not say
// its application's name.
func TestDeadlocksKnowWhoHasAProcessNow(t *testing.T) {
	const log = `2026-11-26 22:30:00.000 UTC [17999] LOG:  connection received: host=127.0.0.1 port=40000
2026-11-26 22:30:00.001 UTC [17999] LOG:  connection authorized: user=counterd database=postgres application_name=awa-counterd control
2026-11-26 22:50:00.000 UTC [12253] LOG:  connection received: host=[local]
2026-11-26 22:50:00.001 UTC [12253] LOG:  connection authorized: user=postgres database=postgres
`
	const quarrel = `2026-11-26 23:00:00.000 UTC [12253] ERROR:  deadlock detected
2026-11-26 23:00:00.000 UTC [12253] DETAIL:  Process 12253 waits for AccessExclusiveLock on relation 18305 of database 5; blocked by process 17999.
	Process 17999 waits for AccessShareLock on relation 18299 of database 5; blocked by process 12253.
	Process 12253: truncate awa.queue_terminal_live_counts
	Process 17999: select 1 from awa.done_entries
`
	require.Equal(t, []string{"awa-counterd control: Process 17999 waits for AccessShareLock on relation 18299 of database 5; blocked by process 12253."},
		Deadlocks(log+quarrel, "awa-counterd"))
	const again = `2026-11-26 22:55:00.000 UTC [17999] LOG:  connection received: host=[local]
2026-11-26 22:55:00.001 UTC [17999] LOG:  connection authorized: user=postgres database=postgres
`
	require.Empty(t, Deadlocks(log+again+quarrel, "awa-counterd"))
}
