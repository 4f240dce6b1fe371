package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Where corrections go to awa's own rows, the daemon still corrects: an old binary that writes when finish has asked the
// daemon, and before it has asked it to leave.
func TestFinishOfSharedRowsAsksAgain(t *testing.T) {
	t.Parallel()
	e := newEnvOn(t, ownServer(t), fleet.Layout{Shape: fleet.Direct, Slots: 4})
	_, said, look, how := e.finishLooks("5s", "1m")
	e.insertAt(3, "q", 1, false)
	ctx, cancel := contextWithin(20 * time.Second)
	defer cancel()
	e.until(ctx, func() bool {
		return e.scalar(`select sum(live_terminal_count)::int8 from awa.queue_terminal_live_counts`) == 6
	}, func() string { return "the daemon does not correct" })
	look()
	said("awa-counterd: not finished: pre-#290 writers still active on queue q")
	require.Equal(t, refused, how())
	e.marker(true, 20*time.Second)
}

// Somebody holds a leaf, so that a look at the counters cannot go on: finish says so, and waits no longer than it was told.
func TestFinishSaysThatItsLookWaits(t *testing.T) {
	t.Parallel()
	e := newEnvOn(t, ownServer(t), fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	_, said, look, how := e.finishLooks("1s", "6s")
	_ = e.holds(`lock table awa.done_entries_2 in access exclusive mode`)
	look()
	said("finish: ring slot 2 is locked; waiting for it")
	said("awa-counterd: not finished within 6s: ring slot 2 is locked, it seems by process ")
	require.Equal(t, refused, how())
}

// keepsCounting is a binary that counts, and writes one job after the other.
func (e *env) keepsCounting() (rest func() error) {
	ctx, cancel := context.WithCancel(e.t.Context())
	over := make(chan error, 1)
	w := e.layout.Writer(true)
	go func() {
		for ctx.Err() == nil {
			err := fleet.Do(e.t.Context(), e.pool, func(tx pgx.Tx) error {
				return w.Insert(e.t.Context(), tx, fleet.Key{Slot: 1, Queue: "new", Priority: 1}, 1, "failed", "")
			})
			if err != nil {
				over <- err
				return
			}
		}
		over <- nil
	}()
	return func() error { cancel(); return <-over }
}

// Whatever shape awa's counters have, the daemon holds its corrections back before finish asks it who wrote: what comes after the answer
// must not be corrected by anybody before the last look.
func TestFinishAsksWhoHoldsToLeave(t *testing.T) {
	t.Parallel()
	for _, shape := range []string{fleet.Direct, fleet.Ledger} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: shape, Slots: 4})
			d := e.daemon("--checkpoint-interval", "200ms")
			d.logged("marker set", 20*time.Second)
			e.insertAt(3, "q", 5, false)
			e.balanced(5 * time.Second)
			e.exec(`create table asked (held bool);
				create function asks() returns trigger language plpgsql as $$ begin insert into public.asked values (old.holds); return new; end $$;
				create trigger asks before update of leaving on awa_counterd.lead for each row when (new.leaving and not old.leaving) execute function asks()`)
			rest := e.keepsCounting() // so that the daemon's figures are of this moment before it has heard of finish
			_, how := e.finishes("1s", "1m")
			require.Zero(t, how())
			require.NoError(t, rest())
			require.Zero(t, d.wait(10*time.Second))
			require.EqualValues(t, 1, e.scalar(`select count(*) from asked`))
			require.EqualValues(t, 1, e.scalar(`select count(*) from asked where held`), "the daemon still corrected")
		})
	}
}

// What no waiting mends is refused at once.
func TestFinishDoesNotWaitForTrustThatIsOff(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d := e.daemon("--trust", "off", "--checkpoint-interval", "200ms")
	e.insertAt(3, "q", 5, false)
	e.balanced(20 * time.Second)
	require.Contains(t, e.status().Next, "the daemon runs with --trust off")
	finish := e.types("finish")
	said := finish.ends(refused, 20*time.Second)
	require.Contains(t, said, "not finished: the daemon runs with --trust off, and finish needs one that vouches for the counters; start it again without --trust off, or stop it and run awa-counterd teardown; after that awa-counterd reconcile --trust ends")
	require.Zero(t, d.stop())
	e.says("teardown")
	e.says("reconcile", "--trust", "--observe", "1s")
	e.marker(true, 0)
}
