package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// A role that lacks a right that is needed late hears of all that it lacks before anything is done, with the statements that mend it.
func TestReconcileSaysAtOnceWhatItLacks(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	role := e.role("replication")
	e.says("setup", "--role", role)
	e.insertAt(3, "q", 5, false)
	url := e.server.URL(role, "", e.db)
	code, out, errs := e.commandOn(url, "reconcile")
	require.Equal(t, refused, code, out+errs)
	require.Contains(t, errs, "nothing was changed: role "+role+" lacks SELECT (job_id) ON awa.done_entries_0 and the other 3 leaves, SELECT (counter_bucket, ready_generation) ON")
	_, remedy, found := strings.Cut(errs, "; run: ")
	require.True(t, found, errs)
	e.exec(remedy)
	code, out, errs = e.commandOn(url, "reconcile")
	require.Zero(t, code, out+errs)
	e.balanced(0)
}

// finish asks for nothing, and moves nothing, before it knows that its role may do all of it, to the last statement.
func TestFinishSaysAtOnceWhatItLacks(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	role, owner := e.role("replication"), e.role("")
	e.ownedBy(owner)
	owners := e.server.URL(owner, "", e.db)
	code, out, errs := e.commandOn(owners, "setup", "--role", role)
	require.Zero(t, code, out+errs)
	daemons := e.server.URL(role, "", e.db)
	d := start(t, nil, "run", "--database-url", daemons, "--no-setup", "--checkpoint-interval", "200ms")
	d.logged("marker set", 20*time.Second)
	e.insertAt(3, "q", 5, false)
	e.balanced(5 * time.Second)

	refusal := func(url, lacks, remedy string) {
		t.Helper()
		code, out, errs := e.commandOn(url, "finish", "--quiet-period", "1s", "--timeout", "30s")
		require.Equal(t, refused, code, out+errs)
		require.Contains(t, errs, "nothing was changed: role "+lacks)
		require.Contains(t, errs, remedy)
		require.NotContains(t, errs, "--print-sql")
		e.marker(true, 0)
		require.NotContains(t, d.text(), "awa-counterd finish is running")
	}
	refusal(daemons, role+" lacks SELECT (job_id) ON", "run: GRANT SELECT (job_id) ON awa.done_entries_0, ")
	_, _, errs = e.commandOn(daemons, "finish")
	_, remedy, _ := strings.Cut(errs, "; run: ")
	e.exec(remedy)
	refusal(daemons, role+" lacks the ownership of awa's tables, on which setup granted rights, the ownership of publication awa_counterd_awa, the ownership of publication awa_counterd_awa_ledger, the ownership of schema awa_counterd",
		fmt.Sprintf("run it as role %s, or run: GRANT %s TO %s", owner, pgQuoted(owner), pgQuoted(role)))
	refusal(owners, owner+" lacks REPLICATION", "run: ALTER ROLE "+pgQuoted(owner)+" REPLICATION")
	e.exec("alter role " + owner + " replication")
	code, out, errs = e.commandOn(owners, "finish", "--quiet-period", "1s", "--timeout", "30s")
	require.Zero(t, code, out+errs)
	require.Zero(t, d.wait(10*time.Second))
	e.byBucket()
	e.marker(true, 0)
	e.nothingOfOurs()
}

// Where others have made something of the daemon's tables, what is stored is deleted and the tables stay: that takes no ownership of schema
// awa_counterd, but rights which no daemon has. finish asks for them before it begins, not behind the marker.
func TestFinishOfWhoMayNotEmpty(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	role := e.role("replication")
	e.says("setup", "--role", role)
	e.ownedBy(role)
	e.exec(fmt.Sprintf(`create view public.queues_watched as select distinct queue from awa_counterd.books; revoke delete on awa_counterd.marker_changes from %[1]s;
		alter publication awa_counterd_awa owner to %[1]s; alter publication awa_counterd_awa_ledger owner to %[1]s`, role))
	url := e.server.URL(role, "", e.db)
	d := start(t, nil, "run", "--database-url", url, "--no-setup", "--checkpoint-interval", "200ms")
	d.logged("marker set", 20*time.Second)
	e.insertAt(1, "q", 5, false)
	e.balanced(5 * time.Second)
	code, out, errs := e.commandOn(url, "finish", "--quiet-period", "1s", "--timeout", "30s")
	require.Equal(t, refused, code, out+errs)
	require.Contains(t, errs, "nothing was changed: role "+role+" lacks DELETE ON awa_counterd.marker_changes, DELETE ON awa_counterd.grants; run: ")
	e.marker(true, 0)
	require.NotContains(t, d.text(), "awa-counterd finish is running")
	_, remedy, _ := strings.Cut(errs, "; run: ")
	e.exec(remedy)
	code, out, errs = e.commandOn(url, "finish", "--quiet-period", "1s", "--timeout", "30s")
	require.Zero(t, code, out+errs)
	require.Zero(t, d.wait(10*time.Second))
	e.marker(true, 0)
	require.EqualValues(t, 0, e.scalar(`select (select count(*) from awa_counterd.grants) + (select count(*) from awa_counterd.marker_changes) + (select count(*) from pg_publication)`))
}

// ownedBy gives awa's tables to a role, which may make what a daemon makes.
func (e *env) ownedBy(role string) {
	e.t.Helper()
	e.exec(fmt.Sprintf(`do $$ declare r record; begin
			for r in select c.oid::regclass as name from pg_class c where relnamespace = 'awa'::regnamespace and relkind in ('r', 'p') loop
				execute format('alter table %%s owner to %[1]s', r.name); end loop; end $$;
		alter schema awa owner to %[1]s; grant create on database %[2]s to %[1]s`, role, e.db))
}

// grantOfLedgers is the statement that a line names.
func (e *env) grantOfLedgers(line string) (statement string) {
	e.t.Helper()
	require.NoError(e.t, e.pool.QueryRow(e.t.Context(), `select coalesce((regexp_match($1, 'if you run: (GRANT DELETE ON [^;\n]+)'))[1], '')`, line).Scan(&statement))
	require.NotEmpty(e.t, statement, line)
	return statement
}

// late leaves changes of another generation in a ledger, as an old leader does.
func (e *env) late(slots ...int32) {
	e.t.Helper()
	for _, slot := range slots {
		require.NoError(e.t, e.stale(slot))
	}
}

// A role that may not delete from ledgers that have changes of another generation hears of one statement, which can be run as it stands, and
// after which nothing is in the way.
func TestGrantOnLedgersCanBeRun(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"reconcile", "finish"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			role := e.role("replication")
			e.ownedBy(role)
			e.exec(fmt.Sprintf(`revoke delete on awa.queue_terminal_count_deltas_1, awa.queue_terminal_count_deltas_2, awa.queue_terminal_count_deltas_3 from %s`, role))
			url := e.server.URL(role, "", e.db)
			if command == "reconcile" {
				e.late(1, 2, 3)
				code, out, errs := e.commandOn(url, "reconcile", "--trust", "--observe", "1s")
				require.Equal(t, refused, code, out+errs)
				e.exec(e.grantOfLedgers(errs))
				code, out, errs = e.commandOn(url, "reconcile", "--trust", "--observe", "1s")
				require.Zero(t, code, out+errs)
				e.balanced(0)
				e.byBucket()
				return
			}
			d := start(t, nil, "run", "--database-url", url, "--checkpoint-interval", "200ms")
			d.logged("marker set", 20*time.Second)
			e.late(1, 2, 3)
			e.insertAt(1, "q", 5, false)
			e.balanced(5 * time.Second)
			e.none(`select 1 - count(*) from awa_counterd.uncounted_writes where kind = 'rows'`, 20*time.Second, "the daemon does not say who wrote")
			said, how := e.finishesOn(url, "5s", "1m")
			line := said("finish: the ledger of ring slot 1 (awa.queue_terminal_count_deltas_1) and 2 more have 3 changes of another generation") // at once
			said("finish: waiting: pre-#290 writers still active on queue q")
			said("finish: waiting: the ledger of ring slot 1 (awa.queue_terminal_count_deltas_1) and 2 more have 3 changes of another generation")
			e.exec(e.grantOfLedgers(line))
			e.finished(d, how)
		})
	}
}

func pgQuoted(name string) string { return `"` + name + `"` }
