package e2e

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// manager is a service manager, as far as a daemon sees of one: a socket, and a watchdog of two seconds.
type manager struct {
	t    *testing.T
	at   string
	mu   sync.Mutex
	said []string  // all lines
	fed  time.Time // when the last sign of life came
}

func newManager(t *testing.T) *manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "awacd") // the test's own may be too long a name for a socket
	require.NoError(t, err)
	m := &manager{t: t, at: filepath.Join(dir, "notify"), fed: time.Now()}
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.at, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = socket.Close()
		_ = os.RemoveAll(dir)
		if t.Failed() {
			t.Logf("said to the service manager: %q", m.all())
		}
	})
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := socket.Read(buffer)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.said = append(m.said, strings.Split(string(buffer[:n]), "\n")...)
			if strings.Contains(string(buffer[:n]), "WATCHDOG=1") {
				m.fed = time.Now()
			}
			m.mu.Unlock()
		}
	}()
	return m
}

func (m *manager) environ() []string {
	return []string{"NOTIFY_SOCKET=" + m.at, "WATCHDOG_USEC=2000000"}
}

func (m *manager) all() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.said...)
}

// silent is for how long no sign of life has come.
func (m *manager) silent() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Since(m.fed)
}

func (m *manager) hears(text string) bool {
	for _, line := range m.all() {
		if strings.Contains(line, text) {
			return true
		}
	}
	return false
}

// heard waits for a line with the text.
func (m *manager) heard(text string, within time.Duration) {
	m.t.Helper()
	m.until(within, "not said: "+text, func() bool { return m.hears(text) })
}

func (m *manager) until(within time.Duration, complaint string, ok func() bool) {
	m.t.Helper()
	late := time.After(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-late:
			require.FailNow(m.t, complaint)
		case <-tick.C:
		}
	}
}

// fedFor watches for some time that the watchdog is fed: never later than it bites.
func (m *manager) fedFor(d time.Duration) {
	m.t.Helper()
	over := time.Now().Add(d)
	m.until(d+10*time.Second, "", func() bool {
		require.Less(m.t, m.silent(), 2*time.Second, "the watchdog would have bitten")
		return time.Now().After(over)
	})
}

// starves waits until the watchdog would have bitten.
func (m *manager) starves() {
	m.t.Helper()
	m.until(15*time.Second, "the watchdog is fed for ever", func() bool { return m.silent() > 2*time.Second })
}

// A daemon that leads says so, feeds the watchdog as long as its process runs, shows the status line, and says that it stops.
func TestServiceManagerIsTold(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Slots: 4})
	m := newManager(t)
	d := start(t, m.environ(), "run", "--database-url", e.url(), "--status-interval", "500ms")
	d.logged("leading", 15*time.Second)
	m.heard("READY=1", time.Second)
	m.heard("STATUS=leading: position=", 5*time.Second)
	m.heard("trust=set ", 10*time.Second)
	m.fedFor(3 * time.Second)

	d.signal(syscall.SIGSTOP)
	m.starves()
	d.signal(syscall.SIGCONT)
	m.until(5*time.Second, "not fed any more", func() bool { return m.silent() < time.Second })
	require.Zero(t, d.stop())
	m.heard("STOPPING=1", time.Second)
	ready := 0
	for _, line := range m.all() {
		if line == "READY=1" {
			ready++
		}
	}
	require.Equal(t, 1, ready)
}

// A loop that hangs is not vouched for by anything else in the process, which goes on.
func TestWatchdogOfAHungLoop(t *testing.T) {
	t.Parallel()
	hangs := filepath.Join(t.TempDir(), "awa-counterd")
	build := []string{"build", "-tags", "failpoints", "-o", hangs}
	if overlay := os.Getenv("AWACD_OVERLAY"); overlay != "" { // a mutant: internal/testonly/mutants
		build = append(build, "-overlay", overlay)
	}
	out, err := exec.Command("go", append(build, "../cmd/awa-counterd")...).CombinedOutput()
	require.NoError(t, err, string(out))
	e := newEnv(t, fleet.Layout{Slots: 4})
	m := newManager(t)
	d := startBinary(t, hangs, append(m.environ(), "AWACD_HANG_AT=turn:60"), "run", "--database-url", e.url(), "--listen", "0")
	base, _ := d.logged("listening", 10*time.Second)["url"].(string)
	d.logged("leading", 15*time.Second)
	m.heard("READY=1", time.Second)
	m.heard("WATCHDOG=1", time.Second)
	m.starves()
	select {
	case <-d.Done():
		require.Fail(t, "the process was to hang, not to end")
	default:
	}
	w := &web{t: t, base: base, client: &http.Client{Timeout: 5 * time.Second}}
	m.until(10*time.Second, "the rest of the process does not go on", func() bool {
		_, text, err := w.try("readyz")
		return err == nil && strings.Contains(text, "the daemon's main loop is overdue by")
	})
	require.Positive(t, e.scalar(`select count(*) from pg_stat_activity where datname = current_database() and application_name = 'awa-counterd control'`))
}

// In each state in which a daemon may be for long it is ready, and the watchdog is fed.
func TestWatchdogIsFedInEveryState(t *testing.T) {
	t.Run("standing by", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t, fleet.Layout{Slots: 4})
		e.daemon().logged("leading", 15*time.Second)
		m := newManager(t)
		start(t, m.environ(), "run", "--database-url", e.url()).logged("standing by", 10*time.Second)
		m.heard("READY=1", time.Second)
		m.heard("STATUS=standby: ", time.Second)
		m.fedFor(4 * time.Second)
	})
	t.Run("waiting for awa's migration", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t, fleet.Layout{Slots: 4, NoCounter: true})
		m := newManager(t)
		start(t, m.environ(), "run", "--database-url", e.url()).logged("waiting for awa's migration", 10*time.Second)
		m.heard("READY=1", time.Second)
		m.heard("STATUS=waiting: ", time.Second)
		m.fedFor(4 * time.Second)
	})
	t.Run("making the slot", func(t *testing.T) {
		t.Parallel()
		e := newEnvOn(t, ownServer(t), fleet.Layout{Slots: 4})
		tx, err := e.pool.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), `select pg_current_xact_id()`)
		require.NoError(t, err)
		m := newManager(t)
		d := start(t, m.environ(), "run", "--database-url", e.url())
		d.logged("creating the replication slot: PostgreSQL waits for a transaction to end", 15*time.Second)
		m.heard("READY=1", time.Second)
		m.heard("STATUS=starting: creating the replication slot", time.Second)
		// Who looks on does so every two seconds, which is what this watchdog allows: a minute is the unit's.
		for range 3 {
			before := m.silent()
			m.until(4*time.Second, "not fed", func() bool { return m.silent() < before || m.silent() < 100*time.Millisecond })
		}
		require.NoError(t, tx.Rollback(context.Background()))
		d.logged("leading", 15*time.Second)
	})
	t.Run("scanning", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t, fleet.Layout{Slots: 4})
		m := newManager(t)
		d := start(t, m.environ(), "run", "--database-url", e.url(), "--audit-interval", "1s")
		d.logged("marker set", 15*time.Second)
		tx, err := e.pool.Begin(t.Context())
		require.NoError(t, err)
		defer func() { _ = tx.Rollback(context.Background()) }()
		_, err = tx.Exec(t.Context(), `lock table awa.done_entries_1 in access exclusive mode`)
		require.NoError(t, err)
		d.logged("a scan keeps finding its ring slot locked", 20*time.Second)
		m.fedFor(2 * time.Second)
	})
	t.Run("starting over", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t, fleet.Layout{Slots: 4})
		m := newManager(t)
		d := start(t, m.environ(), "run", "--database-url", e.url())
		d.logged("leading", 15*time.Second)
		admin, err := server.Connect(t.Context(), "postgres")
		require.NoError(t, err)
		defer func() { _ = admin.Close(context.Background()) }()
		_, err = admin.Exec(t.Context(), "alter database "+e.db+" allow_connections false")
		require.NoError(t, err)
		_, err = admin.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and application_name like 'awa-counterd%'`, e.db)
		require.NoError(t, err)
		d.logged("session failed", 10*time.Second)
		m.heard("STATUS=failing: ", 5*time.Second)
		m.fedFor(8 * time.Second) // pauses are longer than this watchdog's time by now
		_, err = admin.Exec(context.Background(), "alter database "+e.db+" allow_connections true")
		require.NoError(t, err)
	})
}

// unitEnvironment is what the shipped unit sets.
func unitEnvironment(t *testing.T) (out []string) {
	t.Helper()
	unit, err := os.ReadFile("../deploy/awa-counterd.service")
	require.NoError(t, err)
	for line := range strings.SplitSeq(string(unit), "\n") {
		if set, ok := strings.CutPrefix(line, "Environment="); ok {
			out = append(out, set)
		}
	}
	return out
}

// What the watchdog sends has the process die of it, with its stacks in the log: an exit code of 2, which is Go's own answer to
// it, would keep the unit from starting it again.
func TestWatchdogsSignalIsRestarted(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	d := start(t, unitEnvironment(t), "run", "--database-url", e.url())
	d.logged("marker set", 15*time.Second)
	d.signal(syscall.SIGABRT)
	require.Equal(t, -1, d.wait(15*time.Second), "it exited, and did not die of the signal")
	require.True(t, strings.Contains(d.text(), "SIGABRT: abort") && strings.Contains(d.text(), "daemon.(*loop).run"), "its stacks say where it hung")
}
