package daemon

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/internal/pg"
)

func TestServerVerdict(t *testing.T) {
	require.NoError(t, serverVerdict(140000, "14.0", "logical", false, true, "u"))
	for want, err := range map[string]error{
		"PostgreSQL 13.14 is too old": serverVerdict(130014, "13.14", "logical", false, true, "u"),
		"is a standby":                serverVerdict(150000, "15", "logical", true, true, "u"),
		`wal_level is "replica"`:      serverVerdict(150000, "15", "replica", false, true, "u"),
		`ALTER ROLE "u" REPLICATION`:  serverVerdict(150000, "15", "logical", false, false, "u"),
	} {
		var refusal *pg.Refusal
		require.ErrorAs(t, err, &refusal)
		require.Contains(t, err.Error(), want)
	}
}
