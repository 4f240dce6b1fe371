package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// A package was upgraded under a daemon, which then died: the hook is of another build, and does not know the form of its tables.
func TestHookOfAnotherBuild(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d := e.daemon()
	e.marker(true, 30*time.Second)
	d.kill()
	e.exec(`alter table awa_counterd.leader rename column max_staleness to bound`)
	code, out, errs := e.command("distrust", "--after-stop")
	require.Zero(t, code, errs)
	t.Log(out)
	e.marker(false, 0)
}
