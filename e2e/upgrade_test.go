package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// The whole life of an upgrade: an old fleet, the migration, setup, run, a rolling replacement in
// which uncounted writes fade queue by queue, status naming them, finish. At every step awa's
// readers are told the truth.
func TestUpgrade(t *testing.T) {
	e := newEnv(t, fleet.Layout{NoCounter: true})
	e.exec(`create table awa.runtime_instances (instance_id text, version text, last_seen_at timestamptz, leader boolean)`)
	old := e.fleet(fleet.Config{Pre: 3, Pause: 15 * time.Millisecond, Seed: 101, Queues: []string{"billing", "email"}})
	d := e.daemon("--checkpoint-interval", "200ms")
	d.logged("waiting for awa's migration", 10*time.Second)
	e.wait(500 * time.Millisecond)

	conn := e.connect()
	require.NoError(t, e.layout.Migrate(t.Context(), conn))
	before := strings.Replace(e.catalogs(), "marker true", "marker false", 1)
	code, out, errs := e.command("setup")
	require.Zero(t, code, out+errs)
	d.logged("leading", 10*time.Second) // a migration sets the marker by itself
	e.marker(true, 20*time.Second)
	s := e.sample(20 * time.Millisecond)
	standby := e.daemon()
	standby.logged("standing by", 5*time.Second)

	// Billing's workers are replaced first; email is still written by old ones.
	old.Stop()
	mixed := e.fleet(fleet.Config{Pre: 2, Post: 2, Pause: 15 * time.Millisecond, Prune: 400 * time.Millisecond, Seed: 102, Queues: []string{"billing", "email"}, PreQueues: []string{"email"}})
	e.exec(`insert into awa.runtime_instances values ('old', '0.6.0-beta.1', now(), false), ('new', '0.6.0-beta.2', now(), true)`)
	e.wait(3 * time.Second)
	require.Contains(t, e.status("--quiet-period", "1500ms").Next, "pre-#290 writers still active on queue email; last ")
	code, _, errs = e.command("finish", "--quiet-period", "2s", "--timeout", "1s")
	require.Equal(t, refused, code)
	require.Contains(t, errs, "not finished within 1s: pre-#290 writers still active on queue")

	// The last old worker goes.
	mixed.Stop()
	// A new leader prunes: it takes away what old ones left of another generation in the ledger.
	news := e.fleet(fleet.Config{Post: 3, Pause: 15 * time.Millisecond, Prune: 300 * time.Millisecond, OldLeads: -1, Seed: 103, Queues: []string{"billing", "email"}})
	e.wait(2500 * time.Millisecond)
	require.Contains(t, e.status("--quiet-period", "2s").Next, "1 pre-#290 runtimes of version 0.6.0-beta.1 are live")
	e.exec(`delete from awa.runtime_instances where instance_id = 'old'`)
	s.honest(t)
	require.Positive(t, s.Trusted)

	code, out, errs = e.command("finish", "--quiet-period", "2s", "--timeout", "20s")
	require.Zero(t, code, out+errs)
	require.Contains(t, out, "finished: the counters agree with a scan, the marker is set for good")
	require.Equal(t, 1, strings.Count(errs, "producers, command lines and psql do not register with awa"), errs)
	require.NotContains(t, errs, "cannot be seen\n", "the runtimes were read")
	require.Zero(t, d.wait(5*time.Second))
	require.Zero(t, standby.wait(5*time.Second))
	d.logged("ending: everything that awa-counterd created", 0)
	e.wait(500 * time.Millisecond)
	news.Stop()
	e.balanced(0)
	e.marker(true, 0)
	e.readersAgree("billing", "email")
	for _, f := range []*fleet.Fleet{old, mixed, news} {
		e.undisturbed(f)
	}
	e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = null`) // for the comparison only
	require.Equal(t, before, e.catalogs(), "a trace is left")
}

// A role that may not read awa's runtimes hears, before the marker is set, that the old ones among them cannot be
// seen; with it and without it, that producers and psql never can.
func TestFinishSaysWhatCannotBeKnown(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Slots: 4})
	role, other := e.role("replication"), e.role("")
	e.exec(fmt.Sprintf(`create table awa.runtime_instances (instance_id text, version text, last_seen_at timestamptz, leader boolean);
		insert into awa.runtime_instances values ('old', '0.6.0-beta.1', now(), false);
		alter table awa.runtime_instances owner to %s; grant %s to %s`, other, cluster.Superuser, role)) // may do all that an owner may, but for this
	const hidden, never = "finish: awa.runtime_instances does not exist, or this role may not read it, so old workers cannot be seen", "finish: producers, command lines and psql do not register with awa"
	d := e.daemon("--checkpoint-interval", "200ms")
	e.marker(true, 10*time.Second)
	code, out, errs := e.command("finish", "--quiet-period", "1s", "--timeout", "3s")
	require.Equal(t, refused, code, out+errs)
	require.Contains(t, errs, "1 pre-#290 runtimes of version 0.6.0-beta.1 are live")
	code, out, errs = e.commandOn(server.URL(role, "", e.db), "reconcile", "--trust", "--observe", "1s")
	require.Zero(t, code, out+errs)
	for _, text := range []string{"old workers cannot be seen", "producers, command lines and psql do not register with awa"} {
		require.Contains(t, errs, text)
		require.Contains(t, out, text)
	}
	code, out, errs = e.commandOn(server.URL(role, "", e.db), "finish", "--quiet-period", "1s", "--timeout", "20s")
	require.Zero(t, code, out+errs)
	require.Contains(t, errs, hidden)
	require.Equal(t, 1, strings.Count(errs, never), errs)
	require.Zero(t, d.wait(5*time.Second))
	e.marker(true, 0)
}

// finish refuses without the evidence of a daemon, or with one that does not answer.
func TestFinishRefuses(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Slots: 4})
	code, _, errs := e.command("finish")
	require.Equal(t, refused, code)
	require.Contains(t, errs, "has never run here")
	d := e.daemon("--checkpoint-interval", "200ms")
	e.marker(true, 10*time.Second)
	d.kill()
	e.exec(`update awa_counterd.leader set heartbeat_at = now() - interval '1 min'`)
	code, _, errs = e.command("finish")
	require.Equal(t, refused, code)
	require.Contains(t, errs, "no daemon leads")

	d = e.daemon("--checkpoint-interval", "200ms")
	d.logged("marker set", 10*time.Second)
	d.signal(stopped)
	t.Cleanup(func() { d.signal(resumed) })
	code, _, errs = e.command("finish", "--quiet-period", "1s", "--timeout", "5s")
	require.Equal(t, refused, code, errs)
	require.Regexp(t, "the daemon did not answer|no daemon leads", errs)
	d.signal(resumed)
	e.marker(true, 15*time.Second)
	require.Zero(t, d.stop())
}
