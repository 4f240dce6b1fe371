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
	Next string `json:"next_step"`
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
	require.Contains(t, e.status().Next, "has never run here: start awa-counterd run")

	d := e.daemon("--checkpoint-interval", "200ms")
	e.marker(true, 10*time.Second)
	ctx, cancel := contextWithin(5 * time.Second)
	defer cancel()
	var s status
	require.Contains(t, e.status().Next, "safe to finish after 10m0s of that")
	e.until(ctx, func() bool {
		s = e.status("--quiet-period", "1s")
		return strings.HasPrefix(s.Next, "safe to finish: nothing was written uncounted for 1s; producers")
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
	require.Contains(t, s.Next, "and the marker is set: start it, or run awa-counterd distrust")
}
