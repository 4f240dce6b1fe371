package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// past is what is remembered of the marker, newest first.
func (e *env) past() []checkpoint.MarkerChange {
	e.t.Helper()
	out, err := checkpoint.MarkerChanges(context.Background(), e.pool, "awa")
	require.NoError(e.t, err)
	return out
}

// dead has status take the daemon for dead, and not wait for an answer.
func (e *env) dead() {
	e.exec(`update awa_counterd.leader set heartbeat_at = now() - interval '1 min'`)
}

// told lists changes as "set" or "cleared: reason", oldest first.
func told(changes []checkpoint.MarkerChange) (out []string) {
	for _, m := range slices.Backward(changes) {
		if text := "cleared: " + m.Reason; m.Set {
			out = append(out, "set")
		} else {
			out = append(out, text)
		}
	}
	return out
}

// A person finds out afterwards when the marker was set and cleared, why and by whom: across a crash, a post-stop hook, a hand
// and an orderly stop; the daemon has no rights but the least.
func TestLookingBack(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	require.Empty(t, e.past())
	role := e.role("replication")
	code, _, errs := e.command("setup", "--role", role)
	require.Zero(t, code, errs)
	require.Empty(t, e.past())
	args := []string{"run", "--no-setup", "--database-url", server.URL(role, "", e.db)}
	d := start(t, nil, args...)
	e.marker(true, 15*time.Second)
	d.kill()
	e.postStop()
	d = start(t, nil, args...)
	e.marker(true, 15*time.Second)
	e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = null`)
	d.logged("the marker was cleared by someone else", 5*time.Second)
	e.marker(true, 15*time.Second)
	e.insertAt(1, "q", 5, false)
	e.balanced(5 * time.Second)
	require.Zero(t, d.stop()) // uncounted writes are recent
	e.marker(false, 0)

	past := e.past()
	require.Equal(t, []string{
		"set", "cleared: awa-counterd distrust --after-stop: the daemon had ended",
		"set", "cleared: cleared by somebody else", "set", "cleared: the daemon stops, and old binaries wrote recently",
	}, told(past))
	require.Contains(t, past[0].Who, fmt.Sprintf(" pid %d", d.PID()))
	require.Empty(t, past[2].Who)
	for i, m := range past {
		until := 0.0
		if i > 0 {
			until = past[i-1].Ago
		}
		require.InDelta(t, m.Ago-until, m.Lasted, 0.001)
	}
	e.dead()
	var st struct {
		Changes []checkpoint.MarkerChange `json:"marker_changes"`
	}
	require.NoError(t, json.Unmarshal([]byte(e.says("status", "--json")), &st))
	require.Equal(t, told(past), told(st.Changes))
	text := e.says("status")
	require.Contains(t, text, "history   cleared 3 times since the history began, ")
	require.Contains(t, text, ": the daemon stops, and old binaries wrote recently\n")

	e.exec(`update awa_counterd.marker_changes set at = at - interval '8 days' where number <= 4`)
	require.Len(t, e.past(), 3, "what was over before the last days begin is not told")
}

// A marker that somebody set while no daemon ran is in the history before its clearing; so is who took over from a dead leader.
func TestLookingBackOnASession(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	require.NoError(t, checkpoint.Ensure(t.Context(), e.pool, "awa"))
	e.setMarker()
	d := e.daemon()
	d.logged("trust: marker set", 15*time.Second)
	require.Equal(t, []string{"cleared: found set, and no daemon vouches for the counters yet", "set"}, told(e.past())[1:])
	require.Equal(t, "set by somebody else", e.past()[2].Reason)

	// A session that fails clears the marker first, and says why.
	e.exec(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'awa-counterd corrections'`)
	d.logged("session failed", 15*time.Second)
	ctx, cancel := contextWithin(20 * time.Second)
	defer cancel()
	e.until(ctx, func() bool { return len(e.past()) == 5 && e.past()[0].Set }, func() string { return fmt.Sprint(told(e.past())) })
	all := told(e.past())
	require.Len(t, all, 5, all)
	require.Regexp(t, "^cleared: write a token: ", all[3])
}

// Somebody who locks the history delays nothing but the history: neither the marker that is cleared first thing, nor an answer to who asks.
func TestLockedHistoryDelaysNothing(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	d := e.daemon("--checkpoint-interval", "200ms")
	e.marker(true, 15*time.Second)
	d.kill()
	locker, err := e.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = locker.Rollback(context.Background()) }()
	_, err = locker.Exec(t.Context(), `lock table awa_counterd.marker_changes in share row exclusive mode`)
	require.NoError(t, err)
	d = e.daemon("--checkpoint-interval", "200ms")
	d.logged("trust: marker cleared", 3*time.Second)
	d.logged("marker set", 10*time.Second)
	require.True(t, e.status().Fresh, "the daemon was asked, and answered")

	// Nor does it keep the rest from being told.
	require.NoError(t, locker.Rollback(t.Context()))
	locker, err = e.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = locker.Exec(t.Context(), `lock table awa_counterd.marker_changes in access exclusive mode`)
	require.NoError(t, err)
	text := e.says("status")
	require.Contains(t, text, "history   not known: somebody holds awa_counterd.marker_changes locked\n")
	require.Contains(t, text, "trust     marker set")
	require.Contains(t, e.says("status", "--json"), `"marker_changes_unknown": "somebody holds`)
	require.NoError(t, locker.Rollback(t.Context()))
	require.NotContains(t, e.says("status"), "not known: somebody")
	require.Zero(t, d.stop())
}

// Whatever is wrong with its history, the marker is set and cleared; and the history never grows beyond its bound.
func TestMarkerDoesNotDependOnItsHistory(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	w := e.writer("one")
	set := func() error { return w.SetMarker(t.Context(), applier.SetMarker{Seq: 1, Set: true}) }
	unset := func(why string) error {
		return w.SetMarker(t.Context(), applier.SetMarker{Seq: 2, Reason: why})
	}
	both := func(why string) {
		t.Helper()
		require.NoError(t, set())
		e.marker(true, 0)
		require.NoError(t, unset(why))
		e.marker(false, 0)
	}
	both("hostile \x00 \xff \"text\"'")
	require.Equal(t, []string{"set", "cleared: hostile  \uFFFD \"text\"'"}, told(e.past()))
	require.NoError(t, unset("it is not set"))
	require.Len(t, e.past(), 2, "nothing was changed")

	locker, err := e.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = locker.Rollback(context.Background()) }()
	_, err = locker.Exec(t.Context(), `lock table awa_counterd.marker_changes in access exclusive mode`)
	require.NoError(t, err)
	require.Error(t, set(), "it waits for the lock, once")
	both("without a word")
	both("nor ever")
	require.NoError(t, locker.Rollback(context.Background()))
	require.Len(t, e.past(), 2)
	both("it remembers again")
	require.Equal(t, "cleared: it remembers again", told(e.past())[3])

	e.exec(`alter table awa_counterd.marker_changes rename to away`)
	both("it is gone")
	e.exec(`alter table awa_counterd.away rename to marker_changes`)
	e.exec(`alter table awa_counterd.marker_changes add constraint crowded check (number < 5)`)
	both("it takes nothing any more")
	e.exec(`alter table awa_counterd.marker_changes drop constraint crowded`)
	require.Len(t, e.past(), 4)

	for i := range 300 {
		require.NoError(t, set())
		require.NoError(t, unset(fmt.Sprint(i)))
	}
	require.EqualValues(t, 500, e.scalar(`select count(*) from awa_counterd.marker_changes`))
	past := e.past()
	require.Len(t, past, checkpoint.MostTold)
	require.Equal(t, "299", past[0].Reason)
}

// Two changes in a row to the same state mean that somebody else has undone the first.
func TestHistoryHasNoGap(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	w := e.writer("one")
	require.NoError(t, w.SetMarker(t.Context(), applier.SetMarker{Seq: 1, Set: true}))
	e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = null`)
	require.NoError(t, w.SetMarker(t.Context(), applier.SetMarker{Seq: 2, Set: true}))
	require.NoError(t, w.SetMarker(t.Context(), applier.SetMarker{Seq: 3, Reason: "one"}))
	e.setMarker()
	require.NoError(t, w.SetMarker(t.Context(), applier.SetMarker{Seq: 4, Reason: "two"}))
	require.Equal(t, []string{"set", "cleared: cleared by somebody else", "set", "cleared: one", "set", "cleared: two"}, told(e.past()))
	require.EqualValues(t, 6, e.scalar(`select max(number) from awa_counterd.marker_changes`), "numbers have no gap")
}

// The tables of a build that kept no history get it without losing what is in them, and a role that may not make it does without.
func TestHistoryIsAddedToOlderTables(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	role := e.role("replication")
	code, _, errs := e.command("setup", "--role", role)
	require.Zero(t, code, errs)
	e.exec(`drop table awa_counterd.marker_changes`)
	asRole := server.URL(role, "", e.db)
	d := start(t, nil, "run", "--database-url", asRole, "--no-setup", "--checkpoint-interval", "200ms")
	e.marker(true, 15*time.Second)
	e.insertAt(1, "q", 5, false)
	e.balanced(5 * time.Second)
	require.Empty(t, e.past())
	require.Zero(t, d.stop())
	books := e.scalar(`select count(*) from awa_counterd.books`)
	require.Positive(t, books)

	code, out, errs := e.command("setup", "--role", role)
	require.Zero(t, code, out+errs)
	require.Equal(t, books, e.scalar(`select count(*) from awa_counterd.books`))
	d = start(t, nil, "run", "--database-url", asRole, "--no-setup")
	d.logged("resuming from the checkpoint", 15*time.Second)
	e.marker(true, 15*time.Second)
	require.Equal(t, []string{"set"}, told(e.past()))
}

// Whoever in a daemon clears the marker, and wherever its session stands then, it is counted where metrics are read.
func TestEveryClearingIsCounted(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	e.setMarker()
	_, w := e.listens()
	e.marker(true, 20*time.Second)
	counts := func(n float64) {
		t.Helper()
		w.counts(n, "marker_changes_total", "to=cleared")
		got, _ := w.metric("marker_changes_total", "to=cleared")
		require.Equal(t, n, got)
		cleared := 0.0
		for _, m := range e.past() {
			if !m.Set && m.Who != "" {
				cleared++
			}
		}
		require.Equal(t, n, cleared, told(e.past()))
	}
	counts(1) // it was found set
	for n := range 2 {
		e.exec(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = $1`,
			[]string{"awa-counterd corrections", "awa-counterd control"}[n])
		ctx, cancel := contextWithin(30 * time.Second)
		e.until(ctx, func() bool { p := e.past(); return len(p) >= 4+2*n && p[0].Set }, func() string { return fmt.Sprint(told(e.past())) })
		cancel()
		counts(float64(2 + n))
	}
}

// Somebody sets the marker for ever. Whoever asks is answered all the same, then and later.
func TestMarkerIsSetForEver(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d := e.daemon("--trust", "off")
	d.logged("leading", 20*time.Second)
	d.statuses(2)
	e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = 'infinity'`)
	d.statuses(4)
	e.says("status")
	e.says("status", "--json")
	e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = null`)
	d.statuses(4)
	e.says("status")
	require.NotEmpty(t, e.past(), "the history leaves it out")
	require.NotContains(t, d.text(), "session failed")
}
