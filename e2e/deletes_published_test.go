package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// mendOfLedgers are the statements that a line names.
func (e *env) mendOfLedgers(line string) (statements string) {
	e.t.Helper()
	require.NoError(e.t, e.pool.QueryRow(e.t.Context(), `select coalesce((regexp_match($1, 'if you run: ((?:(?:GRANT|ALTER) [^;\n]+; )*(?:GRANT|ALTER) [^;\n]+)'))[1], '')`, line).Scan(&statements))
	require.NotEmpty(e.t, statements, line)
	return statements
}

// Somebody else publishes deletes of awa's ledger, and the server refuses every DELETE on what has no replica identity. Who would move changes
// of another generation out of it hears of that before anything is done, with statements that can be run as they stand, and that leave the
// other's consumer what it has. Where nothing would be deleted, nobody hears of it.
func TestOthersPublishDeletesOfTheLedger(t *testing.T) {
	t.Parallel()
	const full = "ALTER TABLE awa.queue_terminal_count_deltas_1 REPLICA IDENTITY FULL; ALTER TABLE awa.queue_terminal_count_deltas_2 REPLICA IDENTITY FULL"
	kinds := map[string]struct{ of, mend string }{
		"for all tables":        {"for all tables", full},
		"via root":              {"for table awa.queue_terminal_count_deltas with (publish_via_partition_root = true)", full},
		"with some columns":     {"for table awa.queue_terminal_count_deltas_1 (queue), awa.done_entries with (publish = 'insert, update, delete')", `ALTER PUBLICATION "their's" SET (publish = 'insert, update')`},
		"with a row filter":     {"for table awa.queue_terminal_count_deltas_1 where (queue <> 'x')", "ALTER TABLE awa.queue_terminal_count_deltas_1 REPLICA IDENTITY FULL"},
		"with inserts":          {"for all tables with (publish = 'insert, update, truncate')", ""},
		"of what is not in use": {"for table awa.queue_terminal_count_deltas_3", ""},
	}
	publishes := func(e *env, of string) { e.exec(`create publication "their's" ` + of) }
	for kind, c := range kinds {
		t.Run("reconcile/"+kind, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			if e.scalar(`select current_setting('server_version_num')::int8`) < 150000 && (kind == "with some columns" || kind == "with a row filter") {
				t.Skip("they came with PostgreSQL 15")
			}
			publishes(e, c.of)
			e.late(1, 2)
			if c.mend != "" {
				code, out, errs := e.command("reconcile", "--trust", "--observe", "1s")
				require.Equal(t, refused, code, out+errs)
				require.Contains(t, errs, "publication their's publishes deletes")
				require.Equal(t, c.mend, e.mendOfLedgers(errs), errs)
				e.exec(c.mend)
			}
			code, out, errs := e.command("reconcile", "--trust", "--observe", "1s")
			require.Zero(t, code, out+errs)
			e.balanced(0)
			e.byBucket()
		})
	}
	t.Run("finish", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
		d := e.daemon("--checkpoint-interval", "200ms")
		d.logged("marker set", 20*time.Second)
		publishes(e, "for all tables")
		e.late(1, 2)
		e.insertAt(1, "q", 5, false)
		e.balanced(5 * time.Second)
		e.none(`select 1 - count(*) from awa_counterd.uncounted_writes where kind = 'rows'`, 20*time.Second, "the daemon does not say who wrote")
		said, how := e.finishes("5s", "1m")
		line := said("publication their's publishes deletes") // at once
		require.Contains(t, line, "and 1 more have 2 changes of another generation")
		said("finish: waiting: pre-#290 writers still active on queue q")
		said("finish: waiting: the ledger of ring slot 1 (awa.queue_terminal_count_deltas_1) and 1 more have 2 changes of another generation")
		require.Equal(t, full, e.mendOfLedgers(line))
		e.exec(full)
		e.finished(d, how)
		require.EqualValues(t, 1, e.scalar(`select count(*) from pg_publication where pubname = 'their''s' and pubdelete`), "their consumer lost something")
	})
}

// The publication comes when the daemons are asked to leave: finish says the same, before it drops what they would go on from.
func TestOthersPublishDeletesWhileFinishWorks(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d := e.daemon("--checkpoint-interval", "200ms")
	d.logged("marker set", 20*time.Second)
	e.insertAt(1, "q", 5, true)
	e.late(1)
	e.balanced(5 * time.Second)
	leads, gives := e.leadsNext()
	said, how := e.finishes("1s", "1m")
	require.NoError(t, <-leads)
	e.exec(`create publication theirs for all tables`)
	gives()
	mend := e.mendOfLedgers(said("not finished: the ledger of ring slot 1"))
	require.Equal(t, refused, how())
	e.exec(mend)
	e.marker(true, 30*time.Second)
	require.Equal(t, 1, strings.Count(d.text(), "scanning afresh"), "what the daemon went on from was dropped")
	code, out, errs := e.command("finish", "--quiet-period", "1s", "--timeout", "1m")
	require.Zero(t, code, out+errs)
	require.Zero(t, d.wait(10*time.Second))
	e.byBucket()
}
