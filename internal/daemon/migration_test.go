package daemon

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Workers that start take the lock one after the other; only one that keeps it is worth a word, and one word.
func TestALockThatIsKeptIsSaidOnce(t *testing.T) {
	var h holding
	now := time.Unix(1_000_000, 0)
	for pid := range int32(100) {
		require.False(t, h.long(1000+pid, now))
		now = now.Add(time.Second)
	}
	require.False(t, h.long(7, now))
	require.False(t, h.long(7, now.Add(migrationTakes-time.Second)))
	require.True(t, h.long(7, now.Add(migrationTakes)))
	require.False(t, h.long(7, now.Add(time.Hour)))
}
