package listener

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/daemon"
	"github.com/awa-counterd/awa-counterd/internal/status"
	"github.com/awa-counterd/awa-counterd/replication"
)

// net/http lingers half a second over a connection that it cut off.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// stub is a daemon of which a test says how it is.
type stub struct{ view atomic.Pointer[daemon.View] }

func (s *stub) View() *daemon.View { return s.view.Load() }

// leads is a daemon that leads and is trusted.
func leads(now time.Time) *daemon.View {
	count := func(rows, txs int64) map[applier.Kind]daemon.Count {
		return map[applier.Kind]daemon.Count{applier.KindRows: {Rows: rows, Transactions: txs}, applier.KindPrune: {Rows: 3, Transactions: 1}}
	}
	totals := applier.Totals{Transactions: 1000, Rows: 5000, Corrections: 70, Flushes: 30, AuditsAgreed: 34, Audits: 2, Checkpoints: 9, Trusted: 2, Distrusted: 1}
	return &daemon.View{
		At: now, Due: time.Second, Phase: daemon.Leading, Since: now.Add(-time.Hour), Schema: "awa",
		Slot: replication.Slot{Name: "awa_counterd_app_awa_1a2b3c4d", Active: true, Status: "reserved", Retained: 3 << 20}, Sessions: 1, Totals: totals,
		Queues: []daemon.Queue{
			{Name: "billing", Drift: 0, Last: now.Add(-time.Minute), Uncounted: count(40, 4)},
			{Name: `<script>alert("é")</script>`, Drift: 12, Last: now.Add(-time.Second), Uncounted: count(900, 33)},
		},
		Rest: daemon.Queue{Name: daemon.Others, Uncounted: map[applier.Kind]daemon.Count{}},
		Status: &applier.Status{
			Totals: totals, Position: pglogrepl.LSN(0x1C76450), Persisted: pglogrepl.LSN(0x1C76400), Lag: 76 * time.Millisecond, RoundTrip: 5 * time.Millisecond,
			Groups: 189, DriftGroups: 3, Drift: 12, OldestDrift: 80 * time.Millisecond, Settled: 17, Units: 17, Journal: 4, MarkerSet: true,
			MarkerSince: now.Add(-30 * time.Minute), LastAudit: now.Add(-time.Minute), OldPrune: now.Add(-time.Hour), ServerNow: now,
			Uncounted: map[applier.Source]applier.Uncounted{
				{Queue: "billing", Kind: applier.KindRows}: {Rows: 40, Transactions: 4, PerSecond: 1.5, LastAt: now.Add(-time.Minute), LastLSN: 0x1C76000},
				{Queue: "email", Kind: applier.KindPrune}:  {Rows: 9, Transactions: 2, LastAt: now.Add(-time.Second), LastLSN: 0x1C76001},
			},
		},
	}
}

func untrustedView(now time.Time, kind applier.DoubtKind, reason string) *daemon.View {
	v := leads(now)
	v.Status.MarkerSet, v.Status.Doubt, v.Status.Reason = false, kind, reason
	return v
}

func standsByView(now time.Time, heartbeat time.Duration) *daemon.View {
	v := leads(now)
	v.Phase, v.Status, v.Slot, v.Detail = daemon.Standby, nil, replication.Slot{}, "another daemon leads"
	v.Queues = nil
	v.Leader = &checkpoint.Leader{Instance: "aa", Host: "db1", PID: 4711, Bound: 2 * time.Second, Heartbeat: heartbeat, Leads: true}
	return v
}

func failing(now time.Time, reason string) *daemon.View {
	return &daemon.View{At: now, Phase: daemon.Failing, Since: now.Add(-3 * time.Second), Detail: reason, Faults: 2, Rest: daemon.Queue{Name: daemon.Others}}
}

// someStatus is what the database says.
func someStatus() *status.Status {
	f := func(v float64) *float64 { return &v }
	return &status.Status{
		Schema: "awa", Position: "0/1", Persisted: f(4), Audit: f(95), Observed: 3600, MarkerSet: true, MarkerAge: f(1800),
		Leader:    &status.Leader{Host: "db1", PID: 4711, Version: "v0.1.0", Heartbeat: 0.2, Alive: true, State: "trusted"},
		Slot:      &status.Slot{Name: "awa_counterd_app_awa_1a2b3c4d", Active: true, Status: "reserved", Retained: 1, Lag: 4096},
		Queues:    []status.Queue{{Queue: "billing", Rows: 3994, Counter: 3994}},
		Uncounted: []status.Uncounted{{Queue: "stale", Kind: "rows", Rows: 1, Transactions: 1, Last: 9000, LastLSN: "0/1"}},
		Runtimes:  []status.Runtime{{Version: "0.6.0-beta.1", Live: 2, Old: true}}, Known: true,
	}
}

// rig is a server over a stub, without its sampler.
type rig struct {
	*Server
	stub *stub
	t    *testing.T
}

func newRig(t *testing.T, v *daemon.View, change ...func(*Config)) *rig {
	t.Helper()
	s := &stub{}
	s.view.Store(v)
	c := Config{
		Version: "v0.1.0", Revision: "abc", Bound: 2 * time.Second, QuietPeriod: 10 * time.Minute, MaxRetained: 16 << 30, Every: time.Nanosecond,
		ReadStatus: func(context.Context) (*status.Status, error) { return someStatus(), nil },
	}
	for _, f := range change {
		f(&c)
	}
	l, err := Listen(t.Context(), "127.0.0.1:0", time.Second, zap.NewNop())
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	server, err := New(l, s, NewMeter(), c)
	require.NoError(t, err)
	t.Cleanup(server.readings.wait)
	return &rig{server, s, t}
}

// get asks the handler directly.
func (r *rig) get(path string) *httptest.ResponseRecorder {
	return r.ask(http.MethodGet, path, "localhost")
}

func (r *rig) ask(method, path, host string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	q := httptest.NewRequestWithContext(r.t.Context(), method, path, http.NoBody)
	q.Host = host
	r.http.Handler.ServeHTTP(w, q)
	return w
}

// serve answers on the real socket until the test ends.
func (r *rig) serve() {
	ctx, cancel := context.WithCancel(context.Background())
	var works sync.WaitGroup
	works.Go(func() { r.Run(ctx) })
	r.t.Cleanup(func() {
		cancel()
		works.Wait()
	})
}

// dial opens n connections that say nothing.
func (r *rig) dial(n int) (open []net.Conn) {
	r.t.Helper()
	for range n {
		c, err := net.Dial("tcp", r.Address())
		require.NoError(r.t, err)
		r.t.Cleanup(func() { _ = c.Close() })
		open = append(open, c)
	}
	return open
}

func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	a, err := client.Do(q)
	require.NoError(t, err)
	body, err := io.ReadAll(a.Body)
	require.NoError(t, err)
	require.NoError(t, a.Body.Close())
	return a.StatusCode, string(body)
}
