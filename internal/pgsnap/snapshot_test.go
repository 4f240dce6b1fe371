package pgsnap

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSees(t *testing.T) {
	s, err := Parse("10:20:12,15")
	require.NoError(t, err)
	for xid, want := range map[uint64]bool{9: true, 10: true, 11: true, 12: false, 14: true, 15: false, 19: true, 20: false, 21: false} {
		require.Equal(t, want, s.Sees(xid), "xid %d", xid)
	}
	require.Equal(t, "10:20:12,15", s.String())
}

func TestParseRefusesWhatIsNoSnapshot(t *testing.T) {
	for _, text := range []string{"", "1:2", "a:2:", "1:b:", "1:2:x", "3:2:", "1:2:3:4"} {
		_, err := Parse(text)
		require.Error(t, err, "%q", text)
	}
}

func TestWidenCrossesTheWrap(t *testing.T) {
	s, err := Parse("17179869180:17179869203:") // 4<<32 + 19
	require.NoError(t, err)
	require.Equal(t, uint64(4<<32-1), s.Widen(4294967295))
	require.Equal(t, uint64(4<<32+3), s.Widen(3))
	require.Equal(t, uint64(4<<32+25), s.Widen(25), "younger than the snapshot")

	s, err = Parse("4294967290:4294967294:") // just before the first wrap
	require.NoError(t, err)
	require.Equal(t, uint64(1<<32+5), s.Widen(5))
}

func TestWidenProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		xmax := rapid.Uint64Range(1<<31, 1<<40).Draw(t, "xmax")
		delta := rapid.Int64Range(-(1<<31)+1, 1<<31-1).Draw(t, "delta")
		want := uint64(int64(xmax) + delta)
		s := Snapshot{xmin: xmax, xmax: xmax}
		require.Equal(t, want, s.Widen(uint32(want)))
	})
}

// What runs past the newest that has ended is in no list of the snapshot.
func TestUnseenGoesOnPastXmax(t *testing.T) {
	s, err := Parse("10:20:12,15")
	require.NoError(t, err)
	require.Equal(t, []uint64{12, 15, 20, 21}, s.Unseen(22))
	for _, x := range s.Unseen(22) {
		require.False(t, s.Sees(x))
	}
}
