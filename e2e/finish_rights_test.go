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
	e.exec(fmt.Sprintf(`do $$ declare r record; begin
			for r in select c.oid::regclass as name from pg_class c where relnamespace = 'awa'::regnamespace and relkind in ('r', 'p') loop
				execute format('alter table %%s owner to %[1]s', r.name); end loop; end $$;
		alter schema awa owner to %[1]s; grant create on database %[2]s to %[1]s`, owner, e.db))
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

func pgQuoted(name string) string { return `"` + name + `"` }
