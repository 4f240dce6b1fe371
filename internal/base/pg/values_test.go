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

// What PostgreSQL would refuse is left out or replaced; the rest is as it was.
func TestStorable(t *testing.T) {
	require.Equal(t, "día: ab\uFFFDc", Storable("día: a\x00b\xff\xfec"))
}
