package listener

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/daemon"
)

var update = flag.Bool("update", false, "rewrite docs/metrics.md")

// gather is what /metrics would say, by name.
func (r *rig) gather(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := r.registry(NewMeter()).Gather()
	require.NoError(t, err)
	out := make(map[string]*dto.MetricFamily)
	for _, f := range families {
		out[f.GetName()] = f
	}
	return out
}

// value is that of the metric with these labels, given as key=value.
func value(t *testing.T, f *dto.MetricFamily, labels ...string) float64 {
	t.Helper()
	require.NotNil(t, f, labels)
	for _, m := range f.GetMetric() {
		var has []string
		for _, l := range m.GetLabel() {
			has = append(has, l.GetName()+"="+l.GetValue())
		}
		if slices.Equal(has, labels) {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	require.FailNow(t, "no such metric", "%s %v", f.GetName(), labels)
	return 0
}

func TestMetricsOfALeader(t *testing.T) {
	now := time.Now()
	m := newRig(t, leads(now)).gather(t)
	for name, want := range map[string]float64{
		"trusted": 1, "lag_seconds": 0.076, "retained_wal_bytes": 3 << 20, "position_bytes": 0x1C76450, "groups": 189, "drifting_groups": 3,
		"staleness_bound_seconds": 2, "corrections_total": 70, "transactions_total": 1000, "slots": 17, "slots_ready": 17, "loop_overdue_seconds": 0,
		"retained_wal_limit_bytes": 16 << 30, "oldest_drift_seconds": 0.08, "audit_rounds_total": 2,
	} {
		require.InDelta(t, want, value(t, m["awa_counterd_"+name]), 1e-9, name)
	}
	require.InDelta(t, 12, value(t, m["awa_counterd_drift_rows"], `queue=<script>alert("é")</script>`), 0)
	require.Zero(t, value(t, m["awa_counterd_drift_rows"], "queue=(others)"))
	require.InDelta(t, 900, value(t, m["awa_counterd_uncounted_rows_total"], "kind=rows", `queue=<script>alert("é")</script>`), 0)
	require.InDelta(t, 4, value(t, m["awa_counterd_uncounted_transactions_total"], "kind=rows", "queue=billing"), 0)
	require.InDelta(t, 1, value(t, m["awa_counterd_role"], "role=leading"), 0)
	require.Zero(t, value(t, m["awa_counterd_role"], "role=standby"))
	require.InDelta(t, 34, value(t, m["awa_counterd_audits_total"], "result=agreed"), 0)
	for _, metric := range m["awa_counterd_untrusted"].GetMetric() {
		require.Zero(t, metric.GetGauge().GetValue())
	}
	require.Contains(t, m, "go_goroutines")
	require.Contains(t, m, "process_cpu_seconds_total")
}

// Every reason is one of a fixed list, and the metric names exactly one while there is one.
func TestMetricOfReasons(t *testing.T) {
	now := time.Now()
	want := map[string]*daemon.View{
		reasonFailing: failing(now, "x"), reasonOverdue: leads(now.Add(-time.Minute)), reasonPending: untrustedView(now, applier.DoubtNone, ""),
		reasonStarting: {At: now, Phase: daemon.Starting}, reasonWaiting: {At: now, Phase: daemon.Waiting},
	}
	for _, k := range applier.DoubtKinds() {
		want[string(k)] = untrustedView(now, k, "because")
	}
	for reason, v := range want {
		r := newRig(t, v)
		m := r.gather(t)
		require.Zero(t, value(t, m["awa_counterd_trusted"]), reason)
		sum := 0.0
		for _, metric := range m["awa_counterd_untrusted"].GetMetric() {
			sum += metric.GetGauge().GetValue()
		}
		require.InDelta(t, 1, sum, 0, reason)
		require.InDelta(t, 1, value(t, m["awa_counterd_untrusted"], "reason="+reason), 0)
		verdict := r.reading().verdict(nil)
		require.NotEmpty(t, verdict.Do)
		require.NotEqual(t, "Read the log.", verdict.Do, "no advice for "+reason)
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(want)), reasons())
}

// What a standby does not know it does not say: an alert on trust must not fire for it.
func TestMetricsOfAStandby(t *testing.T) {
	m := newRig(t, standsByView(time.Now(), 3*time.Second)).gather(t)
	require.InDelta(t, 1, value(t, m["awa_counterd_role"], "role=standby"), 0)
	require.InDelta(t, 3, value(t, m["awa_counterd_leader_heartbeat_age_seconds"]), 0.5)
	for _, name := range []string{"trusted", "untrusted", "lag_seconds", "drift_rows", "retained_wal_bytes"} {
		require.NotContains(t, m, "awa_counterd_"+name)
	}
}

// While too many groups are wrong to tell queues apart, no queue is said to be right: the sum is there, under one name.
func TestUndividedDrift(t *testing.T) {
	v := leads(time.Now())
	v.Undivided, v.Queues[1].Drift, v.Rest.Drift, v.Status.Drift = true, 0, 30_000, 30_000
	r := newRig(t, v)
	m := r.gather(t)["awa_counterd_drift_rows"]
	require.Len(t, m.GetMetric(), 1)
	require.InDelta(t, 30_000, value(t, m, "queue="+daemon.Others), 0)
	body := r.get("/").Body.String()
	require.Contains(t, body, "too many groups to tell queues apart")
	samples := []sample{newSample(r.reading())}
	require.Equal(t, "30,000", r.reading().tiles(nil, samples)[2].Plot.Most)
	rows, _ := r.reading().rows(samples)
	for _, q := range rows {
		require.Equal(t, "–", q.Drift)
		require.Contains(t, q.DriftPlot.Label, "nothing is known")
	}
}

func TestMetricsFollowTheLinter(t *testing.T) {
	now := time.Now()
	for _, v := range []*daemon.View{leads(now), standsByView(now, 0), failing(now, "x")} {
		r := newRig(t, v)
		problems, err := promlint.New(strings.NewReader(r.get("/metrics").Body.String())).Lint()
		require.NoError(t, err)
		require.Empty(t, problems)
	}
}

// Histograms take what the daemon measures.
func TestMeter(t *testing.T) {
	m := NewMeter()
	m.Flushed(20 * time.Millisecond)
	m.Corrected(2 * time.Millisecond)
	m.Corrected(4 * time.Millisecond)
	m.Scanned(time.Second)
	m.Stale(90 * time.Millisecond)
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(m.collectors()...)
	families, err := r.Gather()
	require.NoError(t, err)
	counts := make(map[string]uint64)
	for _, f := range families {
		counts[f.GetName()] = f.GetMetric()[0].GetHistogram().GetSampleCount()
	}
	require.Equal(t, map[string]uint64{
		"awa_counterd_flush_duration_seconds": 1, "awa_counterd_correction_duration_seconds": 2, "awa_counterd_scan_duration_seconds": 1,
		"awa_counterd_staleness_seconds": 1,
	}, counts)
}

// Gathering costs something; a client that asks without end gets what the one before it got.
func TestGatheredSeldom(t *testing.T) {
	r := newRig(t, leads(time.Now()), func(c *Config) { c.Every = time.Hour })
	g := r.registry(NewMeter())
	first, err := g.Gather()
	require.NoError(t, err)
	r.stub.view.Store(failing(time.Now(), "x"))
	second, err := g.Gather()
	require.NoError(t, err)
	require.Equal(t, len(first), len(second))
	require.Same(t, first[0], second[0])
}

const docs = "../../docs/metrics.md"

// docs/metrics.md has every metric that there is, and none that there is not. -update writes it.
func TestMetricsAreDocumented(t *testing.T) {
	var table strings.Builder
	var names []string
	types := map[prometheus.ValueType]string{counter: "counter", gauge: "gauge"}
	line := func(name, kind string, labels []string, when, help string) {
		names = append(names, namespace+"_"+name)
		fmt.Fprintf(&table, "| `%s_%s` | %s | %s | %s | %s |\n", namespace, name, kind, strings.Join(labels, ", "), when, strings.ReplaceAll(help, "|", "\\|"))
	}
	table.WriteString("| metric | type | labels | there | what it says |\n|---|---|---|---|---|\n")
	for _, f := range families() {
		line(f.name, types[f.kind], f.labels, string(f.when), f.help)
	}
	for _, h := range histograms {
		line(h.name, "histogram", nil, string(always), h.help)
	}
	old, err := os.ReadFile(docs)
	require.NoError(t, err)
	const begin, end = "<!-- made by go test ./internal/listener -run TestMetricsAreDocumented -update -->\n", "<!-- end -->\n"
	head, rest, found := strings.Cut(string(old), begin)
	require.True(t, found)
	_, tail, found := strings.Cut(rest, end)
	require.True(t, found)
	text := head + begin + "\n" + table.String() + "\n" + end + tail
	if *update {
		require.NoError(t, os.WriteFile(docs, []byte(text), 0o600))
	}
	require.Equal(t, text, string(old), "run: go test ./internal/listener -run TestMetricsAreDocumented -update")

	now := time.Now()
	shown := make(map[string]bool)
	full := leads(now)
	for _, v := range []*daemon.View{full, standsByView(now, 0)} {
		for name := range newRig(t, v).gather(t) {
			if strings.HasPrefix(name, namespace) {
				shown[name] = true
			}
		}
	}
	require.ElementsMatch(t, names, slices.Collect(maps.Keys(shown)))
	for _, name := range regexp.MustCompile(`awa_counterd_[a-z_]+`).FindAllString(head+tail, -1) {
		base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		require.Contains(t, names, base, "docs/metrics.md names it")
	}
}
