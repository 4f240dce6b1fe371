package awa

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func granted(needs []Need) (out []string) {
	for _, n := range needs {
		out = append(out, n.Grant)
	}
	return out
}

// The least rights, shape by shape: one more would be too many, one less shows only where the role owns nothing.
func TestLeastRights(t *testing.T) {
	const group = "ready_slot, queue, priority, enqueue_shard"
	for _, c := range []struct {
		shape Shape
		want  []string
	}{
		{direct, []string{
			"USAGE ON SCHEMA awa", "SELECT (" + group + ") ON awa.done_entries", "SELECT ON awa.queue_terminal_live_counts",
			"INSERT ON awa.queue_terminal_live_counts", "UPDATE ON awa.queue_terminal_live_counts", "SELECT ON awa.queue_ring_state",
			"UPDATE (terminal_counter_trusted_at) ON awa.queue_ring_state",
		}},
		{ledger, []string{
			"USAGE ON SCHEMA awa", "SELECT (" + group + ") ON awa.done_entries",
			"SELECT (" + group + `) ON awa.done_entries_0, awa."Odd ""leaf""; x"`,
			"SELECT (" + group + `, terminal_delta) ON awa.deltas_0, awa."Odd ledger"`, "SELECT ON awa.queue_terminal_live_counts",
			"INSERT ON awa.queue_terminal_live_counts", "UPDATE ON awa.queue_terminal_live_counts", "DELETE ON awa.queue_terminal_live_counts",
			"SELECT ON awa.queue_ring_state", "UPDATE (terminal_counter_trusted_at) ON awa.queue_ring_state",
		}},
	} {
		require.Equal(t, c.want, granted(layoutOf(c.shape).NeedsOf("$1", true)))
	}
	require.NotContains(t, granted(layoutOf(ledger).NeedsOf("$1", false)), "UPDATE (terminal_counter_trusted_at) ON awa.queue_ring_state", "--trust off")
	unmarked := layoutOf(direct)
	unmarked.HasMarker = false
	for _, grant := range granted(unmarked.NeedsOf("$1", true)) {
		require.NotContains(t, grant, "queue_ring_state")
	}
}

// Each part of a right is granted and looked at by itself, and together they are the whole: what a role had before is
// told apart by that.
func TestRightsComeApart(t *testing.T) {
	for _, n := range layoutOf(ledger).NeedsOf("$1", true) {
		if len(n.Parts) == 0 {
			continue
		}
		var checks []string
		for _, p := range n.Parts {
			checks = append(checks, p.Check)
			require.Equal(t, p.Grant, p.What)
			require.Empty(t, p.Parts)
		}
		require.Equal(t, n.Check, strings.Join(checks, " and "))
	}
	pending := layoutOf(ledger).NeedsOf("$1", true)[3]
	require.Len(t, pending.Parts, 2*5)
	require.Equal(t, `SELECT (terminal_delta) ON awa."Odd ledger"`, pending.Parts[9].Grant)
	require.Equal(t, `has_column_privilege($1, 'awa."Odd ledger"', 'terminal_delta', 'SELECT')`, pending.Parts[9].Check)
	require.Equal(t, "SELECT (ready_slot, queue, priority, enqueue_shard, terminal_delta) ON awa.deltas_0 and the other 1 leaves", pending.What)
}

func TestErrorsNameWhatIsWrong(t *testing.T) {
	require.EqualError(t, &RowSecurityError{Tables: []RowSecurity{{"awa.a", []string{"p", "q"}}, {Table: "awa.b"}}},
		"row level security hides rows of awa.a (policies: p, q), awa.b (no policy: it shows nothing), so the daemon would make counters wrong")
	require.Equal(t, "trigger t on awa.a", TriggerOrRule{"trigger", "t", "awa.a"}.String())
	require.EqualError(t, &RightError{"USAGE ON SCHEMA awa"}, "this role lacks USAGE ON SCHEMA awa")
}
