package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/proxy"
)

// What fails is said once, however many attempts it takes until it works again and whichever way each of them fails; and said again
// when it fails again after it has worked for a while.
func TestEachFaultIsSaidOnce(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Slots: 4})
	p, err := proxy.New(e.server.Address())
	require.NoError(t, err)
	t.Cleanup(p.Close)
	d := start(t, nil, "run", "--database-url", fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", p.Addr(), e.db))
	d.logged("marker set", 20*time.Second)
	said := func() map[string]int {
		out := make(map[string]int)
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, entry := range d.log {
			if entry["msg"] == "session failed; starting the next one" {
				out[fmt.Sprint(entry["reason"])]++
			}
		}
		return out
	}
	lines := func() (n int) {
		for _, times := range said() {
			n += times
		}
		return n
	}
	p.Cut()
	e.wait(8 * time.Second) // some ten attempts
	p.Heal()
	d.logged("leading", time.Second)
	ctx, cancel := contextWithin(80 * time.Second)
	defer cancel()
	leads := func(times int) func() bool {
		return func() bool { return strings.Count(d.text(), `"leading"`) == times }
	}
	e.until(ctx, leads(2), func() string { return "it does not lead again: " + d.text() })
	for reason, times := range said() {
		require.Equal(t, 1, times, reason)
	}

	e.wait(11 * time.Second) // it works again
	end := func() {
		e.exec(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'awa-counterd control'`)
	}
	end()
	e.until(ctx, leads(3), func() string { return "it does not lead again: " + d.text() })
	before := lines()
	e.wait(11 * time.Second)
	end()
	e.until(ctx, leads(4), func() string { return "it does not lead again: " + d.text() })
	require.Greater(t, lines(), before, "the second time is not told")
}
