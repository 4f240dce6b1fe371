package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// A trigger keeps the marker from being cleared. Whoever wants it cleared says so, and names the trigger: a daemon that runs, one
// that stops, one that starts, one that cannot start, and the command.
func TestMarkerCannotBeCleared(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ when, body string }{
		"nothing is updated":  {"before update", "return null"},
		"it stays as it was":  {"before update", "new.terminal_counter_trusted_at := now(); return new"},
		"it is set once more": {"after update", "if new.terminal_counter_trusted_at is null then update awa.queue_ring_state set terminal_counter_trusted_at = now(); end if; return null"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			d := e.daemon()
			e.marker(true, 30*time.Second)
			e.exec(`create function public.keep() returns trigger language plpgsql as $$ begin ` + c.body + `; end $$;
				create trigger keeper ` + c.when + ` on awa.queue_ring_state for each row execute function public.keep()`)
			d.signal(syscall.SIGTERM)
			require.Equal(t, couldNot, d.wait(15*time.Second))
			require.NotContains(t, d.text(), "marker cleared")
			const named = "trigger keeper on awa.queue_ring_state"
			require.Contains(t, d.text(), named)
			for _, command := range []string{"distrust", "teardown"} {
				code, out, errs := e.command(command)
				require.Equal(t, refused, code, out+errs)
				require.Contains(t, errs, named)
				require.Contains(t, errs, `DROP TRIGGER "keeper" ON awa.queue_ring_state`)
			}

			d = e.daemon()
			e.said(d, named)
			e.insertAt(1, "q", 7, false)
			e.balanced(20 * time.Second) // what can be kept right is
			require.NotContains(t, d.text(), "marker cleared")
			e.exec(`drop trigger keeper on awa.queue_ring_state`)
			e.says("distrust")
			e.marker(false, 0)
			e.marker(true, 20*time.Second)
			require.Zero(t, d.stop())
			e.marker(false, 0)
		})
	}
}
