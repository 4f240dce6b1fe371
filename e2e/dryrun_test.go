package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// written is every row of awa's counters and of its ring state, with the transaction that wrote it.
func (e *env) written() []string {
	e.t.Helper()
	rows, err := e.pool.Query(context.Background(), `select 'counter ' || c.ctid || ' ' || c.xmin || ' ' || c.xmax || ' ' || c::text from awa.queue_terminal_live_counts c
		union all select 'ring ' || r.ctid || ' ' || r.xmin || ' ' || r.xmax || ' ' || r::text from awa.queue_ring_state r order by 1`)
	require.NoError(e.t, err)
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(e.t, err)
	require.NotEmpty(e.t, out)
	return out
}

// dry waits until a dry run's checkpoint says how much of a queue it would correct.
func (e *env) dry(queue string, drift int64) {
	e.t.Helper()
	ctx, cancel := contextWithin(10 * time.Second)
	defer cancel()
	e.until(ctx, func() bool {
		for _, q := range e.status().Queues {
			if q.Queue == queue && q.Drift == drift {
				return true
			}
		}
		return false
	}, func() string { return "the drift is not told" })
}

// A dry run finds what is wrong, and neither corrects it nor touches the marker that somebody has set: not at its start, not at
// its death, not at its end. Then a daemon that is no dry run goes on from its books.
func TestDryRun(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	e.insertAt(1, "q", 5, false)
	e.insertAt(2, "counted", 3, true)
	e.setMarker()
	before := e.written()
	args := []string{"--dry-run", "--checkpoint-interval", "200ms", "--audit-interval", "1s"}
	d := e.daemon(args...)
	d.logged("dry run: nothing of awa's is written", 15*time.Second)
	d.logged("dry run: the trust marker is set, and stays so", time.Second)
	e.dry("q", 5)
	e.insertAt(1, "q", 2, false)
	e.dry("q", 7)
	s := e.status()
	require.True(t, s.MarkerSet)
	require.Contains(t, s.Next, "a dry run corrects nothing, and the marker is set")
	_, text, _ := e.command("status")
	require.Contains(t, text, "alive, DRY RUN: corrects nothing")
	code, _, errs := e.command("finish", "--timeout", "1s")
	require.Equal(t, refused, code)
	require.Contains(t, errs, "a dry run")
	d.kill()
	d = e.daemon(args...)
	d.logged("resuming from the checkpoint", 15*time.Second)
	require.Contains(t, d.logged("status", 15*time.Second), "would_correct")
	require.Equal(t, before, e.written())

	ctx, cancel := contextWithin(15 * time.Second)
	defer cancel()
	e.until(ctx, d.audited, func() string { return "its books were not compared with a scan" })
	require.Zero(t, d.stop())
	report := d.logged("dry run: what would have been corrected", 0)
	require.EqualValues(t, 1, report["groups"])
	require.EqualValues(t, 7, report["drift"])
	require.Contains(t, report["queues"], "q 2", "the others were there before it")
	require.Equal(t, before, e.written(), "a dry run has written")

	d = e.daemon()
	d.logged("resuming from the checkpoint", 15*time.Second)
	e.balanced(10 * time.Second)
	e.marker(true, 15*time.Second)

	// A dry run leads alone or not at all.
	refuses(t, refused, e.url(), []string{"--dry-run"}, "a daemon leads, and a dry run neither stands by nor takes over")
	require.Zero(t, d.stop())
	dry := e.daemon("--dry-run")
	dry.logged("leading", 15*time.Second)
	d = e.daemon()
	d.logged("a dry run led; this daemon ended its session, and takes over", 15*time.Second)
	e.marker(true, 20*time.Second)
	require.Equal(t, refused, dry.wait(20*time.Second))
}

// audited reports that the newest status line tells of an audit.
func (d *daemon) audited() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.log {
		if audit, _ := e["audit"].(string); len(audit) > 2 && audit[:3] == "ok " {
			return true
		}
	}
	return false
}

// besideADryRun has a dry run lead that cannot be deposed, since it is another role's, and then a daemon come that would correct,
// as the role that is returned. The marker, which was set, is cleared.
func (e *env) besideADryRun() (role string, dry, d *daemon) {
	e.t.Helper()
	role, reader := e.role("replication"), e.role("replication")
	for _, r := range []string{role, reader} {
		e.says("setup", "--role", r)
	}
	dry = start(e.t, nil, "run", "--database-url", server.URL(reader, "", e.db), "--no-setup", "--dry-run")
	dry.logged("leading", 30*time.Second)
	e.setMarker()
	e.insertAt(1, "q", 5, false)
	d = start(e.t, nil, "run", "--database-url", server.URL(role, "", e.db), "--no-setup")
	d.logged("a dry run leads, and this role may not end its session", 30*time.Second)
	e.marker(false, 15*time.Second)
	return role, dry, d
}

// A dry run vouches for nothing: a marker that is set beside it is cleared by whoever would correct and cannot, be it that the
// dry run is another role's and stays, or that the daemon is refused.
func TestDryRunVouchesForNothing(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	role, dry, d := e.besideADryRun()
	e.wait(2 * time.Second)
	require.Equal(t, 1, strings.Count(d.text(), "this role may not end its session"), "said once")
	require.NotContains(t, d.text(), "the leader is silent")
	require.Contains(t, d.text(), "a dry run leads, and no daemon vouches for the counters")
	require.Zero(t, d.stop())

	e.setMarker()
	_, out, _ := e.command("doctor")
	require.Contains(t, out, "no daemon vouches for it")
	e.exec("alter role " + role + " noreplication")
	refuses(t, refused, server.URL(role, "", e.db), []string{"--no-setup"}, "REPLICATION")
	e.marker(false, time.Second)
	require.Zero(t, dry.stop())
}

// A dry run leaves the replication slot of a daemon that had another --slot alone.
func TestDryRunDropsNoSlot(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	d := e.daemon("--slot", "one_"+e.db, "--checkpoint-interval", "200ms")
	e.marker(true, 15*time.Second)
	require.Zero(t, d.stop())
	dry := e.daemon("--dry-run")
	dry.logged("leading", 15*time.Second)
	require.EqualValues(t, 1, e.scalar(`select count(*) from pg_replication_slots where slot_name = $1`, "one_"+e.db))
	require.Zero(t, dry.stop())
	e.exec(`select pg_drop_replication_slot($1)`, "one_"+e.db)
}

// A dry run needs no right to write anything of awa's; a daemon that corrects is refused for want of them.
func TestDryRunOnlyReads(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	role := e.role("replication")
	code, _, errs := e.command("setup", "--role", role)
	require.Zero(t, code, errs)
	e.exec(`revoke insert, update, delete on awa.queue_terminal_live_counts from ` + role)
	e.exec(`revoke update (terminal_counter_trusted_at) on awa.queue_ring_state from ` + role)
	asRole := server.URL(role, "", e.db)
	refuses(t, refused, asRole, []string{"--no-setup"}, "lacks INSERT ON awa.queue_terminal_live_counts")
	d := start(t, nil, "run", "--database-url", asRole, "--no-setup", "--dry-run", "--checkpoint-interval", "200ms", "--status-interval", "500ms")
	d.logged("leading", 15*time.Second)
	f := e.fleet(fleet.Config{Pre: 2, Post: 2, Pause: 15 * time.Millisecond, Prune: 400 * time.Millisecond, Seed: 7})
	e.wait(4 * time.Second)
	f.Stop()
	e.undisturbed(f)
	ctx, cancel := contextWithin(15 * time.Second)
	defer cancel()
	e.until(ctx, func() bool { // its books are right, and drift is what awa's tables have
		off := e.scalar(`select coalesce(sum(abs(r.n - r.c)), 0)::bigint from (select queue, sum(n) n, sum(c) c from (
			select queue, count(*) n, 0 c from awa.done_entries group by 1
			union all select queue, 0, sum(live_terminal_count) from awa.queue_terminal_live_counts group by 1
			` + e.pendingSQL() + `) x group by 1) r`)
		var told int64
		for _, q := range e.status().Queues {
			told += max(q.Drift, -q.Drift)
		}
		return off == told
	}, func() string { return "the drift of the books is not that of the tables" })
	require.NotContains(t, d.text(), "session failed")
	require.NotContains(t, d.text(), "denied")
	require.Zero(t, d.stop())
	require.NotContains(t, d.text(), "the books disagreed")
}

// pendingSQL adds what is pending in the ledger to a counter, where there is one.
func (e *env) pendingSQL() string {
	if e.scalar(`select count(*) from pg_class where oid = to_regclass('awa.queue_terminal_count_deltas')`) == 0 {
		return ""
	}
	return `union all select queue, 0, sum(terminal_delta) from awa.queue_terminal_count_deltas group by 1`
}
