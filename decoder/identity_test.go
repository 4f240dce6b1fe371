package decoder

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// A table whose replica identity leaves out a column of the group is refused; what else it leaves out is nobody's concern.
func TestIdentityLeavesOutTheGroup(t *testing.T) {
	counters := []string{"ready_slot", "queue", "priority", "enqueue_shard", "live", "counter_bucket"}
	for _, c := range []struct {
		oid     uint32
		columns []string
		matter  []string
	}{
		{leafOID, leafColumns, []string{"queue", "priority", "enqueue_shard"}},
		{bucketedOID, counters, []string{"ready_slot", "queue", "priority", "enqueue_shard", "counter_bucket"}},
		{ledgerOID, ledgerColumns, nil}, // nothing but INSERT is published of it
	} {
		for _, out := range c.columns {
			m := msg('R').U32(c.oid).Str("awa").Str("t").U8('i').U16(uint16(len(c.columns)))
			for _, name := range c.columns {
				key := byte(1)
				if name == out {
					key = 0
				}
				m.U8(key).Str(name).U32(25).U32(0xffffffff)
			}
			_, _, err := newTestDecoder().Decode(m.B)
			if slices.Contains(c.matter, out) {
				require.ErrorIs(t, err, ErrIdentity, out)
				require.ErrorContains(t, err, out)
			} else {
				require.NoError(t, err, out)
			}
		}
	}
}
