package e2e

import (
	"testing"

	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/replication"
)

// The server would accept a position past its end of WAL, and the slot would be deaf for good.
func TestStreamNeverStartsPastTheEnd(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	src, err := pg.ParseSource(e.url())
	require.NoError(t, err)
	s, err := replication.Open(t.Context(), src.ReplicationConfig())
	require.NoError(t, err)
	defer s.Close()
	system, err := s.Identify(t.Context())
	require.NoError(t, err)
	require.Equal(t, e.db, system.Database)
	err = s.Start(t.Context(), "none", []string{"none"}, system.End+pglogrepl.LSN(1<<30), nil)
	require.ErrorIs(t, err, replication.ErrPastEnd)
}
