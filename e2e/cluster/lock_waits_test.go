package cluster

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

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
