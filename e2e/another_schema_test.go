package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// swept waits until a leader has looked for what nobody works on any more, to the end of the list: then what nobody has ever worked on has gone.
func (e *env) swept() {
	e.t.Helper()
	e.exec(`insert into awa_counterd.checkpoint select (jsonb_populate_record(c, '{"awa_schema": "zz_gone", "slot_name": "zz_gone"}')).* from awa_counterd.checkpoint c limit 1`)
	e.none(`select count(*) from awa_counterd.checkpoint where awa_schema = 'zz_gone'`, 20*time.Second, "nobody has swept")
}

// A dump of a database with two awas is restored in a new cluster, checkpoints and publications with it. The OIDs in the checkpoints are
// of the old cluster, where they were those of other tables. The daemon of the one must not take the other for itself under a former name.
func TestRestoredDumpOfTwo(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	require.NoError(t, fleet.Install(t.Context(), e.connect(), fleet.Layout{Schema: "other", Slots: 4, Shape: fleet.Ledger}))
	o := *e
	o.layout.Schema = "other"
	d := e.daemon("--schema", "other", "--checkpoint-interval", "200ms")
	o.marker(true, 30*time.Second)
	require.Zero(t, d.stop())
	e.disconnected()
	e.exec(`select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database()`) // no dump has them
	e.exec(`update awa_counterd.checkpoint set system_identifier = '1', relations = array['awa.done_entries_1'::regclass::oid, 99999];
		update awa_counterd.leader set heartbeat_at = now() - interval '1 hour'`)
	e.daemon("--schema", "awa", "--checkpoint-interval", "200ms")
	e.marker(true, 30*time.Second)
	e.swept()
	require.EqualValues(t, 2, e.scalar(`select count(*) from pg_publication where pubname like 'awa_counterd_other%'`), "the other daemon's publications are gone")
	require.EqualValues(t, 2, e.scalar(`select (select count(*) from awa_counterd.leader where awa_schema = 'other') + (select count(*) from awa_counterd.checkpoint where awa_schema = 'other')`))
}

// A schema is renamed, and its former name is another awa's. The replication slot that knows the tables by that name goes when nobody has
// led there for a while, and so does the marker of that other awa; what a daemon of it would work with stays.
func TestNameOfARenamedSchemaIsUsedAgain(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	require.NoError(t, fleet.Install(t.Context(), e.connect(), fleet.Layout{Schema: "other", Slots: 4, Shape: fleet.Ledger}))
	d := e.daemon("--schema", "awa", "--checkpoint-interval", "200ms")
	e.marker(true, 30*time.Second)
	require.Zero(t, d.stop())
	e.exec(`alter schema awa rename to jobs; alter schema other rename to awa`)
	e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = now()`)
	again := *e
	e.layout.Schema = "jobs"
	d = e.daemon("--schema", "jobs", "--checkpoint-interval", "200ms")
	e.marker(true, 30*time.Second)
	e.swept()
	made := func() int64 {
		return e.scalar(`select (select count(*) from pg_publication where pubname like 'awa_counterd_awa%') + (select count(*) from awa_counterd.leader where awa_schema = 'awa')`)
	}
	require.EqualValues(t, 3, made(), "somebody else's by now, for all that is known")
	e.exec(`update awa_counterd.leader set heartbeat_at = now() - interval '1 hour' where awa_schema = 'awa'`)
	require.Contains(t, fmt.Sprint(d.logged("nobody reads any more", 20*time.Second)), "awa")
	require.Contains(t, fmt.Sprint(d.logged("removed what was stored of another awa schema", 20*time.Second)), "awa")
	require.EqualValues(t, 3, made())
	again.marker(false, 0)
	e.none(`select count(*) from awa_counterd.checkpoint where awa_schema = 'awa'`, 5*time.Second, "nobody can go on from it")
	require.Zero(t, d.stop())
}
