package pg

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNeverIsNull(t *testing.T) {
	require.Nil(t, OrNull(time.Time{}))
	now := time.Now()
	require.Equal(t, now, *OrNull(now))
}
