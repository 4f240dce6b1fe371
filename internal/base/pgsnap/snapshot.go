package pgsnap

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Snapshot is a parsed pg_snapshot value (PostgreSQL manual, 9.27.8).
type Snapshot struct {
	xmin, xmax uint64
	running    []uint64 // sorted, all in [xmin, xmax)
}

// Parse reads the text form "xmin:xmax:xip,xip,…".
func Parse(text string) (Snapshot, error) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return Snapshot{}, fmt.Errorf("snapshot %q: want xmin:xmax:running", text)
	}
	var s Snapshot
	var err error
	if s.xmin, err = strconv.ParseUint(parts[0], 10, 64); err != nil {
		return Snapshot{}, fmt.Errorf("snapshot %q: xmin: %w", text, err)
	}
	if s.xmax, err = strconv.ParseUint(parts[1], 10, 64); err != nil {
		return Snapshot{}, fmt.Errorf("snapshot %q: xmax: %w", text, err)
	}
	if s.xmin > s.xmax {
		return Snapshot{}, fmt.Errorf("snapshot %q: xmin is past xmax", text)
	}
	if parts[2] == "" {
		return s, nil
	}
	for p := range strings.SplitSeq(parts[2], ",") {
		x, err := strconv.ParseUint(p, 10, 64)
		if err != nil {
			return Snapshot{}, fmt.Errorf("snapshot %q: running transaction: %w", text, err)
		}
		s.running = append(s.running, x)
	}
	slices.Sort(s.running)
	return s, nil
}

// IsZero reports whether the snapshot was never read. A zero snapshot sees nothing.
func (s Snapshot) IsZero() bool { return s.xmax == 0 }

// Sees reports whether the snapshot holds the effects of the committed transaction xid.
func (s Snapshot) Sees(xid uint64) bool {
	if xid >= s.xmax {
		return false
	}
	if xid < s.xmin {
		return true
	}
	_, running := slices.BinarySearch(s.running, xid)
	return !running
}

// mostBetween bounds how many transactions SeesNoMore looks at. More of them between two snapshots are no quiet time anyway.
const mostBetween = 1024

// SeesNoMore reports that s sees nothing that an older snapshot did not see, but for transactions that known tells of. Then whatever
// is read by transactions, the catalog included, is to s as it was to the older one, as far as those did not change it. It may be
// false for no reason; it never is true without.
func (s Snapshot) SeesNoMore(older Snapshot, known func(xid uint64) bool) bool {
	if older.IsZero() || s.xmax < older.xmax || s.xmax-older.xmax > mostBetween {
		return false
	}
	for _, x := range older.running {
		if s.Sees(x) && !known(x) {
			return false
		}
	}
	for x := older.xmax; x < s.xmax; x++ {
		if s.Sees(x) && !known(x) {
			return false
		}
	}
	return true
}

// Unseen lists the transactions below next whose effects the snapshot does not hold. Those that run are
// not all in the snapshot's own list: it ends with the newest that has ended.
func (s Snapshot) Unseen(next uint64) []uint64 {
	out := slices.Clone(s.running)
	for x := s.xmax; x < next; x++ {
		out = append(out, x)
	}
	return out
}

// Widen gives the stream's 32-bit xid its epoch: the 64-bit id nearest to the snapshot's xmax. A
// replication slot never lags 2^31 transactions behind, since its catalog_xmin would stop the wrap-around.
func (s Snapshot) Widen(xid uint32) uint64 {
	const half, whole = uint64(1) << 31, uint64(1) << 32
	wide := s.xmax&^(whole-1) | uint64(xid)
	switch {
	case wide > s.xmax+half && wide >= whole:
		wide -= whole
	case wide+half < s.xmax:
		wide += whole
	}
	return wide
}

// String renders the snapshot in PostgreSQL's own text form.
func (s Snapshot) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d:%d:", s.xmin, s.xmax)
	for i, x := range s.running {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatUint(x, 10))
	}
	return b.String()
}
