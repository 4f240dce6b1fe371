package e2e

import (
	"testing"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Columns exchange their names, and get them back, in one transaction that inserts in between: what a change means is told by names.
func TestColumnsSwapNames(t *testing.T) {
	t.Parallel()
	rename := func(pairs ...string) (sql string) {
		for i := 0; i < len(pairs); i += 2 {
			sql += `alter table awa.done_entries rename column ` + pairs[i] + ` to ` + pairs[i+1] + `; `
		}
		return sql
	}
	insert := `insert into awa.done_entries select (jsonb_populate_record(d, '{"enqueue_shard": 1, "priority": 7, "lane_seq": 9000}')).* from awa.done_entries d limit 1; `
	for name, sql := range map[string]string{
		"two that are read": rename("priority", "p", "enqueue_shard", "priority", "p", "enqueue_shard") + insert +
			rename("priority", "p", "enqueue_shard", "priority", "p", "enqueue_shard"),
		"one that is read and one that is not": rename("priority", "p", "attempt", "priority") + insert + rename("priority", "attempt", "p", "priority"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			e.daemon()
			e.marker(true, 30*time.Second)
			e.insertAt(1, "q", 3, false)
			e.balanced(5 * time.Second)
			e.exec(sql)
			e.lies(4*time.Second, 8*time.Second) // twice the bound
			e.balanced(20 * time.Second)
			e.marker(true, 30*time.Second)
		})
	}
}
