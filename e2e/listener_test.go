package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/cluster"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// planted is a password that must never be seen anywhere. The test server lets everybody in, whatever they say.
const planted = "hunter2-planted"

// web asks a daemon's listener, and keeps everything that it ever said.
type web struct {
	t      *testing.T
	base   string
	client *http.Client
	heard  strings.Builder
}

// listens starts a daemon with a listener on a free port.
func (e *env) listens(args ...string) (*daemon, *web) {
	e.t.Helper()
	url := server.URL(cluster.Superuser, planted, e.db)
	d := start(e.t, nil, append([]string{"run", "--database-url", url, "--status-interval", "1s", "--listen", "0"}, args...)...)
	base, _ := d.logged("listening", 10*time.Second)["url"].(string)
	require.Regexp(e.t, `^http://127\.0\.0\.1:\d+/$`, base)
	return d, &web{t: e.t, base: base, client: &http.Client{Timeout: 3 * time.Second}}
}

func (w *web) try(path string) (int, string, error) {
	a, err := w.client.Get(w.base + strings.TrimPrefix(path, "/"))
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = a.Body.Close() }()
	body, err := io.ReadAll(a.Body)
	w.heard.Write(body)
	return a.StatusCode, string(body), err
}

func (w *web) get(path string) (int, string) {
	w.t.Helper()
	code, body, err := w.try(path)
	require.NoError(w.t, err, path)
	return code, body
}

type readiness struct {
	Ready   bool     `json:"ready"`
	Role    string   `json:"role"`
	Failing []string `json:"failing"`
}

func (w *web) ready() (code int, r readiness) {
	w.t.Helper()
	code, body := w.get("/readyz")
	require.NoError(w.t, json.Unmarshal([]byte(body), &r), body)
	require.Equal(w.t, r.Ready, code == http.StatusOK)
	require.Equal(w.t, r.Ready, len(r.Failing) == 0)
	return code, r
}

// becomes waits until a daemon is ready, or is not, in a role.
func (w *web) becomes(ready bool, role string, within time.Duration) readiness {
	w.t.Helper()
	var r readiness
	require.Eventually(w.t, func() bool { _, r = w.ready(); return r.Ready == ready && r.Role == role }, within, 20*time.Millisecond, "ready %t as %s", ready, role)
	return r
}

func (w *web) metrics() map[string]*dto.MetricFamily {
	w.t.Helper()
	code, body := w.get("/metrics")
	require.Equal(w.t, http.StatusOK, code)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	require.NoError(w.t, err)
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	require.NoError(w.t, err)
	require.Empty(w.t, problems)
	return families
}

// metric is the value of one with all of these labels, given as key=value; false when there is none.
func (w *web) metric(name string, labels ...string) (float64, bool) {
	w.t.Helper()
	f := w.metrics()["awa_counterd_"+name]
	for _, m := range f.GetMetric() {
		has := make(map[string]bool)
		for _, l := range m.GetLabel() {
			has[l.GetName()+"="+l.GetValue()] = true
		}
		all := true
		for _, l := range labels {
			all = all && has[l]
		}
		if all {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount()), true
		}
	}
	return 0, false
}

// counts waits until a metric is at least as high.
func (w *web) counts(least float64, name string, labels ...string) {
	w.t.Helper()
	var got float64
	require.Eventually(w.t, func() bool { got, _ = w.metric(name, labels...); return got >= least }, 8*time.Second, 100*time.Millisecond, "%s %v", name, labels)
}

// What a supervisor, Prometheus, a program and a person see of a leader and a standby: at work, when trust is lost because a
// publication is dropped, and when the leader is stopped in its tracks.
func TestListener(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	leader, first := e.listens("--pprof")
	first.becomes(true, "leading", 15*time.Second)
	e.insertAt(1, "email", 5, false)
	e.balanced(3 * time.Second)
	first.counts(5, "uncounted_rows_total", "queue=email", "kind=rows")

	if os.Getenv("GOMAXPROCS") == "" {
		require.InDelta(t, 1, first.metrics()["go_sched_gomaxprocs_threads"].GetMetric()[0].GetGauge().GetValue(), 0)
	}

	before, _ := first.metric("session_faults_total")
	e.exec(`drop publication awa_counterd_awa`)
	var lost readiness
	require.Eventually(t, func() bool { _, lost = first.ready(); return !lost.Ready }, 10*time.Second, 5*time.Millisecond)
	require.Contains(t, lost.Failing, "trust")
	first.becomes(true, "leading", 20*time.Second)
	first.counts(before+1, "session_faults_total")
	first.counts(5, "uncounted_rows_total", "queue=email", "kind=rows") // they go on across sessions
	first.counts(2, "sessions_total")
	e.marker(true, 0)

	standing, second := e.listens()
	second.becomes(true, "standby", 10*time.Second)
	first.counts(1, "uncounted_transactions_total", "queue=email", "kind=rows")
	for _, name := range []string{"corrections_total", "flush_duration_seconds", "correction_duration_seconds", "staleness_seconds", "scan_duration_seconds", "audit_rounds_total", "groups", "position_bytes"} {
		first.counts(1, name)
	}
	trusted, _ := first.metric("trusted")
	require.InDelta(t, 1, trusted, 0)
	for _, name := range []string{"trusted", "lag_seconds", "drift_rows"} {
		_, there := second.metric(name)
		require.False(t, there, "a standby says %s", name)
	}
	second.counts(1, "role", "role=standby")
	e.sameShape(first, second)
	require.Eventually(t, func() bool { _, body := first.get("/"); return strings.Contains(body, "<bdi>email</bdi>") }, 5*time.Second, 50*time.Millisecond)
	_, page := second.get("/")
	require.Contains(t, page, "Standing by")
	for _, path := range []string{"/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/healthz"} {
		code, _ := first.get(path)
		require.Equal(t, http.StatusOK, code, path)
	}
	code, _ := first.get("/debug/pprof/cmdline")
	require.Equal(t, http.StatusNotFound, code)
	code, _ = second.get("/debug/pprof/heap")
	require.Equal(t, http.StatusNotFound, code, "profiles that nobody asked for")

	leader.signal(stopped)
	t.Cleanup(func() { leader.signal(resumed) })
	require.Eventually(t, func() bool { _, _, err := first.try("/healthz"); return os.IsTimeout(err) }, 10*time.Second, 10*time.Millisecond,
		"a process that is stopped does not answer")
	require.Eventually(t, func() bool { _, body := second.get("/"); return strings.Contains(body, "Leader silent") }, 10*time.Second, 100*time.Millisecond)
	second.becomes(true, "leading", 40*time.Second)
	leader.signal(resumed)
	first.becomes(true, "standby", 20*time.Second)

	for _, d := range []*daemon{leader, standing} {
		require.Zero(t, d.stop())
	}
	for name, text := range map[string]string{"log 1": leader.text(), "log 2": standing.text(), "answers 1": first.heard.String(), "answers 2": second.heard.String()} {
		require.NotEmpty(t, text)
		require.NotContains(t, text, planted, name)
	}
}

// sameShape compares /status.json with what `status --json` prints.
func (e *env) sameShape(webs ...*web) {
	e.t.Helper()
	code, out, errs := e.command("status", "--json")
	require.Zero(e.t, code, errs)
	keys := func(text string) map[string]string {
		var v any
		require.NoError(e.t, json.Unmarshal([]byte(text), &v), text)
		all := make(map[string]string)
		shape("", v, all)
		return all
	}
	want := keys(out)
	for _, w := range webs {
		code, body := w.get("/status.json")
		require.Equal(e.t, http.StatusOK, code, body)
		require.Equal(e.t, want, keys(body))
	}
}

// shape lists the paths of a document with their types.
func shape(at string, v any, out map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			shape(at+"."+k, x, out)
		}
	case []any:
		for _, x := range v {
			shape(at+"[]", x, out)
		}
	case string:
		out[at] = "string"
	case float64:
		out[at] = "number"
	case bool:
		out[at] = "bool"
	default:
		out[at] = "null"
	}
}

// When a session has died nobody vouches for anything, and that is said before the rest of it is put away: here somebody holds
// the marker's row, so that clearing the marker takes a second.
func TestListenerSaysAtOnceThatASessionDied(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	d, w := e.listens()
	w.becomes(true, "leading", 15*time.Second)
	tx, err := e.pool.Begin(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	_, err = tx.Exec(t.Context(), `select 1 from awa.queue_ring_state for update`)
	require.NoError(t, err)
	e.exec(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'awa-counterd corrections'`)
	require.Eventually(t, func() bool { _, r := w.ready(); return !r.Ready && r.Role == "failing" }, 5*time.Second, time.Millisecond)
	entry, _ := d.find("session failed; starting the next one")
	require.Nil(t, entry, "by then it had long been so")
	require.NoError(t, tx.Rollback(t.Context()))
	w.becomes(true, "leading", 20*time.Second)
}

// Whoever looks at a standby has the leader do nothing: no checkpoint is written for it, as one is for status.
func TestListenerOfAStandbyAsksNothing(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	_, first := e.listens("--checkpoint-interval", "1h", "--audit-interval", "1h")
	first.becomes(true, "leading", 15*time.Second)
	_, second := e.listens()
	second.becomes(true, "standby", 10*time.Second)
	e.insertAt(1, "email", 5, false)
	e.balanced(3 * time.Second)
	e.wait(time.Second) // for what a start writes
	before, _ := first.metric("checkpoints_total")
	code, body := second.get("/status.json")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, `"fresh": false`)
	_, _ = second.get("/")
	e.wait(2 * time.Second)
	after, _ := first.metric("checkpoints_total")
	require.InDelta(t, before, after, 0)
	code, _, errs := e.command("status")
	require.Zero(t, code, errs)
	first.counts(before+1, "checkpoints_total")
}

// Without a database the daemon says what is wrong, and no password.
func TestListenerWithoutADatabase(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	d, w := e.listens("--max-staleness", "2s")
	w.becomes(true, "leading", 15*time.Second)
	admin, err := server.Connect(t.Context(), "postgres")
	require.NoError(t, err)
	t.Cleanup(func() { _ = admin.Close(context.Background()) })
	_, err = admin.Exec(t.Context(), `alter database `+e.db+` allow_connections false`)
	require.NoError(t, err)
	_, err = admin.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and application_name like 'awa-counterd%'`, e.db)
	require.NoError(t, err)
	var body string
	require.Eventually(t, func() bool {
		_, body = w.get("/readyz")
		return strings.Contains(body, "not currently accepting connections")
	}, 10*time.Second, 10*time.Millisecond)
	require.Contains(t, body, `"role": "failing"`)
	_, page := w.get("/")
	require.Contains(t, page, "Not working")
	require.Contains(t, page, "not currently accepting connections")
	value, _ := w.metric("untrusted", "reason=no_session")
	require.InDelta(t, 1, value, 0)
	code, _ := w.get("/healthz")
	require.Equal(t, http.StatusOK, code)
	require.NotContains(t, w.heard.String()+d.text(), planted)
}

// A thousand connections and clients without end do not touch the daemon's own work.
func TestListenerUnderSiege(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	_, w := e.listens()
	w.becomes(true, "leading", 15*time.Second)
	address := strings.TrimSuffix(strings.TrimPrefix(w.base, "http://"), "/")
	for i := range 1000 {
		c, err := net.Dial("tcp", address)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		if i%2 == 0 { // begins a request, and never ends it
			_, _ = c.Write([]byte("GET / HTTP/1.1\r\nHost: loc"))
		}
	}
	end := make(chan struct{})
	asked := make(chan int)
	for range 8 {
		go func() {
			n := 0
			for {
				select {
				case <-end:
					asked <- n
					return
				default:
				}
				if a, err := w.client.Get(w.base); err == nil {
					_, _ = io.Copy(io.Discard, a.Body)
					_ = a.Body.Close()
					n++
				}
			}
		}()
	}
	for i := range 20 {
		e.insertAt(int32(i%4), "email", 5, false)
		e.balanced(2 * time.Second)
		e.marker(true, 0)
	}
	close(end)
	n := 0
	for range 8 {
		n += <-asked
	}
	require.Positive(t, n)
	w.client.CloseIdleConnections()
	w.becomes(true, "leading", 10*time.Second)
	shut, _ := w.metric("http_connections_shut_total")
	require.Greater(t, shut, 900.0)
	t.Logf("%d pages were answered meanwhile", n)
}

// An address that is none ends the start, before anything is connected to.
func TestListenerRefusals(t *testing.T) {
	for want, args := range map[string][]string{
		"--pprof needs --listen": {"--pprof"},
		"has no port":            {"--listen", "nowhere"},
	} {
		d := start(t, nil, append([]string{"run", "--database-url", "postgres://nobody@127.0.0.1:1/x"}, args...)...)
		require.NotZero(t, d.wait(5*time.Second))
		require.Contains(t, d.text(), want)
	}
}

// A port that somebody else has keeps nobody from keeping the counters right; once it is free, it is listened there.
func TestListenerWaitsForItsPort(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = taken.Close() })
	d := start(t, nil, "run", "--database-url", server.URL(cluster.Superuser, planted, e.db), "--listen", taken.Addr().String())
	require.Contains(t, d.logged("cannot listen, so page and metrics are not served; the counters are still corrected; trying again; "+
		"free the address, or restart with another --listen", 10*time.Second)["error"], "address already in use")
	d.logged("trust: marker set", 15*time.Second)
	e.insertAt(1, "email", 5, false)
	e.balanced(3 * time.Second)
	e.marker(true, 0)
	require.NoError(t, taken.Close())
	base, _ := d.logged("listening", 10*time.Second)["url"].(string)
	w := &web{t: t, base: base, client: &http.Client{Timeout: 3 * time.Second}}
	w.becomes(true, "leading", 10*time.Second)
	require.Equal(t, 1, strings.Count(d.text(), "cannot listen"))
	require.Zero(t, d.stop())
}
