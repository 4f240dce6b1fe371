package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/handbook"
	"github.com/awa-counterd/awa-counterd/e2e/monitor"
)

const (
	rulesFile = "prometheus/awa-counterd.rules.yml"
	dayFile   = "prometheus/upgrade-over.rules.yml"
	testFile  = "prometheus/awa-counterd.rules.test.yml"
)

func rules(t *testing.T) []monitor.Rule {
	t.Helper()
	all, err := monitor.Rules(rulesFile)
	require.NoError(t, err)
	day, err := monitor.Rules(dayFile)
	require.NoError(t, err)
	require.Greater(t, len(all), 7)
	return append(all, day...)
}

// What Prometheus itself says to the files, and to the tests of the rules.
func TestPromtool(t *testing.T) {
	promtool := tool(t, "promtool")
	passes(t, "prometheus", promtool, "check", "rules", "awa-counterd.rules.yml", "upgrade-over.rules.yml")
	passes(t, "prometheus", promtool, "test", "rules", "awa-counterd.rules.test.yml")
}

// The tests of the rules have teeth: each of these changes to the rules fails them.
func TestRuleTestsHaveTeeth(t *testing.T) {
	promtool := tool(t, "promtool")
	rules, err := os.ReadFile(rulesFile)
	require.NoError(t, err)
	tests, err := os.ReadFile(testFile)
	require.NoError(t, err)
	for _, c := range []struct{ old, instead string }{
		{`leading|waiting`, `leading`},
		{`leading|waiting`, `leading|failing`},
		{`0 * sum by (job)`, `1 * sum by (job)`},
		{"or\n          absent(up{job=~\"awa-counterd.*\"})", ""},
		{`up{job=~"awa-counterd.*"} == 0`, `up{job=~"awa-counterd.*"} == 2`},
		{"for: 2m\n        labels:\n          severity: critical", "for: 5m\n        labels:\n          severity: critical"},
		{`max without (reason) (awa_counterd_untrusted`, `(awa_counterd_untrusted`},
		{`off|no_marker|dry_run|uncounted_writes`, `no_marker|dry_run|uncounted_writes`},
		{`off|no_marker|dry_run|uncounted_writes`, `off|dry_run|uncounted_writes`},
		{`off|no_marker|dry_run|uncounted_writes`, `off|no_marker|uncounted_writes`},
		{`off|no_marker|dry_run|uncounted_writes`, `off|no_marker|dry_run`},
		{`transactions > 50e6`, `transactions > 52e6`},
		{`transactions > 50e6`, `transactions > 48e6`},
		{`for: 15m`, `for: 10m`},
		{`min by (job) (time()`, `max by (job) (time()`},
		{`_seconds) < 900`, `_seconds) < 600`},
		{`_seconds) < 900`, `_seconds) < 1200`},
		{"_seconds) < 900\n          and on () (time() > awa_counterd:upgrade_over:timestamp_seconds)", "_seconds) < 900"},
		{`for: 5m`, `for: 3m`},
		{`{to="set"}[1h])) >= 5`, `[1h])) >= 5`},
		{`{to="set"}[1h])) >= 5`, `{to="set"}[1h])) >= 4`},
		{`{to="set"}[1h])) >= 5`, `{to="set"}[1h])) >= 6`},
		{`sum by (job) (increase(awa_counterd_marker`, `sum by (job, instance) (increase(awa_counterd_marker`},
		{`awa_counterd_lag_seconds > awa_counterd_staleness_bound_seconds`, `awa_counterd_lag_seconds > 200`},
		{"staleness_bound_seconds\n        for: 2m", "staleness_bound_seconds\n        for: 0s"},
		{`> 0.25 *`, `> 0.5 *`},
		{`> 0.25 *`, `> 0.1 *`},
		{` and awa_counterd_retained_wal_limit_bytes > 0)`, `)`},
		{` and awa_counterd_retained_wal_limit_bytes == 0)`, `)`},
		{`result="disagreed"`, `result="agreed"`},
		{"or\n          increase(awa_counterd_rescans_total[1h]) > 0", ""},
		{`"rows"}[15m]) > 0`, `"rows"}[15m]) > 1e9`},
		{`"rows"}[15m]) > 0`, `"rows"}[1h]) > 0`},
		{`{kind="rows"}[15m]`, `[15m]`},
		{`{kind="rows"}[15m]`, `{kind=~"rows|prune"}[15m]`},
		{`awa_counterd_uncounted_rows_total{kind="rows"} > 0 unless`, `awa_counterd_uncounted_rows_total{kind="rows"} > 1e9 unless`},
		{` unless awa_counterd_uncounted_rows_total{kind="rows"} offset 15m`, ``},
		{"and on () (time() > awa_counterd:upgrade_over:timestamp_seconds)", ""},
	} {
		changed := strings.Replace(string(rules), c.old, c.instead, 1)
		require.NotEqual(t, string(rules), changed, "the rules have no %q any more", c.old)
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(rulesFile)), []byte(changed), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "test.yml"), tests, 0o600))
		run := exec.CommandContext(t.Context(), promtool, "test", "rules", "test.yml")
		run.Dir = dir
		out, err := run.CombinedOutput()
		require.Error(t, err, "%q instead of %q is not noticed", c.instead, c.old)
		require.Contains(t, string(out), "got:", "%q instead of %q is no rule at all", c.instead, c.old)
	}
}

// Each alert says what is wrong, what to do, how urgent it is and where to read on; and the README has it.
func TestAlertsSayWhatToDo(t *testing.T) {
	readme, err := handbook.Read("..", "deploy/README.md")
	require.NoError(t, err)
	tests, err := os.ReadFile(testFile)
	require.NoError(t, err)
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		require.Contains(t, []string{"critical", "warning"}, r.Labels["severity"], r.Alert)
		require.NotEmpty(t, r.Annotations["summary"], r.Alert)
		require.NotEmpty(t, r.Annotations["description"], r.Alert)
		page, anchor, found := strings.Cut(r.Annotations["runbook"], "#")
		require.True(t, found, r.Alert)
		there, err := handbook.Read("..", page)
		require.NoError(t, err, r.Alert)
		require.True(t, there.Anchors()[anchor], "%s: %s has no heading %s", r.Alert, page, anchor)
		require.Contains(t, readme.Whole(), "`"+r.Alert+"`", "deploy/README.md does not tell of it")
		require.Contains(t, string(tests), "alertname: "+r.Alert+"\n        exp_alerts:", "no test has %s fire", r.Alert)
	}
}
