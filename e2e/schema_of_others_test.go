package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// awa's queue storage may live in any schema, but not in the one that is awa-counterd's, and goes with it.
func TestAwaInASchemaOfOurName(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Schema: "awa_counterd", Shape: fleet.Ledger, Slots: 4})
	e.do(true, func(tx pgx.Tx, w fleet.Writer) error {
		return w.Insert(t.Context(), tx, fleet.Key{Slot: 1, Queue: "q", Priority: 1}, 5, "failed", "")
	})
	const wants = `schema "awa_counterd": awa-counterd has its own tables in a schema of that name`
	for _, command := range []string{"setup", "teardown", "finish", "status", "doctor", "reconcile", "distrust", "run"} {
		code, out, errs := e.command(command, "--schema", "awa_counterd")
		require.Equal(t, 2, code, command+": "+out+errs)
		require.Contains(t, errs, wants, command)
	}
	require.NoError(t, fleet.Install(t.Context(), e.connect(), fleet.Layout{Schema: "awa", Slots: 4, Shape: fleet.Ledger}))
	code, out, errs := e.command("teardown", "--schema", "awa") // of another awa beside it
	require.Zero(t, code, out+errs)
	require.Contains(t, errs, "table awa_counterd.done_entries")
	e.exec(`update awa.runtime_storage_backends set schema_name = 'awa_counterd' where backend = 'queue_storage'`)
	refuses(t, refused, e.url(), nil, wants)
	code, out, errs = e.command("teardown")
	require.NotZero(t, code, out)
	require.Contains(t, errs, wants)
	require.EqualValues(t, 5, e.scalar(`select count(*) from awa_counterd.done_entries`))
}

// Tables of another form, of which somebody has made a view, are not dropped for those of this one.
func TestFormerFormThatOthersNeed(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	e.says("setup")
	e.exec(`alter table awa_counterd.books rename column counts to tallies; create view public.watched as select queue from awa_counterd.books;
		create table awa_counterd.books_before as select * from awa_counterd.books`)
	const wants = "the tables in schema awa_counterd are those of another version, and would have to be dropped; what others made depends on them: view public.watched; run: DROP VIEW public.watched"
	refuses(t, refused, e.url(), nil, wants)
	code, out, errs := e.command("setup")
	require.Equal(t, refused, code, out)
	require.Contains(t, errs, wants)
	e.mended(`drop view public.watched`)
	require.EqualValues(t, 1, e.scalar(`select count(*) where to_regclass('awa_counterd.books_before') is not null`))
}

// What a person has put into the daemon's schema, or has made of its tables elsewhere, stays, and is named with what removes it. Then
// another teardown removes the rest.
func TestRemovalLeavesWhatOthersMade(t *testing.T) {
	t.Parallel()
	const mine = `create table awa_counterd.live_counts_before as select * from awa.queue_terminal_live_counts; create table awa_counterd.books_before as select * from awa_counterd.books; `
	const ofOurs = `create view public.queues_watched as select distinct queue from awa_counterd.books;
		create table public.alarms (queue text); create view public.alarmed as select * from public.alarms join public.queues_watched using (queue);
		create table public.notes (queue text, group_of awa_counterd.books); `
	for name, c := range map[string]struct {
		make, note, mend string
		stays            []string
	}{
		"in the schema": {
			mine, "table awa_counterd.books_before, table awa_counterd.live_counts_before; if nobody needs that, run: DROP TABLE awa_counterd.books_before; DROP TABLE awa_counterd.live_counts_before; then awa-counterd teardown\n",
			`alter table awa_counterd.books_before set schema public; alter table awa_counterd.live_counts_before set schema public`,
			[]string{"awa_counterd.live_counts_before", "awa_counterd.books_before"},
		},
		"made of its tables": {
			ofOurs, "table column public.notes.group_of, view public.queues_watched; if nobody needs that, run: DROP VIEW public.queues_watched; then awa-counterd teardown\n",
			`drop view public.queues_watched cascade; alter table public.notes drop column group_of`,
			[]string{"public.alarmed", "awa_counterd.books", "public.notes"},
		},
		"both, and a function": {
			mine + ofOurs + `create function awa_counterd.watched(int) returns bigint language sql as 'select count(*) from awa_counterd.books'`,
			"function awa_counterd.watched(integer), table awa_counterd.books_before, table awa_counterd.live_counts_before, table column public.notes.group_of, view public.queues_watched; if nobody needs that, run: DROP FUNCTION awa_counterd.watched(integer); ",
			`drop view public.queues_watched cascade; drop table public.notes; drop table awa_counterd.books_before, awa_counterd.live_counts_before; drop function awa_counterd.watched`,
			[]string{"public.alarmed", "awa_counterd.books_before"},
		},
	} {
		for _, command := range []string{"teardown", "finish"} {
			t.Run(name+", "+command, func(t *testing.T) {
				t.Parallel()
				e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
				e.insertAt(1, "q", 5, false)
				d := e.daemon("--checkpoint-interval", "200ms")
				e.marker(true, 30*time.Second)
				e.exec(c.make)
				args := []string{command}
				if command == "teardown" {
					require.Zero(t, d.stop())
				} else {
					args = append(args, "--quiet-period", "1s", "--timeout", "60s")
				}
				code, out, errs := e.command(args...)
				require.Zero(t, code, out+errs)
				for _, what := range c.stays {
					require.EqualValues(t, 1, e.scalar(`select count(*) where to_regclass($1) is not null`, what), what+" is gone:\n"+out+errs)
				}
				const left = "schema awa_counterd is left, for others made what is in it or depends on it: "
				if command == "teardown" {
					require.Contains(t, out+errs, left+c.note)
				} else {
					require.Contains(t, out+errs, left+strings.TrimSuffix(c.note, "then awa-counterd teardown\n"))
					require.NotContains(t, out+errs, "awa-counterd teardown")
					require.Zero(t, d.wait(20*time.Second), "it waits for what will not go")
				}
				require.Regexp(t, "none: no daemon has (run here, or everything of it was removed|led here yet, or none since a teardown or a finish)", e.says("status"))
				code, out, errs = e.command("teardown")
				require.Zero(t, code, out+errs)
				require.Contains(t, errs, left+c.note)
				code, out, errs = e.command("teardown", "--print-sql")
				require.Zero(t, code, out+errs)
				require.NotContains(t, out, "CASCADE")
				require.Contains(t, errs, left+c.note)
				e.says("setup") // the schema can be used again
				d = e.daemon()
				e.marker(true, 30*time.Second)
				require.Zero(t, d.stop())
				e.exec(c.mend)
				require.Contains(t, e.says("teardown"), "removed: drop schema awa_counterd\n")
				e.nothingOfOurs()
			})
		}
	}
}

// An extension stands in the schema. PostgreSQL drops none of its members alone: it is named itself, with the statement that drops it.
func TestRemovalLeavesAnExtension(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	if e.scalar(`select count(*) from pg_available_extensions where name = 'pg_trgm'`) == 0 {
		t.Skip("this server comes without extensions")
	}
	e.says("setup")
	e.exec(`create extension pg_trgm schema awa_counterd`)
	code, out, errs := e.command("teardown")
	require.Zero(t, code, out+errs)
	const mend = `DROP EXTENSION pg_trgm`
	require.Contains(t, errs, "others made what is in it or depends on it: extension pg_trgm; if nobody needs that, run: "+mend+"; then awa-counterd teardown\n")
	e.exec(mend)
	require.Contains(t, e.says("teardown"), "removed: drop schema awa_counterd\n")
	e.nothingOfOurs()
}
