package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

type status struct {
	Leader *struct {
		Alive bool `json:"alive"`
	} `json:"leader"`
	Slot *struct {
		Active bool `json:"active"`
	} `json:"slot"`
	MarkerSet bool   `json:"marker_set"`
	Reason    string `json:"reason"`
	Queues    []struct {
		Queue string `json:"queue"`
		Drift int64  `json:"drift"`
	} `json:"queues"`
	Uncounted []struct {
		Queue string  `json:"queue"`
		Rows  int64   `json:"rows"`
		Last  float64 `json:"last_ago"`
	} `json:"uncounted_writes"`
	Fresh     bool    `json:"fresh"`
	Observed  float64 `json:"observed_for"`
	Persisted float64 `json:"persisted_ago"`
	Next      string  `json:"next_step"`
}

func (e *env) status(args ...string) (s status) {
	e.t.Helper()
	code, out, errs := e.command(append([]string{"status", "--json"}, args...)...)
	require.Zero(e.t, code, errs)
	require.NoError(e.t, json.Unmarshal([]byte(out), &s), out)
	return s
}

// What the person on call reads, from before the first start to after a death.
func TestStatus(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	e.exec(`create table awa.runtime_instances (instance_id text, version text, last_seen_at timestamptz, leader boolean);
		insert into awa.runtime_instances values ('a', '0.6.0-alpha.9', now() - interval '2 hours', false)`)
	require.Contains(t, e.status().Next, "has never run here, or was removed: start awa-counterd run")

	d := e.daemon("--checkpoint-interval", "200ms")
	e.marker(true, 10*time.Second)
	ctx, cancel := contextWithin(5 * time.Second)
	defer cancel()
	var s status
	require.Contains(t, e.status().Next, "wait until that is 10m0s")
	e.until(ctx, func() bool {
		s = e.status("--quiet-period", "1s")
		return strings.HasPrefix(s.Next, "safe to finish: no uncounted write for 1s; producers")
	}, func() string { return s.Next })
	require.True(t, s.Leader.Alive && s.Slot.Active && s.MarkerSet)

	e.exec(`insert into awa.runtime_instances values ('b', '0.6.0-beta.1', now(), false)`)
	require.Equal(t, "1 pre-#290 runtimes of version 0.6.0-beta.1 are live: replace them", e.status().Next)
	e.insertAt(1, "email", 5, false)
	e.balanced(2 * time.Second)
	e.until(ctx, func() bool { s = e.status(); return len(s.Uncounted) == 1 && s.Queues[0].Drift == 0 }, func() string { return "the uncounted write is not told" })
	require.EqualValues(t, 5, s.Uncounted[0].Rows)
	require.Contains(t, s.Next, "pre-#290 writers still active on queue email; last ")

	code, out, _ := e.command("status")
	require.Zero(t, code)
	for _, want := range []string{"alive, heartbeat", "marker set", "│ email │    5 │       5 │     0 │         5 │", "1 live of version 0.6.0-beta.1, pre-#290", "next      pre-#290 writers"} {
		require.Contains(t, out, want)
	}
	d.kill()
	e.exec(`update awa_counterd.leader set heartbeat_at = now() - interval '3 min'`)
	s = e.status()
	require.Contains(t, s.Next, "the marker is set, but no daemon leads")
}

// What status shows, and finish goes by, is as of now, however far apart checkpoints are; where the daemon does not
// answer, it says how old it is, and nobody decides on it.
func TestStatusIsFresh(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Slots: 4})
	d := e.daemon("--checkpoint-interval", "1h")
	e.marker(true, 10*time.Second)
	e.balanced(0)
	ctx, cancel := contextWithin(20 * time.Second)
	defer cancel()
	e.until(ctx, func() bool {
		return e.scalar(`select count(*) from awa_counterd.checkpoint`) == 1 && e.status().Observed > 1
	},
		func() string { return "no checkpoint" })
	e.insertAt(1, "email", 5, false)
	s := e.status("--quiet-period", "1h")
	require.Contains(t, s.Next, "pre-#290 writers still active on queue email; last ")
	require.True(t, s.Fresh)
	require.EqualValues(t, 5, s.Uncounted[0].Rows)

	e.insertAt(1, "billing", 5, false)
	e.balanced(5 * time.Second)
	code, _, errs := e.command("finish", "--quiet-period", "30s", "--timeout", "1s")
	require.Equal(t, refused, code)
	require.Contains(t, errs, "pre-#290 writers still active on queue billing")

	e.exec(`delete from awa_counterd.uncounted_writes; update awa_counterd.checkpoint set quiet_for = '1 day'`)
	d.signal(stopped)
	t.Cleanup(func() { d.signal(resumed) })
	s = e.status("--quiet-period", "1s")
	require.True(t, s.Leader.Alive)
	require.False(t, s.Fresh)
	require.Contains(t, s.Next, "old, and the daemon did not answer")
	code, _, errs = e.command("finish", "--quiet-period", "1s", "--timeout", "1s")
	require.Equal(t, refused, code)
	require.Regexp(t, "old, and the daemon did not answer|no daemon leads", errs)
}

// The age of the slot's catalog_xmin grows while nobody reads the slot, and is small while somebody does.
func TestCatalogXminIsTold(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	age := func() int64 {
		var st struct {
			Slot struct {
				Age int64 `json:"catalog_xmin_age"`
			} `json:"slot"`
		}
		code, out, errs := e.command("status", "--json")
		require.Zero(t, code, errs)
		require.NoError(t, json.Unmarshal([]byte(out), &st))
		return st.Slot.Age
	}
	d := e.daemon()
	e.marker(true, 15*time.Second)
	d.kill()
	e.dead()
	before := age()
	for range 100 {
		e.exec(`select pg_current_xact_id()`)
	}
	require.GreaterOrEqual(t, age(), before+100)
	_, text, _ := e.command("status")
	require.Regexp(t, `catalog_xmin [\d,]+ transactions old`, text)
}

// A daemon may have been given names. Who looks need not give them again: its checkpoint has them.
func TestLooksFindTheNamesOfTheDaemon(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Slots: 4})
	slot := "another_" + e.db
	d := e.daemon("--slot", slot, "--publication", "mine", "--checkpoint-interval", "200ms")
	e.marker(true, 20*time.Second)
	require.NotNil(t, e.status().Slot, "status looks for a slot that there is not")
	require.Contains(t, e.says("status"), slot+" (named by the checkpoint), read, reserved")
	require.NotContains(t, e.says("status", "--slot", slot), "named by the checkpoint")
	require.Contains(t, e.says("status", "--slot", "no_such"), "slot      none")
	_, out, errs := e.command("doctor")
	require.Contains(t, out, "replication slot: "+slot+" (named by the checkpoint) is reserved", errs)
	require.Contains(t, out, "publication mine: publishes everything")
	require.NotContains(t, out, "publication awa_counterd_awa")
	_, out, errs = e.command("doctor", "--slot", "no_such", "--publication", "none")
	require.Contains(t, out, "replication slot: no_such does not exist yet", errs)
	require.Contains(t, out, "publication none: is missing")
	require.Zero(t, d.stop())
	require.Contains(t, e.says("status"), slot+" (named by the checkpoint), NOT READ")
}
