package preflight

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What start-up says of a server, with the statement that mends it; the first thing that is wrong is told.
func TestServerVerdicts(t *testing.T) {
	verdict := func(failsOver bool, s server) error {
		v := &visit{Target: Target{Role: "u", Failover: failsOver}, server: &s}
		for _, r := range Requirements() {
			switch r.Name {
			case "server version", "failover slots", "primary", "wal_level":
				require.True(t, r.Refuses)
				for _, f := range r.look(t.Context(), v) {
					if f.Refusal != nil {
						require.False(t, f.Met)
						require.NotEmpty(t, f.Remedy)
						return f.Refusal
					}
				}
			}
		}
		return nil
	}
	require.NoError(t, verdict(false, server{version: 140000, text: "14.0", level: "logical"}))
	require.NoError(t, verdict(true, server{version: 170000, text: "17.0", level: "logical"}))
	for want, err := range map[string]error{
		"PostgreSQL 13.14 is too old: awa-counterd needs 14 or later; upgrade":                                                 verdict(false, server{version: 130014, text: "13.14", level: "replica"}),
		"PostgreSQL 16.1 has no failover slots":                                                                                verdict(true, server{version: 160001, text: "16.1", level: "logical"}),
		"the server is a standby; counters can only be written on the primary; point --database-url":                           verdict(false, server{version: 150000, text: "15", level: "logical", recovery: true}),
		`wal_level is "replica"; reading the changes needs "logical"; run: ALTER SYSTEM SET wal_level = 'logical' and restart`: verdict(false, server{version: 150000, text: "15", level: "replica"}),
	} {
		require.ErrorContains(t, err, want)
	}
}

// The table is whole: each requirement says what it means and has a look; what setup plans comes in a turn of its own, and what
// a plan needs before it comes before.
func TestRequirementsAreWhole(t *testing.T) {
	names, turns := make(map[string]bool), make(map[int]string)
	for _, r := range Requirements() {
		require.NotEmpty(t, r.Means, r.Name)
		require.NotNil(t, r.look, r.Name)
		require.False(t, names[r.Name], r.Name)
		names[r.Name] = true
		require.Equal(t, r.turn > 0, r.plan != nil, r.Name)
		if r.turn > 0 {
			require.Empty(t, turns[r.turn], r.Name)
			turns[r.turn] = r.Name
		}
	}
	require.Len(t, turns, 5)
	require.Equal(t, "schema awa_counterd", turns[1], "what is granted is remembered in it")
}
