package preflight

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// A check that could not look is neither good nor bad news, and a remedy is for what needs one.
func TestChecks(t *testing.T) {
	denied := errors.New("permission denied")
	var checks []Check
	for _, all := range [][]Finding{
		found("a", nil, true, "is there", "CREATE a"), found("b", nil, false, "is missing", "CREATE b"),
		found("c", denied, true, "is there", "CREATE c"), found("d", denied, false, "is missing", "CREATE d"),
	} {
		for _, f := range orRefuse(all, "run: CREATE it", "%s is missing", "it") {
			require.Equal(t, f.Name == "b", f.Refusal != nil, f.Name)
			checks = append(checks, f.check())
		}
	}
	require.Equal(t, []Check{
		{Name: "a", Verdict: Passed, Detail: "is there"},
		{Name: "b", Verdict: Failed, Detail: "is missing", Remedy: "CREATE b"},
		{Name: "c", Verdict: Unchecked, Detail: "permission denied"},
		{Name: "d", Verdict: Unchecked, Detail: "permission denied"},
	}, checks)
}
