package monitor

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUses(t *testing.T) {
	require.Equal(t, []Use{
		{"awa_counterd_untrusted", map[string][]string{"reason": {"off", "no_marker"}, "job": {"$job"}}},
		{"awa_counterd_flush_duration_seconds", map[string][]string{}},
		{"awa_counterd_role", map[string][]string{"role": {"leading"}}},
	}, Uses(`max by (job) (awa_counterd_untrusted{reason!~"off|no_marker", job="$job"}) or rate(awa_counterd_flush_duration_seconds_bucket[5m])
		> awa_counterd:upgrade_over:timestamp_seconds and awa_counterd_role{role = "leading"}`))
	require.Empty(t, Uses(`up{job=~"awa-counterd.*"} == 0`))
}
