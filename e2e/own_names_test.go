package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// neverPersists lets no checkpoint be written: scans of large leaves take as long.
func (e *env) neverPersists() {
	e.t.Helper()
	e.says("setup")
	e.exec(`create function awa.refuse() returns trigger language plpgsql as $$ begin raise exception using errcode = '55P03', message = 'busy'; end $$`)
	e.exec(`create trigger refuse before insert or update on awa_counterd.checkpoint for each row when (new.position <> '0/0') execute function awa.refuse()`)
}

// A daemon whose replication slot has a name of its own dies before its first checkpoint. The slot keeps WAL, and nobody reads it: it is
// found all the same, by teardown and by a daemon that is given another name.
func TestSlotBeforeTheFirstCheckpoint(t *testing.T) {
	t.Parallel()
	const slots = `select count(*) from pg_replication_slots where database = current_database()`
	dies := func(t *testing.T) *env {
		e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
		e.neverPersists()
		d := e.daemon("--slot", "one_"+e.db)
		d.logged("replication slot created", 20*time.Second)
		e.marker(true, 20*time.Second)
		d.kill()
		e.disconnected()
		require.EqualValues(t, 1, e.scalar(slots))
		return e
	}
	t.Run("teardown", func(t *testing.T) {
		e := dies(t)
		e.says("teardown")
		e.nothingOfOurs()
	})
	t.Run("another name", func(t *testing.T) {
		e := dies(t)
		e.exec(`drop trigger refuse on awa_counterd.checkpoint`)
		d := e.daemon("--slot", "two_"+e.db)
		require.Contains(t, fmt.Sprint(d.logged("nobody reads any more", 20*time.Second)), "one_"+e.db)
		e.marker(true, 20*time.Second)
		require.EqualValues(t, 1, e.scalar(slots))
		require.Zero(t, d.stop())
	})
}

// While finish waits, the daemon is started again with another name for its replication slot. That one is what finish has to remove.
func TestSlotIsRenamedWhileFinishWaits(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d := e.daemon("--slot", "one_"+e.db, "--checkpoint-interval", "200ms")
	e.marker(true, 20*time.Second)
	finish := e.types("finish", "--quiet-period", "8s", "--timeout", "50s")
	ctx, cancel := contextWithin(20 * time.Second)
	defer cancel()
	e.until(ctx, func() bool {
		e.insertAt(0, "q", 1, false) // it waits for as long as these are made
		return strings.Contains(finish.said.String(), "finish: waiting: ")
	}, func() string { return "finish does not wait" })
	require.Zero(t, d.stop())
	d = e.daemon("--slot", "two_"+e.db, "--checkpoint-interval", "200ms")
	require.Contains(t, finish.ends(0, time.Minute), "drop replication slot two_"+e.db) // a daemon that stands by would do it as well, if it lived
	require.Zero(t, d.wait(10*time.Second))
	e.marker(true, 0)
	e.nothingOfOurs()
}

// A daemon is started with another --publication, and once more. What it used before goes, and is said; what others use, or what publishes
// more, stays.
func TestPublicationIsRenamed(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	publications := func() string {
		var names string
		require.NoError(t, e.pool.QueryRow(t.Context(), `select string_agg(pubname, ' ' order by pubname) from pg_publication`).Scan(&names))
		return names
	}
	runs := func(args ...string) *daemon {
		d := e.daemon(args...)
		e.marker(true, 20*time.Second)
		e.insert(3)
		e.balanced(3 * time.Second)
		require.Zero(t, d.stop())
		return d
	}
	const ours, dropped, left = "awa_counterd_awa awa_counterd_awa_ledger", "dropped publications of awa-counterd's", "publications that the daemon used before are left"
	runs()
	d := runs("--publication", "two")
	require.Contains(t, fmt.Sprint(d.logged(dropped, 0)), "awa_counterd_awa_ledger")
	require.Equal(t, "two two_ledger", publications())
	d = runs()
	require.Equal(t, `DROP PUBLICATION IF EXISTS "two", "two_ledger"`, d.logged(left, 0)["run"])
	require.Equal(t, ours+" two two_ledger", publications(), "they may have been somebody's before")
	e.exec(`drop publication two, two_ledger; create table public.theirs (id int primary key); alter publication awa_counterd_awa add table public.theirs`)
	runs("--publication", "three")
	require.Equal(t, "awa_counterd_awa three three_ledger", publications(), "it publishes somebody else's table")
	e.exec(`drop publication awa_counterd_awa`)
	runs()
	e.exec(`drop publication three, three_ledger`)
	e.exec(`insert into awa_counterd.checkpoint (awa_schema, position, persisted_by, slot_name, publications, publication_state, system_identifier, timeline,
			relations, awa_shape, last_token, unseen_xids, trusted, reason)
		select 'other', position, persisted_by, 'other', publications, publication_state, system_identifier, timeline, relations, awa_shape, 0, '{}', false, ''
		from awa_counterd.checkpoint where awa_schema = 'awa'`)
	runs("--publication", "four")
	require.Equal(t, ours+" four four_ledger", publications(), "the daemon of another schema uses them")
}

// A publication of the given name is there, and publishes what is somebody else's, or another daemon's: that stays in it.
func TestSharedPublicationKeepsItsTables(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	require.NoError(t, fleet.Install(t.Context(), e.connect(), fleet.Layout{Schema: "other", Slots: 4, Shape: fleet.Ledger}))
	o := *e
	o.layout.Schema = "other"
	e.exec(`create table public.theirs (id int primary key); create publication mine for table public.theirs`)
	first := e.daemon("--schema", "awa", "--publication", "mine")
	e.marker(true, 20*time.Second)
	second := e.daemon("--schema", "other", "--publication", "mine")
	o.marker(true, 20*time.Second)
	e.marker(true, 20*time.Second) // it looks again once
	require.EqualValues(t, 3, e.scalar(`select count(distinct schemaname) from pg_publication_tables where pubname = 'mine'`))
	for _, w := range []*env{e, &o} {
		w.insert(5)
		w.balanced(3 * time.Second)
		w.marker(true, 20*time.Second)
	}
	require.Zero(t, first.stop())
	require.Zero(t, second.stop())
}
