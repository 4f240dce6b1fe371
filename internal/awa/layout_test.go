package awa

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// layoutOf is a schema of two slots, whose second has leaves of odd names.
func layoutOf(s Shape) *Layout {
	plain := func(oid uint32, name string) Partition {
		return Partition{OID: oid, Name: name, Identity: "d", Kind: "r", Readable: true}
	}
	l := &Layout{
		Schema: "awa", Shape: s, HasMarker: true, Rows: 10, Counters: 20, Ring: 30, Rollups: 40,
		Leaves: []Leaf{{Slot: 0, Partition: plain(11, "done_entries_0")}, {Slot: 7, Partition: plain(12, `Odd "leaf"; x`)}},
	}
	if s.ledger {
		l.Ledger = 50
		l.Leaves[0].Ledger, l.Leaves[1].Ledger = plain(51, "deltas_0"), plain(52, "Odd ledger")
	}
	return l
}

func TestSchemaNames(t *testing.T) {
	for _, name := range []string{"awa", "_x", "a1_2", "a23456789012345678901234567890123456789012345678901234567890123"} {
		s, err := ParseSchema(name)
		require.NoError(t, err)
		require.Equal(t, Schema(name), s)
	}
	for _, name := range []string{"", "Awa", "1a", "a b", `a"b`, "a'b", "a;b", "ä", "a-b", "awa_counterd", "a2345678901234567890123456789012345678901234567890123456789012345"} {
		_, err := ParseSchema(name)
		var wrong *SchemaNameError
		require.ErrorAs(t, err, &wrong, name)
		require.Contains(t, err.Error(), "--schema")
	}
}

// awa's own names stay readable; what a leaf is called is up to whoever made it.
func TestLeavesAreQuotedWhereTheyNeedIt(t *testing.T) {
	require.Equal(t, "awa.done_entries_3", Schema("awa").table("done_entries_3"))
	require.Equal(t, `awa."Odd ""leaf""; x"`, Schema("awa").table(`Odd "leaf"; x`))
	require.Equal(t, `'awa."it''s"'`, literal(Schema("awa").table("it's")))
}

// The shape is what the catalog says, and nothing near it.
func TestShapeIsKnownOrRefused(t *testing.T) {
	four := []string{"ready_slot", "queue", "priority", "enqueue_shard"}
	five := append(append([]string{}, four...), "counter_bucket")
	columns := append(append([]string{}, five...), "live_terminal_count")
	for _, known := range []struct {
		key    []string
		ledger bool
		want   Shape
	}{{four, false, direct}, {five, false, striped}, {five, true, ledger}} {
		got, err := shapeOf("awa", columns, known.key, known.ledger)
		require.NoError(t, err)
		require.Equal(t, known.want, got)
	}
	for name, unknown := range map[string]struct {
		columns, key []string
		ledger       bool
	}{
		"one counter row beside a ledger": {columns, four, true},
		"another order":                   {columns, []string{"queue", "ready_slot", "priority", "enqueue_shard"}, false},
		"no key":                          {columns, nil, false},
		"a part of the key":               {columns, four[:3], false},
		"more than the key":               {columns, append(append([]string{}, five...), "tenant"), true},
		"no count":                        {five, five, true},
	} {
		_, err := shapeOf("awa", unknown.columns, unknown.key, unknown.ledger)
		var refused *ShapeError
		require.ErrorAs(t, err, &refused, name)
		require.Contains(t, err.Error(), "look for a newer awa-counterd", name)
	}
}

// Only a leaf of one slot is awa's; the server writes the number as it likes.
func TestBoundsOfLeaves(t *testing.T) {
	for bound, want := range map[string]string{
		"FOR VALUES IN (3)": "3", "FOR VALUES IN ('3')": "3", "FOR VALUES IN ('-1')": "-1",
		"FOR VALUES IN (3, 4)": "", "FOR VALUES FROM (3) TO (4)": "", "DEFAULT": "", "": "", "FOR VALUES IN (NULL)": "", "FOR VALUES IN (3) OR x": "",
	} {
		m := listBound.FindStringSubmatch(bound)
		if want == "" {
			require.Nil(t, m, bound)
			continue
		}
		require.Equal(t, want, m[1])
	}
}

// Changes come from leaves, never from parents; the publications name parents. What has no primary key is in the
// second of them only.
func TestWhatIsPublishedAndWhatIsFollowed(t *testing.T) {
	l := layoutOf(ledger)
	l.RollupDeltas = 60
	require.Equal(t, []int32{0, 7}, l.Slots())
	require.Equal(t, []string{"awa.done_entries", "awa.queue_terminal_live_counts", "awa.queue_ring_state", "awa.queue_terminal_rollups"}, l.Published())
	require.ElementsMatch(t, []uint32{20, 30, 11, 12, 40}, l.Sources())
	require.Equal(t, []string{"awa.queue_terminal_count_deltas", "awa.queue_terminal_rollup_deltas"}, l.LedgerPublished())
	require.ElementsMatch(t, []uint32{51, 52, 60}, l.LedgerSources())
	require.ElementsMatch(t, []uint32{20, 30, 11, 12, 51, 52}, l.OIDs())
	require.ElementsMatch(t, []uint32{20, 30, 11, 12, 51, 52, 10, 50}, l.followed())

	l = layoutOf(direct)
	l.Rollups = 0
	require.Equal(t, []string{"awa.done_entries", "awa.queue_terminal_live_counts", "awa.queue_ring_state"}, l.Published())
	require.ElementsMatch(t, []uint32{20, 30, 11, 12}, l.Sources())
	require.Empty(t, l.LedgerPublished())
	require.Empty(t, l.LedgerSources())
}

// Whatever may have changed between two looks makes them differ.
func TestLooksThatMeanTheSame(t *testing.T) {
	require.True(t, layoutOf(ledger).Equivalent(layoutOf(ledger)))
	for name, change := range map[string]func(*Layout){
		"schema":        func(l *Layout) { l.Schema = "other" },
		"shape":         func(l *Layout) { l.Shape = striped },
		"marker":        func(l *Layout) { l.HasMarker = false },
		"counters":      func(l *Layout) { l.Counters++ },
		"ring":          func(l *Layout) { l.Ring++ },
		"leaf":          func(l *Layout) { l.Leaves[1].OID++ },
		"ledger":        func(l *Layout) { l.Leaves[1].Ledger.OID++ },
		"one leaf more": func(l *Layout) { l.Leaves = append(l.Leaves, Leaf{Slot: 8, Partition: Partition{OID: 13}}) },
		"rollups":       func(l *Layout) { l.Rollups++ },
		"rollup deltas": func(l *Layout) { l.RollupDeltas++ },
		"failed jobs":   func(l *Layout) { l.FoldsFailed = true },
		"receipts":      func(l *Layout) { l.Receipts = true },
		"state":         func(l *Layout) { l.State = "x" },
	} {
		o := layoutOf(ledger)
		change(o)
		require.False(t, layoutOf(ledger).Equivalent(o), name)
	}
	leaves := layoutOf(ledger)
	leaves.Leaves[0].Readable = false
	require.True(t, layoutOf(ledger).Equivalent(leaves), "a right that has gone is no other table")
}

// A leaf that does not stream its changes, or deletes without their key, is refused with the statement that mends it.
func TestLeavesThatCannotBeFollowed(t *testing.T) {
	require.NoError(t, layoutOf(ledger).CheckLeaves())
	require.NoError(t, layoutOf(direct).CheckLeaves())
	for want, change := range map[string]func(*Layout){
		"awa.done_entries_0 is not an ordinary table (relkind f)":                      func(l *Layout) { l.Leaves[0].Kind = "f" },
		`awa."Odd ledger" is not an ordinary table (relkind p)`:                        func(l *Layout) { l.Leaves[1].Ledger.Kind = "p" },
		`run: ALTER TABLE awa."Odd ""leaf""; x" SET LOGGED`:                            func(l *Layout) { l.Leaves[1].Unlogged = true },
		"run: ALTER TABLE awa.deltas_0 SET LOGGED":                                     func(l *Layout) { l.Leaves[0].Ledger.Unlogged = true },
		"run: ALTER TABLE awa.done_entries_0 REPLICA IDENTITY DEFAULT":                 func(l *Layout) { l.Leaves[0].Identity = "n" },
		`run: ALTER TABLE awa."Odd ""leaf""; x" REPLICA IDENTITY DEFAULT`:              func(l *Layout) { l.Leaves[1].Identity = "i" },
		"schema awa: the replica identity of awa.done_entries_0 was changed, so a DEL": func(l *Layout) { l.Leaves[0].Identity = "i" },
	} {
		l := layoutOf(ledger)
		change(l)
		require.ErrorContains(t, l.CheckLeaves(), want)
	}
	whole := layoutOf(ledger)
	whole.Leaves[0].Identity = "f" // full: more than is needed
	whole.Leaves[0].Ledger.Identity = "n"
	require.NoError(t, whole.CheckLeaves(), "nothing but inserts is read of the ledger")
}

// Who writes uncounted decides when an upgrade may end. In doubt a runtime is suspected.
func TestVersionsBefore290(t *testing.T) {
	for version, old := range map[string]bool{
		"0.6.0-alpha.1": true, "0.6.0-alpha.12": true, "0.6.0-beta.1": true, "0.6.0-beta.1+build": true, "": true,
		"0.6.0-beta.99999999999999999999": true, // no number
		"0.6.0-beta.2":                    false, "0.6.0-beta.10": false, "0.6.0-rc.1": false, "0.6.0": false, "0.6.1-alpha.1": false, "0.7.0": false,
		"0.5.9": false, "1.0.0": false,
	} {
		require.Equal(t, old, IsPre290(version), version)
	}
}
