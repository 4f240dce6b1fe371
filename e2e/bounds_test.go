package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// A standby judges a leader by the leader's own bound: one that says little is not silent, and one that has to say
// much is, whatever the standby would have to.
func TestStandbyGoesByTheLeadersBound(t *testing.T) {
	t.Parallel()
	t.Run("slower leader", func(t *testing.T) {
		e := newEnv(t, fleet.Layout{Slots: 4})
		first := e.daemon("--max-staleness", "10s")
		e.marker(true, 30*time.Second)
		second := e.daemon("--max-staleness", "400ms")
		second.logged("standing by", 5*time.Second)
		beats := make(map[int64]struct{})
		ctx, cancel := contextWithin(30 * time.Second)
		defer cancel()
		e.until(ctx, func() bool {
			beats[e.scalar(`select (extract(epoch from heartbeat_at) * 1e6)::int8 from awa_counterd.leader`)] = struct{}{}
			return len(beats) == 4
		}, func() string { return "no heartbeats" })
		e.marker(true, 0)
		require.NotContains(t, second.text(), "marker cleared")
		require.Zero(t, first.stop())
	})
	t.Run("faster leader", func(t *testing.T) {
		e := newEnv(t, fleet.Layout{Slots: 4})
		first := e.daemon("--max-staleness", "1s")
		e.marker(true, 20*time.Second)
		second := e.daemon("--max-staleness", "1m")
		second.logged("standing by", 5*time.Second)
		first.signal(stopped)
		t.Cleanup(func() { first.signal(resumed) })
		e.marker(false, 10*time.Second)
		second.logged("the leader was silent; this standby ended its session", 30*time.Second)
	})
}

// awa's tables may change while a daemon stands by: it clears a marker that was not there when it began, and leads
// with the tables as they are.
func TestStandbyLooksAtTheTablesAnew(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Direct, Slots: 4, NoMarker: true})
	first := e.daemon()
	first.logged("this awa has no trust marker", 15*time.Second)
	second := e.daemon()
	second.logged("standing by", 5*time.Second)
	first.signal(stopped)
	t.Cleanup(func() { first.signal(resumed) })
	e.exec(`alter table awa.queue_ring_state add column terminal_counter_trusted_at timestamptz`)
	e.setMarker()
	e.marker(false, 12*time.Second)
	first.kill()
	second.logged("leading", 20*time.Second)
	require.NotContains(t, second.text(), "this awa has no trust marker", "it led with the tables of an hour ago")
	e.marker(true, 20*time.Second)
}

// A command to set the marker that was on its way while its sender was stopped comes too late, by the server's clock.
func TestMarkerCommandThatComesTooLate(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	w := e.writer("one")
	set := func(until time.Duration) error {
		return w.SetMarker(t.Context(), applier.SetMarker{Seq: 1, Set: true, Until: time.Now().Add(until)})
	}
	require.ErrorIs(t, set(-time.Millisecond), applier.ErrTooLate)
	e.marker(false, 0)
	require.NoError(t, set(time.Minute))
	e.marker(true, 0)
	require.NoError(t, set(-time.Minute), "it is set already")
	require.NoError(t, w.SetMarker(t.Context(), applier.SetMarker{Seq: 2}))
	e.marker(false, 0)
}
