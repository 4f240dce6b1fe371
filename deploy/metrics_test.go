package deploy

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/monitor"
)

const dashboardFile = "grafana/awa-counterd.json"

// served is the table of docs/metrics.md: labels by metric. internal/listener's TestMetricsAreDocumented holds it to the code, and
// e2e's TestAlerts to what a daemon answers.
func served(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../docs/metrics.md")
	require.NoError(t, err)
	all := make(map[string][]string)
	for _, m := range regexp.MustCompile("(?m)^\\| `(awa_counterd_[a-z_]+)` \\| ([a-z]+) \\| ([a-z, ]*) \\|").FindAllStringSubmatch(string(text), -1) {
		all[m[1]] = []string{"job", "instance"}
		if m[2] == "histogram" {
			all[m[1]] = append(all[m[1]], "le")
		}
		for label := range strings.SplitSeq(m[3], ",") {
			if label = strings.TrimSpace(label); label != "" {
				all[m[1]] = append(all[m[1]], label)
			}
		}
	}
	require.Greater(t, len(all), 40)
	return all
}

// expressions are all that is shipped.
func expressions(t *testing.T) (all []monitor.Expression) {
	t.Helper()
	for _, r := range rules(t) {
		all = append(all, monitor.Expression{Where: r.Alert + r.Record, Text: r.Expr})
		for _, a := range r.Annotations {
			all = append(all, monitor.Expression{Where: r.Alert, Text: a})
		}
	}
	board, err := monitor.Dashboard(dashboardFile)
	require.NoError(t, err)
	return append(all, board.Expressions()...)
}

var grouped = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)

// Every metric that rules and dashboard name is one of the daemon's, with the labels that they ask for.
func TestMetricsExist(t *testing.T) {
	metrics := served(t)
	labels := make(map[string]bool)
	for _, l := range slices.Concat(slices.Collect(maps.Values(metrics))...) {
		labels[l] = true
	}
	named := 0
	for _, e := range expressions(t) {
		for _, u := range monitor.Uses(e.Text) {
			require.Contains(t, metrics, u.Metric, "%s: %s", e.Where, e.Text)
			for l := range u.Labels {
				require.Contains(t, metrics[u.Metric], l, "%s: %s has no such label: %s", e.Where, u.Metric, e.Text)
			}
			named++
		}
		for _, m := range grouped.FindAllStringSubmatch(e.Text, -1) {
			for l := range strings.SplitSeq(m[1], ",") {
				l = strings.TrimSpace(l)
				require.True(t, l == "" || labels[l], "%s: no metric has a label %s: %s", e.Where, l, e.Text)
			}
		}
	}
	require.Greater(t, named, 40)
}
