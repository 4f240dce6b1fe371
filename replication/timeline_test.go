package replication

import (
	"testing"

	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"
)

func TestWhereATimelineWasLeft(t *testing.T) {
	const history = "# by hand\n1\t0/3000148\tno recovery target specified\n\n2\t1/A0000000\tbefore 2026-11-26 12:00:00+00\n"
	for older, want := range map[int32]pglogrepl.LSN{1: 0x3000148, 2: 0x1A0000000, 3: 0, 12: 0} {
		at, err := left(history, older)
		require.NoError(t, err)
		require.Equal(t, want, at, older)
	}
	_, err := left("1\tnonsense\t", 1)
	require.Error(t, err)
}
