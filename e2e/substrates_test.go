package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// substrate is an awa of its own in a schema of the database, with its fleet, its daemon and its sampler.
type substrate struct {
	*env
	d *daemon
	f *fleet.Fleet
	s *sampler
}

func (e *env) substrate(schema string, slots int, seed uint64) *substrate {
	e.t.Helper()
	x := &substrate{env: &env{t: e.t, server: e.server, db: e.db, layout: fleet.Layout{Schema: schema, Shape: fleet.Ledger, Slots: slots}, pool: e.pool}}
	require.NoError(e.t, fleet.Install(e.t.Context(), e.connect(), x.layout))
	x.d = e.daemon("--schema", schema, "--audit-interval", "1s", "--checkpoint-interval", "200ms")
	x.d.logged("marker set", 15*time.Second)
	x.s = x.sample(20 * time.Millisecond)
	x.f = x.fleet(fleet.Config{Pre: 1, Post: 1, Pause: 12 * time.Millisecond, Prune: 300 * time.Millisecond, Fold: 400 * time.Millisecond, Retain: time.Hour, Seed: seed})
	return x
}

// ours is what daemons have made in the database for a schema.
func (x *substrate) ours() int64 {
	x.t.Helper()
	return x.scalar(`select (select count(*) from pg_publication_tables where schemaname = $1) +
		(select count(*) from pg_replication_slots where database = current_database() and slot_name like 'awa_counterd_%' || left($1, 6) || '%') +
		(select count(*) from awa_counterd.checkpoint where awa_schema = $1)`, x.layout.Schema)
}

// finished ends the upgrade of one substrate, in which old binaries are gone.
func (x *substrate) finished() {
	x.t.Helper()
	x.balanced(2 * time.Second)
	require.Positive(x.t, x.scalar(fmt.Sprintf(`select count(*) from %s.queue_terminal_live_counts where counter_bucket = 300`, x.layout.Schema)), "nothing was corrected")
	require.Contains(x.t, x.says("finish", "--schema", x.layout.Schema, "--quiet-period", "1s", "--timeout", "30s"), "moved the corrections to")
	require.Zero(x.t, x.d.wait(5*time.Second))
	x.noMismatch(x.d)
	x.marker(true, 0)
	x.balanced(0)
	x.byBucket()
}

// alone lets a fleet that counts work where no daemon is: nobody is left to mend anything.
func (x *substrate) alone(seed uint64) {
	x.t.Helper()
	f := x.fleet(fleet.Config{Post: 2, Pause: 12 * time.Millisecond, Prune: 200 * time.Millisecond, Fold: 200 * time.Millisecond, OldLeads: -1, Retain: time.Hour, Seed: seed})
	x.wait(1500 * time.Millisecond)
	f.Stop()
	x.balanced(0)
	x.byBucket()
	x.undisturbed(f)
	x.s.honest(x.t)
	require.GreaterOrEqual(x.t, x.s.Trusted, x.s.Samples/2, "%s was hardly ever trusted", x.layout.Schema)
}

// Three awas in one database, in schemas of their own, on rings of 4 and 16 slots, a daemon each. One upgrade is finished and another torn
// down and reconciled while the third goes on, which notices nothing of that; nowhere is the marker set over what is wrong.
func TestSubstratesOfTheLedger(t *testing.T) {
	e := newDatabase(t, server)
	one, two, three := e.substrate("awa", 16, 311), e.substrate("qs_two", 4, 312), e.substrate("substrate_of_the_warehouse", 16, 313)
	e.wait(3 * time.Second)

	two.f.Stop()
	two.finished()
	require.Zero(t, two.ours())
	require.Positive(t, three.ours())
	two.alone(314)
	two.marker(true, 0)

	three.f.Stop()
	three.balanced(2 * time.Second)
	three.noMismatch(three.d)
	require.Zero(t, three.d.stop())
	three.marker(false, 0)
	three.insertAt(1, "email", 7, false)
	require.Contains(t, e.says("teardown", "--schema", three.layout.Schema), "drop replication slot")
	require.Zero(t, three.ours())
	require.Contains(t, e.says("reconcile", "--schema", three.layout.Schema, "--trust", "--observe", "1s"), "schema "+three.layout.Schema)
	three.marker(true, 0)
	three.balanced(0)
	three.byBucket()
	three.alone(315)

	require.Positive(t, one.ours())
	select {
	case <-one.d.Done():
		require.FailNow(t, "the daemon that is left has ended", one.d.text())
	default:
	}
	one.f.Stop()
	one.finished()
	one.alone(316)
	e.nothingOfOurs()
	for _, x := range []*substrate{one, two, three} {
		require.Positive(t, x.f.Prunes.Load(), x.layout.Schema)
		x.undisturbed(x.f)
		x.foldAll() // only now: as long as anybody holds a snapshot in the database, a fold stands down
		x.balanced(0)
		x.byBucket()
		x.readersAgree(fourQueues...)
		x.marker(true, 0)
	}
}

// awa's workers register without their schema: where several awas share a database, who waits for old ones hears that they may be another's.
func TestOldWorkersOfAnotherSubstrate(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Slots: 4})
	e.exec(`create table awa.runtime_instances (instance_id text, version text, last_seen_at timestamptz, leader boolean);
		insert into awa.runtime_instances values ('old', '0.6.0-beta.1', now() + interval '1 h', false)`)
	d := e.daemon("--schema", "awa")
	e.marker(true, 15*time.Second)
	says := func(whose string) {
		t.Helper()
		of := "pre-#290 runtimes" + whose
		require.Equal(t, "1 "+of+" of version 0.6.0-beta.1 are live: replace them", e.status("--schema", "awa").Next)
		code, _, errs := e.command("finish", "--schema", "awa", "--quiet-period", "1s", "--timeout", "1s")
		require.Equal(t, refused, code)
		require.Contains(t, errs, "not finished within 1s: 1 "+of+" of version 0.6.0-beta.1 are live: replace them")
	}
	says("")
	require.NoError(t, fleet.Install(t.Context(), e.connect(), fleet.Layout{Schema: "other", Slots: 4}))
	says(" (of any awa in this database)")
	require.Zero(t, d.stop())
	code, _, errs := e.command("reconcile", "--schema", "awa", "--trust", "--observe", "1s")
	require.Equal(t, refused, code)
	require.Contains(t, errs, "pre-#290 runtimes (of any awa in this database) are live: old (0.6.0-beta.1)")
}
