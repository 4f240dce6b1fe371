package e2e

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

var (
	quarrel = regexp.MustCompile(`(?s)deadlock detected.*?HINT:`)
	// What only statements of the sidecar say: scans and redistributions join in full, corrections emit a token.
	ours = regexp.MustCompile(`full join|pg_logical_emit_message|awa_counterd|in access share mode`)
)

// deadlocksOfOurs lists the deadlocks in a server's log that one of our sessions took part in, as victim or not.
func deadlocksOfOurs(log string) (all []string) {
	for _, q := range quarrel.FindAllString(log, -1) {
		if ours.MatchString(strings.ToLower(q)) {
			all = append(all, q)
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
	awas := "ERROR:  deadlock detected\nDETAIL:  Process 1: select awa.delete_job_compat(job)\n\tProcess 2: lock table x in access exclusive mode\nHINT:  See\n"
	scan := "ERROR:  deadlock detected\nDETAIL:  Process 1: with t as (select 1)\n\tselect t FULL JOIN c\nHINT:  See\n"
	statement := "ERROR:  canceling statement due to lock timeout\nSTATEMENT:  select t full join c\n"
	require.Empty(t, deadlocksOfOurs(awas+statement+awas))
	require.Len(t, deadlocksOfOurs(awas+scan+statement), 1)
}
