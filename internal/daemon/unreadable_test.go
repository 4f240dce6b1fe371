package daemon

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/replication"
)

// What the server cannot decode it cannot decode the next time either: only a new replication slot gets past it. The same
// code from a statement says nothing about the replication slot.
func TestInternalErrorsOfTheStreamEndTheSlot(t *testing.T) {
	err := &pgconn.PgError{Code: "XX000", Message: `could not map filenode "base/1/2" to relation OID`}
	require.True(t, unreadable(fmt.Errorf("%w of replication slot s: %w", replication.ErrStream, err)))
	require.False(t, unreadable(fmt.Errorf("write corrections: %w", err)))
}

// A known table that the stream describes in another schema would surprise every session that reads the same WAL.
func TestTablesThatMovedEndTheSlot(t *testing.T) {
	require.True(t, unreadable(fmt.Errorf("read the stream: %w", awa.ErrLayoutChanged)))
}
