package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// A trigger on the counter table takes corrections away, or makes others of them. Trust ends, the log says what to look
// for, doctor names it, and what it says mends it.
func TestCorrectionsWithoutEffect(t *testing.T) {
	for name, body := range map[string]string{"none": "return null", "another": "new.live_terminal_count := 3; return new"} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, fleet.Layout{Slots: 4})
			d := e.daemon()
			e.marker(true, 15*time.Second)
			e.exec(`create function public.meddle() returns trigger language plpgsql as $$ begin ` + body + `; end $$;
				create trigger meddler before insert or update on awa.queue_terminal_live_counts for each row execute function public.meddle()`)
			e.insertAt(1, "q", 7, false)
			e.marker(false, 10*time.Second)
			d.logged("look for a trigger or a rule", 10*time.Second)
			e.paste(e.remedy("triggers and rules", "trigger meddler on awa.queue_terminal_live_counts"))
			e.balanced(5 * time.Second)
			e.marker(true, 15*time.Second)
			require.Zero(t, d.stop())
		})
	}
}
