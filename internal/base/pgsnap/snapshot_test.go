package pgsnap

import (
	"slices"
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

// Every transaction that the newer of two snapshots sees, and the older one does not, is known where SeesNoMore says so; and where
// all are, it does, unless they are many.
func TestSeesNoMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Uint64Range(3, 1<<40).Draw(t, "first")
		n := rapid.IntRange(1, 40).Draw(t, "transactions")
		ended := rapid.Permutation(seq(first, n)).Draw(t, "ended") // in this order
		older := rapid.IntRange(0, n).Draw(t, "before the older")
		newer := rapid.IntRange(older, n).Draw(t, "before the newer")
		a, b := after(first, ended[:older]), after(first, ended[:newer])
		unknown := rapid.SampledFrom(ended).Draw(t, "unknown")
		require.Equal(t, older == newer, b.SeesNoMore(a, func(uint64) bool { return false }))
		require.Equal(t, !slices.Contains(ended[older:newer], unknown), b.SeesNoMore(a, func(x uint64) bool { return x != unknown }))
		require.False(t, b.SeesNoMore(Snapshot{}, func(uint64) bool { return true }))
		if older < newer && a.xmax < b.xmax {
			require.False(t, a.SeesNoMore(b, func(uint64) bool { return true }), "a snapshot of before")
		}
	})
	long, err := Parse("10:20000:")
	require.NoError(t, err)
	short, err := Parse("10:11:")
	require.NoError(t, err)
	require.False(t, long.SeesNoMore(short, func(uint64) bool { return true }))
}

func seq(first uint64, n int) (all []uint64) {
	for i := range uint64(n) {
		all = append(all, first+i)
	}
	return all
}

// after is PostgreSQL's snapshot when of the transactions from first on those have ended: it ends with the newest of them.
func after(first uint64, ended []uint64) Snapshot {
	s := Snapshot{xmin: first, xmax: first}
	for _, x := range ended {
		s.xmax = max(s.xmax, x+1)
	}
	for x := first; x < s.xmax; x++ {
		if !slices.Contains(ended, x) {
			s.running = append(s.running, x)
		}
	}
	if len(s.running) > 0 {
		s.xmin = s.running[0]
	} else {
		s.xmin = s.xmax
	}
	return s
}
