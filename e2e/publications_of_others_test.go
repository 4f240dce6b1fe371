package e2e

import (
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
