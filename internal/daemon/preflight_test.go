package daemon

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/internal/pg"
)

func TestServerVerdict(t *testing.T) {
	may := pg.StreamRight{Role: "u", Exists: true, May: true}
	require.NoError(t, serverVerdict(140000, "14.0", "logical", false, may))
	for want, err := range map[string]error{
		"PostgreSQL 13.14 is too old": serverVerdict(130014, "13.14", "logical", false, may),
		"is a standby":                serverVerdict(150000, "15", "logical", true, may),
		`wal_level is "replica"`:      serverVerdict(150000, "15", "replica", false, may),
		`ALTER ROLE "u" REPLICATION`:  serverVerdict(150000, "15", "logical", false, pg.StreamRight{Role: "u", Exists: true, Remedy: `ALTER ROLE "u" REPLICATION`}),
	} {
		var refusal *pg.Refusal
		require.ErrorAs(t, err, &refusal)
		require.Contains(t, err.Error(), want)
	}
}
