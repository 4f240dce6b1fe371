package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// A package was upgraded under a daemon, which then died: the hook is of another build, and does not know the form of its tables.
func TestHookOfAnotherBuild(t *testing.T) {
	t.Parallel()
	for name, form := range map[string]string{
		"a leader that it can read":         `alter table awa_counterd.leader rename column max_staleness to bound`,
		"a leader of whom it knows nothing": `alter table awa_counterd.leader rename to leaders`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			d := e.daemon()
			e.marker(true, 30*time.Second)
			d.kill()
			e.exec(form)
			code, out, errs := e.command("distrust", "--after-stop")
			require.Zero(t, code, errs)
			t.Log(out)
			e.marker(false, 0)
		})
	}
}

// leadsAs imitates a leader of another build, whose tables have another form: it holds the lock, and stamps its heartbeat until ctx ends;
// then it hangs. Its process is db9 pid 4711.
func (e *env) leadsAs(ctx context.Context, version string) {
	e.t.Helper()
	src, err := pg.ParseSource(e.url())
	require.NoError(e.t, err)
	conn, err := src.Connect(e.t.Context(), pg.Settings{Role: pg.ControlRole})
	require.NoError(e.t, err)
	e.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	_, err = conn.Exec(e.t.Context(), `select pg_advisory_lock(hashtextextended('awa_counterd.leader:awa', 0))`)
	require.NoError(e.t, err)
	stamp := func() error {
		_, err := conn.Exec(e.t.Context(), `update awa_counterd.leader set heartbeat_at = clock_timestamp(), host = 'db9', pid = 4711, version = $1, state = 'trusted'`, version)
		return err
	}
	require.NoError(e.t, stamp())
	go func() {
		for ctx.Err() == nil && stamp() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
}

// A daemon of another build leads, whose tables this one does not read. Whoever asks is told so, a standby knows it by name and leaves
// its marker alone as long as it lives; when it hangs, the marker goes at once and the lead after a while, as beside one of this build.
func TestLeaderOfAnotherBuild(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	before := e.daemon()
	e.marker(true, 30*time.Second)
	require.Zero(t, before.stop())
	e.exec(`alter table awa_counterd.leader drop column max_staleness`)
	hang, cancel := context.WithCancel(t.Context())
	defer cancel()
	e.leadsAs(hang, "v0.0.9")
	e.setMarker()

	text := e.says("status")
	require.Regexp(t, `leader +db9 pid 4711, version v0\.0\.9, alive`, text)
	require.Contains(t, text, "not known to this version: the tables in schema awa_counterd are those of version v0.0.9")
	require.NotContains(t, text, "never", "of what is not known")
	require.Contains(t, text, "db9 pid 4711 leads, of version v0.0.9, which has its tables in another form")
	require.Contains(t, e.says("status", "--json"), `"another_form": true`)
	_, text, _ = e.command("doctor")
	require.Contains(t, text, "has tables in the form of version v0.0.9, whose daemon leads (db9 pid 4711); the daemon drops them and creates its own when no daemon of that version leads")
	require.Contains(t, text, "set, and a daemon vouches for it")
	code, _, errs := e.command("finish", "--timeout", "1s")
	require.Equal(t, refused, code)
	require.Contains(t, errs, "of version v0.0.9")

	standby := e.daemon()
	require.Equal(t, "db9 pid 4711", standby.logged("standing by", 15*time.Second)["leader"])
	e.wait(2 * time.Second)
	e.marker(true, 0)
	require.Contains(t, e.says("distrust", "--after-stop"), "another daemon leads (db9 pid 4711) and vouches for it")

	cancel()
	began := time.Now()
	e.marker(false, 8*time.Second)
	t.Logf("the marker of a leader of another build that hangs stood for %s", time.Since(began).Round(time.Millisecond))
	require.Contains(t, standby.logged("trust: marker cleared", time.Second)["reason"], "the leader is silent")
	standby.logged("the leader was silent; this standby ended its session", 25*time.Second)
	e.marker(true, 30*time.Second)
	require.Contains(t, e.says("status"), "written just now, on request")
}

// A finish of another build has asked its daemons to leave: this build, which would take the lead and drop its tables, knows of that as
// long as it has its lock.
func TestFinishOfAnotherBuild(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d := e.daemon()
	e.marker(true, 30*time.Second)
	require.Zero(t, d.stop())
	e.exec(`alter table awa_counterd.leader drop column max_staleness, add column leaving boolean default true`)
	finish, looks := e.connect(), e.connect()
	_, err := finish.Exec(t.Context(), `select pg_advisory_lock(hashtextextended($1, 0))`, checkpoint.FinishKey("awa"))
	require.NoError(t, err)
	leader, known, err := checkpoint.ReadLeaderIfAny(t.Context(), looks, "awa")
	require.NoError(t, err)
	require.True(t, known && leader.Another)
	require.True(t, leader.Finishing && leader.Leaving, "%+v", leader)
	require.NoError(t, finish.Close(t.Context()))
	ctx, cancel := contextWithin(5 * time.Second)
	defer cancel()
	e.until(ctx, func() bool {
		leader, _, err = checkpoint.ReadLeaderIfAny(t.Context(), looks, "awa")
		return err == nil && !leader.Finishing && !leader.Leaving
	}, func() string { return "it has died, and asks for nothing" })
	e.serves(e.daemon(), afresh)
}
