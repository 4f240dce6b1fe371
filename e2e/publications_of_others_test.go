package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// published counts a publication's tables of that name.
func (e *env) published(publication, table string) int64 {
	e.t.Helper()
	return e.scalar(`select count(*) from pg_publication_tables where pubname = $1 and tablename = $2`, publication, table)
}

// A publication of the given name was there before, and publishes another table of awa's own schema: somebody's CDC of the dead letters. It
// goes on to, whatever is added to it, also when awa's reset has taken our tables out again.
func TestPublicationOfOthersInAwasSchema(t *testing.T) {
	t.Parallel()
	for name, does := range map[string]func(e *env){
		"setup": func(e *env) { e.says("setup", "--publication", "cdc") },
		"run": func(e *env) {
			d := e.daemon("--publication", "cdc")
			e.marker(true, 30*time.Second)
			e.insert(3)
			e.balanced(3 * time.Second)
			require.Zero(e.t, d.stop())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			e.exec(`create table awa.dead_letters (id bigint primary key); create publication cdc for table awa.dead_letters`)
			does(e)
			require.EqualValues(t, 1, e.published("cdc", "dead_letters"), "somebody's table was taken out of their publication")
			require.EqualValues(t, 1, e.published("cdc", "queue_ring_state"))
			e.exec(`alter publication cdc set table awa.dead_letters`)
			does(e)
			require.EqualValues(t, 1, e.published("cdc", "dead_letters"))
			require.EqualValues(t, 1, e.published("cdc", "queue_ring_state"))
		})
	}
}

// A row filter on a table of somebody else's is nothing to us. One on ours is refused, and the statements that mend it leave theirs alone.
func TestRowFilterInASharedPublication(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	if e.scalar(`select current_setting('server_version_num')::int8`) < 150000 {
		t.Skip("row filters came with PostgreSQL 15")
	}
	e.exec(`create table public.theirs (id int primary key); create publication cdc for table public.theirs where (id > 7)`)
	e.says("setup", "--publication", "cdc")
	e.exec(`alter publication cdc drop table awa.done_entries; alter publication cdc add table awa.done_entries_0 where (queue <> 'x')`)
	code, _, errs := e.command("setup", "--publication", "cdc")
	require.Equal(t, refused, code, errs)
	const mend = `ALTER PUBLICATION "cdc" DROP TABLE awa.done_entries_0; ALTER PUBLICATION "cdc" ADD TABLE awa.done_entries`
	require.Contains(t, errs, "has a row filter")
	require.Contains(t, errs, "run: "+mend+"\n")
	e.mended(mend, "--publication", "cdc")
	require.EqualValues(t, 1, e.scalar(`select count(*) from pg_publication_rel r join pg_publication p on p.oid = r.prpubid where pubname = 'cdc' and prqual is not null`))
}

// Whoever names a publication, a flag, the environment that run has its name from, or its default: it is dropped only where nobody else can
// miss it. What it says then takes awa's tables out of it.
func TestSharedPublicationIsLeft(t *testing.T) {
	t.Parallel()
	const theirs = `create table public.theirs (id int primary key); `
	const takeOut = `ALTER PUBLICATION "cdc" DROP TABLE awa.done_entries, awa.queue_ring_state, awa.queue_terminal_live_counts, awa.queue_terminal_rollups`
	check := func(e *env, out string) {
		e.t.Helper()
		require.EqualValues(e.t, 1, e.published("cdc", "theirs"), "a publication of somebody else's table was dropped:\n"+out)
		require.Contains(e.t, out, "publication cdc, which the daemon used, is left, for it publishes other tables as well; if nobody else reads awa's from it, run: "+takeOut+"\n")
		require.Contains(e.t, out, "removed: drop publication cdc_ledger\n")
		e.exec(takeOut)
		require.EqualValues(e.t, 1, e.scalar(`select count(*) from pg_publication_tables`))
		e.exec(`drop publication cdc`)
		e.nothingOfOurs()
	}
	t.Run("finish", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
		e.exec(theirs + `create publication cdc for table public.theirs`)
		const named = "AWA_COUNTERD_PUBLICATION=cdc"
		d := start(t, []string{named}, "run", "--database-url", e.url(), "--checkpoint-interval", "200ms")
		e.marker(true, 30*time.Second)
		finish := exec.CommandContext(t.Context(), binary, "finish", "--database-url", e.url(), "--quiet-period", "1s", "--timeout", "60s")
		finish.Env = append(os.Environ(), named)
		said, err := finish.CombinedOutput()
		require.NoError(t, err, string(said))
		require.Zero(t, d.wait(20*time.Second))
		check(e, string(said))
	})
	t.Run("teardown", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
		e.exec(theirs + `create publication cdc for table public.theirs`)
		d := e.daemon("--publication", "cdc", "--checkpoint-interval", "200ms")
		e.marker(true, 30*time.Second)
		require.Zero(t, d.stop())
		code, out, errs := e.command("teardown", "--publication", "cdc")
		require.Zero(t, code, errs)
		check(e, out+errs)
	})
	t.Run("of the default name", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
		e.says("setup")
		e.exec(theirs + `alter publication awa_counterd_awa add table public.theirs`)
		code, out, errs := e.command("teardown")
		require.Zero(t, code, errs)
		require.Contains(t, out+errs, "publication awa_counterd_awa is left, for it publishes other tables as well")
		require.EqualValues(t, 1, e.published("awa_counterd_awa", "theirs"))
	})
	t.Run("of another schema's daemon", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
		d := e.daemon("--publication", "cdc", "--checkpoint-interval", "200ms")
		e.marker(true, 30*time.Second)
		require.Zero(t, d.stop())
		e.exec(`insert into awa_counterd.checkpoint (awa_schema, position, persisted_by, slot_name, publications, publication_state, system_identifier, timeline,
				relations, awa_shape, last_token, unseen_xids, trusted, reason)
			select 'other', position, persisted_by, 'other', publications, publication_state, system_identifier, timeline, relations, awa_shape, 0, '{}', false, ''
			from awa_counterd.checkpoint where awa_schema = 'awa'`)
		code, out, errs := e.command("teardown", "--publication", "cdc")
		require.Zero(t, code, errs)
		require.Contains(t, out+errs, "publication cdc, which the daemon used, is left, for the daemon of another schema of awa's works with it as well\n")
		require.EqualValues(t, 2, e.scalar(`select count(*) from pg_publication`))
	})
	t.Run("of others alone", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
		e.exec(theirs + `create publication cdc for table public.theirs`)
		code, out, errs := e.command("teardown", "--publication", "cdc")
		require.Zero(t, code, errs)
		require.Contains(t, out+errs, `publication cdc is left, for it publishes other tables as well; if nobody needs it, run: DROP PUBLICATION "cdc"`+"\n")
		require.EqualValues(t, 1, e.published("cdc", "theirs"))
	})
}

// A schema is renamed while no daemon runs, and somebody has added a table of their own to the publication that was made for it. What the
// sweep takes away under the former name is what was the daemon's alone.
func TestSweepLeavesASharedPublication(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d := e.daemon("--checkpoint-interval", "200ms")
	e.marker(true, 30*time.Second)
	require.Zero(t, d.stop())
	e.exec(`create table public.theirs (id int primary key); alter publication awa_counterd_awa add table public.theirs; alter schema awa rename to jobs`)
	e.layout.Schema = "jobs"
	d = e.daemon("--schema", "jobs")
	swept := d.logged("removed what was stored of another awa schema", 30*time.Second)
	require.Contains(t, fmt.Sprint(swept), "publications:[awa_counterd_awa_ledger]")
	require.Contains(t, fmt.Sprint(swept), "left:[awa_counterd_awa]")
	require.EqualValues(t, 1, e.published("awa_counterd_awa", "theirs"))
	e.marker(true, 30*time.Second)
	require.Zero(t, d.stop())
}

// A publication of somebody's names none of awa's tables, and --publication names it, by a slip or not: whoever reads it gets awa's changes
// from now on, so the daemon says what it has added, and what takes it out. What it has worked with it adds to without a warning.
func TestAddingToAPublicationOfOthersIsSaid(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	e.exec(`create table public.theirs (id int primary key); create publication cdc for table public.theirs`)
	const added = "awa's tables were added to a publication"
	d := e.daemon("--publication", "cdc", "--checkpoint-interval", "200ms")
	e.marker(true, 30*time.Second)
	said := d.logged(added, 0)
	require.Equal(t, "warn", said["level"])
	require.Equal(t, "cdc", said["publication"])
	require.Contains(t, said["tables"], "awa.done_entries")
	require.Contains(t, said["undo"], `ALTER PUBLICATION "cdc" DROP TABLE awa.done_entries, `)
	require.Equal(t, 1, strings.Count(d.text(), added), "what it has made itself is no news")
	require.Zero(t, d.stop())
	e.exec(fmt.Sprint(said["undo"]))
	d = e.daemon("--publication", "cdc", "--checkpoint-interval", "200ms")
	e.marker(true, 30*time.Second)
	require.Equal(t, "info", d.logged(added, 0)["level"])
	require.Zero(t, d.stop())
}
