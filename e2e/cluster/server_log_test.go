package cluster

import (
	"regexp"
	"strings"
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

// awa's rebuild and its pruning deadlock by themselves. Who stands between them in the queue for the ring's row took no part in that.
func TestDeadlocksOfOthersInAQueue(t *testing.T) {
	const at = "2026-11-27 20:49:01.508 UTC "
	log := func(first, second string) string {
		return at + "[7] LOG:  connection authorized: user=postgres database=t application_name=awa-counterd marker\n" +
			at + "[8] ERROR:  deadlock detected at character 81\n" +
			at + "[8] DETAIL:  Process 8 waits for AccessShareLock on relation 34445 of database 5; blocked by process 9.\n" +
			"\tProcess 9 waits for " + first + " of database 5; blocked by process 7.\n" +
			"\tProcess 7 waits for " + second + "; blocked by process 8.\n" +
			"\tProcess 8: select 1\n" +
			at + "[8] HINT:  See server log for query details.\n"
	}
	const tuple, transaction = "ExclusiveLock on tuple (0,20) of relation 26175", "ShareLock on transaction 428586"
	require.Empty(t, Deadlocks(log(tuple, transaction), "awa-counterd"))
	for _, prefix := range []string{"", "new-first|", "new-first|3/7|", "|3/0|", "||"} {
		named := regexp.MustCompile(`(?m)^(2026.*?\] )`).ReplaceAllString(log(transaction, transaction), "${1}"+prefix)
		require.Len(t, Deadlocks(named, "awa-counterd"), 1, "lines with %q before them", prefix)
	}
	for _, first := range []string{tuple, transaction} {
		for _, second := range []string{"AccessShareLock on relation 5 of database 5", transaction} {
			if first != tuple || second != transaction {
				require.Len(t, Deadlocks(log(first, second), "awa-counterd"), 1, "%s; %s", first, second)
			}
		}
	}
}

// Whoever is waited for is told by the name of its connection, of the waiter that is asked for, from the place on that is asked for.
func TestWaitedFor(t *testing.T) {
	const at = "2026-11-26 20:00:00.000 UTC "
	before := at + "[7] LOG:  connection authorized: user=postgres database=t application_name=awa-counterd corrections\n" +
		at + "[8] LOG:  connection authorized: user=postgres database=t application_name=fleet\n" +
		at + "[9] LOG:  process 9 still waiting for ShareLock on transaction 5 after 10.1 ms\n" +
		at + "[9] DETAIL:  Process holding the lock: 7. Wait queue: 9.\n"
	log := before +
		at + "[9] LOG:  process 9 still waiting for ShareLock on transaction 6 after 10.1 ms\n" +
		at + "[9] DETAIL:  Process holding the lock: 7. Wait queue: 9.\n" +
		at + "[9] CONTEXT:  while locking tuple (0,1) in relation \"queue_terminal_live_counts\"\n" +
		at + "[9] LOG:  process 9 still waiting for ShareLock on transaction 7 after 10.1 ms\n" +
		at + "[9] DETAIL:  Processes holding the lock: 8, 7. Wait queue: 9.\n" +
		at + "[9] LOG:  process 9 still waiting for ShareLock on transaction 8 after 10.1 ms\n" +
		at + "[9] DETAIL:  Process holding the lock: 8. Wait queue: 9.\n" +
		at + "[6] LOG:  process 6 still waiting for ShareLock on transaction 8 after 10.1 ms\n" +
		at + "[6] DETAIL:  Process holding the lock: 7. Wait queue: 6.\n"
	require.Equal(t, 2, WaitedFor(log, len(before), 9, "awa-counterd "))
	require.Equal(t, 3, WaitedFor(log, 0, 9, "awa-counterd "))
	require.Equal(t, 1, WaitedFor(log, 0, 6, "awa-counterd "))
	require.Zero(t, WaitedFor(strings.Repeat("no log\n", 3), 0, 9, "awa-counterd "))
}
