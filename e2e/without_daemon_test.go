package e2e

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// named are the commands that a remedy names, in its order.
var named = regexp.MustCompile(`awa-counterd (teardown|reconcile --trust)`)

// Where no daemon is left, finish and status name what ends the upgrade: in the order in which they name it, it does. Nobody is told to
// start a daemon then.
func TestUpgradeEndsWithoutADaemon(t *testing.T) {
	t.Parallel()
	for _, asks := range []string{"finish", "status"} {
		t.Run(asks, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			d := e.daemon("--checkpoint-interval", "200ms")
			e.marker(true, 30*time.Second)
			e.insertAt(1, "q", 5, false)
			e.balanced(5 * time.Second)
			require.Zero(t, d.stop())
			e.exec(`update awa_counterd.leader set heartbeat_at = now() - interval '1 min'`)
			said := e.says("reconcile", "--trust", "--observe", "1s", "--json")
			var told struct {
				Next  string   `json:"next_step"`
				Notes []string `json:"notes"`
			}
			require.NoError(t, json.Unmarshal([]byte(said), &told), said)
			require.Contains(t, told.Next, "awa-counterd teardown clears the marker: run that, and then this again")
			require.NotContains(t, told.Next, "nothing to do")
			require.NotContains(t, strings.Join(told.Notes, "\n"), "teardown", "it is said twice")
			require.Contains(t, e.status().Next, "the marker is set, but no daemon leads")

			_, out, errs := e.command(asks)
			commands := named.FindAllStringSubmatch(out+errs, -1)
			require.Len(t, commands, 2, out+errs)
			for _, c := range commands {
				args := strings.Fields(c[1])
				if args[0] == "reconcile" {
					args = append(args, "--observe", "1s")
				}
				e.says(args...)
			}
			e.marker(true, 0)
			e.balanced(0)
			e.byBucket()
			e.nothingOfOurs()
			next := e.status().Next
			require.NotContains(t, next, "has never run here")
			require.Contains(t, next, "nothing to do if")
			e.exec(`create table awa.runtime_instances (instance_id text, version text, last_seen_at timestamptz, leader boolean);
				insert into awa.runtime_instances values ('a', '0.6.0-beta.1', now(), false)`)
			require.Contains(t, e.status().Next, "1 pre-#290 runtimes of version 0.6.0-beta.1 are live: start awa-counterd run")
		})
	}
}

// What a daemon with --trust off has left is a trap for who sets the marker then; reconcile, which its help names, takes it away.
func TestReconcileMovesWhatTrustOffHasLeft(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d := e.daemon("--trust", "off", "--checkpoint-interval", "200ms")
	e.insertAt(1, "q", 5, false)
	e.balanced(20 * time.Second)
	e.checkpointed() // without one reconcile is alone, which moves more than this
	require.Zero(t, d.stop())
	require.NotZero(t, e.scalar(`select count(*) from awa.queue_terminal_live_counts where counter_bucket > 255`))
	e.says("reconcile")
	e.byBucket()
	_, help, _ := e.command("run", "--help")
	require.Contains(t, strings.Join(strings.Fields(help), " "), "under a marker that somebody else sets then awa's folds make counters wrong: run awa-counterd reconcile before")
}
