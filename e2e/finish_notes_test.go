package e2e

import (
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// printed is what a note says to run.
var printed = regexp.MustCompile(`(?m)run: (.+)$`)

// The marker that finish has set is for good: what its notes say to run removes what it has left, and clears nothing.
func TestNotesOfFinishKeepTheMarker(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make func(*env)
		says int
	}{
		"a view of the daemon's tables": {func(e *env) {
			e.exec(`create view public.queues_watched as select distinct queue from awa_counterd.books`)
		}, 1},
		"a table in its schema": {func(e *env) { e.exec(`create table awa_counterd.books_before as select * from awa_counterd.books`) }, 1},
		"both": {func(e *env) {
			e.exec(`create view public.queues_watched as select distinct queue from awa_counterd.books; create table awa_counterd.books_before as select * from awa_counterd.books`)
		}, 1},
		"publications that no daemon has used": {func(e *env) { e.says("setup", "--publication", "Other one") }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			e.insertAt(1, "q", 5, false)
			d := e.daemon("--checkpoint-interval", "200ms")
			e.marker(true, 30*time.Second)
			c.make(e)
			code, out, errs := e.command("finish", "--quiet-period", "1s", "--timeout", "60s")
			require.Zero(t, code, out+errs)
			require.Contains(t, out, "has been removed, but for what is named above\n")
			require.Zero(t, d.wait(20*time.Second))
			notes := printed.FindAllStringSubmatch(out+errs, -1)
			require.Len(t, notes, c.says, out+errs)
			for _, n := range notes {
				_, err := e.pool.Exec(t.Context(), n[1])
				require.NoError(t, err, n[1])
			}
			e.nothingOfOurs()
			e.marker(true, 0)
			require.Contains(t, e.status().Next, "nothing to do if")
		})
	}
}
