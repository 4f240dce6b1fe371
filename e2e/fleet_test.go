package e2e

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

var fourQueues = []string{"billing", "email", "reports", "webhooks"}

func (e *env) fleet(cfg fleet.Config) *fleet.Fleet {
	e.t.Helper()
	cfg.Schema, cfg.Slots, cfg.Shape, cfg.Release = e.layout.Schema, e.layout.Slots, e.layout.Shape, e.layout.Release
	if cfg.Fold == 0 && !e.layout.NoCounter {
		cfg.Fold = 500 * time.Millisecond
	}
	if cfg.Queues == nil {
		cfg.Queues = fourQueues
	}
	f, err := fleet.Start(context.Background(), e.server.Socket(e.db), cfg)
	require.NoError(e.t, err)
	e.t.Cleanup(f.Stop)
	return f
}

// sampler runs a fleet.Watch beside a test.
type sampler struct {
	fleet.Watch
	stop, done chan struct{}
	enough     chan struct{} // closed at the sample that makes a verdict
	err        error
}

const enoughSamples = 700

func (e *env) sample(every time.Duration) *sampler {
	s := &sampler{stop: make(chan struct{}), done: make(chan struct{}), enough: make(chan struct{})}
	s.Schema, s.Bound = e.layout.Schema, 2*time.Second
	go func() {
		defer close(s.done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-s.stop:
				return
			case <-tick.C:
			}
			if s.err = s.Look(context.Background(), e.pool); s.err != nil {
				return
			}
			if s.Samples == enoughSamples {
				close(s.enough)
			}
		}
	}()
	return s
}

func (s *sampler) end() {
	close(s.stop)
	<-s.done
}

// honest ends the looks, and wants that none failed, and that none found the marker set over wrong counters.
func (s *sampler) honest(t *testing.T) {
	t.Helper()
	s.end()
	require.NoError(t, s.err)
	require.Zero(t, s.Dishonest, "trusted, and off by what no recent write explains: %+v", s.First)
}

// A mixed fleet at full speed with rare prunes (which hide no error) and with frequent ones, rebuilds
// and poisoned counters thrown in. While trusted, no drift is older than the bound; when the writers
// have stopped, every group is right within 2 s.
func TestMixedFleet(t *testing.T) {
	for name, cfg := range map[string]fleet.Config{
		"rare prunes":     {Pre: 3, Post: 3, Pause: 10 * time.Millisecond, Prune: 3 * time.Second, Seed: 11},
		"frequent prunes": {Pre: 3, Post: 3, Pause: 10 * time.Millisecond, Prune: 100 * time.Millisecond, Seed: 12},
		"chaos":           {Pre: 3, Post: 3, Pause: 10 * time.Millisecond, Prune: time.Second, Chaos: 400 * time.Millisecond, Seed: 13},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, fleet.Layout{})
			d := e.daemon("--audit-interval", "2s")
			f := e.fleet(cfg)
			e.marker(true, 20*time.Second)
			s := e.sample(5 * time.Millisecond)
			e.wait(12 * time.Second)
			select { // 2,000 and more over the three
			case <-s.enough:
			case <-s.done:
			case <-time.After(time.Minute):
			}
			f.Stop()
			s.end()
			require.NoError(t, s.err)
			e.balanced(2 * time.Second)
			e.readersAgree(fourQueues...)
			t.Logf("%d transactions, %d prunes (%d blocked); %d samples, %d trusted, oldest drift while trusted %s",
				f.Ops.Load(), f.Prunes.Load(), f.Blocks.Load(), s.Samples, s.Trusted, s.Oldest)
			require.Zero(t, s.Dishonest, "trusted, and off by what no recent write explains: %+v", s.First)
			e.undisturbed(f)
			require.GreaterOrEqual(t, s.Trusted, s.Samples/2, "hardly ever trusted")
			require.GreaterOrEqual(t, s.Samples, enoughSamples)
			reused := e.scalar(`select count(distinct ready_slot) from fleet_log.disturbed_` + e.layout.Schema + ` where what = 'prune'`)
			require.GreaterOrEqual(t, reused, min(int64(e.layout.Slots), f.Prunes.Load()/2), "the ring does not go round")
			e.noMismatch(d)
		})
	}
}

// The sampler finds a drift that stands in a group that is written and corrected all the time.
func TestSamplerSeesDriftInABusyGroup(t *testing.T) {
	e := newEnv(t, fleet.Layout{Shape: fleet.Direct})
	k := fleet.Key{Slot: 3, Queue: "email", Priority: 1}
	insert := func(counted bool, n int) {
		e.do(counted, func(tx pgx.Tx, w fleet.Writer) error { return w.Insert(t.Context(), tx, k, n, "", "") })
	}
	insert(true, 100)
	e.exec(`update awa.queue_terminal_live_counts set live_terminal_count = live_terminal_count - 3`)
	e.exec(`update awa.queue_ring_state set terminal_counter_trusted_at = now()`)
	s := fleet.Watch{Schema: e.layout.Schema, Bound: 2 * time.Second}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	e.until(ctx, func() bool {
		insert(false, 5)
		require.NoError(t, s.Look(t.Context(), e.pool))
		e.exec(`update awa.queue_terminal_live_counts set live_terminal_count = live_terminal_count + 5`)
		require.NoError(t, s.Look(t.Context(), e.pool))
		return s.Dishonest > 0
	}, func() string { return "drift that stands was not seen" })
	require.Equal(t, k, s.First.Key)
}

// noMismatch: no audit ever found the books wrong, and no prune disagreed with them.
func (e *env) noMismatch(d *daemon) {
	e.t.Helper()
	for _, bad := range []string{"the books disagreed", "rows below 0", "found less than 0 rows", "added a different number"} {
		found, _ := d.find(bad)
		require.Nil(e.t, found, "%v", found)
	}
}

func (e *env) wait(d time.Duration) {
	e.t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-e.t.Context().Done():
	}
}

// The daemon is killed at random instants, again and again, while the fleet writes.
func TestKilledAtRandom(t *testing.T) {
	e := newEnv(t, fleet.Layout{})
	f := e.fleet(fleet.Config{Pre: 3, Post: 2, Pause: 8 * time.Millisecond, Prune: 700 * time.Millisecond, Seed: 21})
	r := rand.New(rand.NewPCG(21, 21))
	const kills = 50
	for range kills {
		d := e.daemon("--checkpoint-interval", "200ms", "--audit-interval", "1s")
		e.wait(time.Duration(20+r.IntN(900)) * time.Millisecond)
		d.kill()
	}
	d := e.daemon("--checkpoint-interval", "200ms", "--audit-interval", "1s")
	e.marker(true, 20*time.Second)
	e.wait(2 * time.Second)
	f.Stop()
	e.balanced(2 * time.Second)
	e.readersAgree(fourQueues...)
	e.undisturbed(f)
	e.noMismatch(d)
	t.Logf("%d kills, %d transactions", kills, f.Ops.Load())
}

// A second daemon beside the first changes nothing, and takes over when the first one dies.
func TestStandby(t *testing.T) {
	e := newEnv(t, fleet.Layout{})
	f := e.fleet(fleet.Config{Pre: 2, Post: 2, Pause: 10 * time.Millisecond, Prune: time.Second, Seed: 31})
	first := e.daemon("--checkpoint-interval", "300ms")
	e.marker(true, 20*time.Second)
	second := e.daemon("--checkpoint-interval", "300ms")
	second.logged("standing by", 5*time.Second)
	e.wait(2 * time.Second)
	require.EqualValues(t, 1, e.scalar(`select count(*) from pg_replication_slots where database = current_database()`))
	e.marker(true, 0)
	first.kill()
	second.logged("marker cleared", 3*time.Second)
	second.logged("marker set", 10*time.Second)
	f.Stop()
	e.balanced(2 * time.Second)
	e.noMismatch(second)
	require.Zero(t, second.stop())
}

// A leader that hangs cannot clear its marker; the standby sees the silence and does.
func TestStandbyClearsAnOrphanedMarker(t *testing.T) {
	e := newEnv(t, fleet.Layout{})
	first := e.daemon()
	e.marker(true, 20*time.Second)
	second := e.daemon()
	second.logged("standing by", 5*time.Second)
	first.signal(stopped)
	t.Cleanup(func() { first.signal(resumed) })
	e.marker(false, 8*time.Second)
	require.Contains(t, second.logged("marker cleared", time.Second)["reason"], "the leader is silent")
}
