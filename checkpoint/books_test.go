package checkpoint

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// Groups go as columns, each in its own array; a group's counter rows as two texts of one length.
func TestGroupsAsColumns(t *testing.T) {
	var c columns
	for i, h := range []counter.GroupCell{
		{Group: counter.Group{Slot: 3, Queue: `it's "q", {x}`, Priority: -1, Shard: 2}, Cell: counter.NewCell(7, -2)},
		{Group: counter.Group{Slot: 4, Queue: "email", Priority: 1}, Cell: counter.NewCell(9, 1, counter.Bucket{ID: 0, Value: 5}, counter.Bucket{ID: 300, Value: -6})},
	} {
		c.add(&h)
		require.Len(t, c.slots, i+1)
	}
	require.Equal(t, columns{
		slots: []int32{3, 4}, queues: []string{`it's "q", {x}`, "email"}, priorities: []int16{-1, 1}, shards: []int16{2, 0},
		rows: []int64{7, 9}, counters: []int64{-2, 0}, pending: []int64{-2, 1}, buckets: []string{"{}", "{0,300}"}, counts: []string{"{}", "{5,-6}"},
	}, c)
}

// The statement that fences says whose parameters it takes: swapped, every daemon would be deposed.
func TestGuardTakesItsParameters(t *testing.T) {
	require.Contains(t, Guard(6, 7), "g.awa_schema = $6 and g.instance = $7 for key share of g")
}

// Tables of awa-counterd are told from those of another version by a column each; a column that has gone from the script would
// make every start drop them all.
func TestTablesHaveTheColumnsThatTellThem(t *testing.T) {
	for table, column := range map[string]string{
		"leader": "max_staleness", "lead": "instance", "checkpoint": "quiet_for", "books": "counts", "uncounted_writes": "kind", "grants": "granted",
	} {
		_, after, found := strings.Cut(DDL, "create table if not exists "+SchemaName+"."+table+" (")
		require.True(t, found, table)
		body, _, _ := strings.Cut(after, "\n)")
		require.Regexp(t, `\n\t`+column+`\s`, body)
	}
}
