package e2e

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// inKubernetes is a role with the rights that setup.yaml grants, and the command lines of daemon and hook in the manifests.
func (e *env) inKubernetes() (url, role string, daemon, hook []string) {
	e.t.Helper()
	text, err := os.ReadFile("../deploy/kubernetes/awa-counterd.yaml")
	require.NoError(e.t, err)
	list := func(pattern string) []string {
		m := regexp.MustCompile(pattern).FindStringSubmatch(string(text))
		require.NotNil(e.t, m, pattern)
		return strings.Split(m[1], ", ")
	}
	daemon, hook = list(`\n +args: \[(.+)\]`), list(`\n +command: \[/awa-counterd, (.+)\]`)
	require.Equal(e.t, "run", daemon[0])
	for i, arg := range daemon {
		daemon[i] = strings.Replace(arg, "0.0.0.0:9187", "0", 1)
	}
	role = e.role("replication")
	e.says("setup", "--role", role)
	return e.server.URL(role, "", e.db), role, daemon, hook
}

// Kubernetes starts a container again that has ended, whatever it ended with. After a finish that creates nothing again, and leaves the
// marker that is set for good: the role may do nothing any more, and the daemon refuses.
func TestRestartAfterFinish(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	url, role, args, hook := e.inKubernetes()
	args = append(args, "--database-url", url)
	first := start(t, nil, args...)
	e.marker(true, 15*time.Second)
	second := start(t, nil, args...)
	second.logged("standing by", 10*time.Second)
	e.insertAt(1, "q", 5, false)
	e.balanced(3 * time.Second)
	e.says("finish", "--role", role, "--quiet-period", "1s", "--timeout", "30s")
	require.Zero(t, first.wait(10*time.Second))
	require.Zero(t, second.wait(10*time.Second))
	e.marker(true, 0)
	before := e.catalogs()
	for range 3 {
		again := start(t, nil, args...)
		require.Equal(t, refused, again.wait(20*time.Second), again.text())
		_, _, _ = e.commandOn(url, hook...) // whether it may or not
		e.marker(true, 0)
	}
	require.Equal(t, before, e.catalogs())
	require.Zero(t, e.scalar(`select count(*) from pg_replication_slots where database = current_database()`))
}

// A daemon that hangs is killed by Kubernetes after its hook, which clears the marker that the daemon cannot clear. The hook of one
// that stands by costs the leader nothing.
func TestPreStopHook(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	url, _, args, hook := e.inKubernetes()
	args = append(args, "--database-url", url)
	leader := start(t, nil, args...)
	e.marker(true, 15*time.Second)
	standing := start(t, nil, args...)
	standing.logged("standing by", 10*time.Second)

	code, out, errs := e.commandOn(url, hook...)
	require.Zero(t, code, out+errs)
	require.Contains(t, out, "another daemon leads")
	e.marker(true, 0)
	require.Zero(t, standing.stop())
	e.marker(true, 0)

	leader.signal(stopped)
	code, out, errs = e.commandOn(url, hook...)
	require.Zero(t, code, out+errs)
	e.marker(false, 0)
	leader.kill()
	e.marker(false, 0)
}
