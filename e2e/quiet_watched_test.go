package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Between two lives of the daemon the server's clock is set: forward, by which what an old binary wrote a moment ago is old, or back, by
// which it is yet to come. Quiet is what a daemon has watched, neither more nor less.
func TestQuietIsNotWhatTheClockSays(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]string{"forward": "-", "back": "+"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			d := e.daemon("--checkpoint-interval", "200ms")
			e.marker(true, 20*time.Second)
			e.insertAt(1, "q", 5, false)
			e.balanced(5 * time.Second)
			require.Contains(t, e.status("--quiet-period", "1h").Next, "pre-#290 writers still active on queue q")
			require.Zero(t, d.stop())
			e.exec(`update awa_counterd.uncounted_writes set last_at = last_at ` + set + ` interval '1 day'`)
			d = e.daemon("--checkpoint-interval", "200ms")
			e.marker(true, 20*time.Second)
			code, _, errs := e.command("finish", "--quiet-period", "1h", "--timeout", "1s")
			require.Equal(t, refused, code, errs)
			t.Log(errs)
			code, _, errs = e.command("finish", "--quiet-period", "2s", "--timeout", "20s")
			require.Zero(t, code, errs)
			require.Zero(t, d.wait(10*time.Second))
		})
	}
}
