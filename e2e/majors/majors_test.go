package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What go test -json says becomes counts, reasons and names.
func TestEventsAreCounted(t *testing.T) {
	events, err := os.Open("testdata/events.json")
	require.NoError(t, err)
	defer func() { _ = events.Close() }()
	var all tests
	var log strings.Builder
	require.NoError(t, all.read(events, &log))
	require.Equal(t, tests{
		Passed: 2, Failed: 1,
		Skips:    map[string]string{"TestSkipped": "no psql on this machine", "TestParts/second": "not on 14"},
		Failures: []string{"TestBad/inner", "TestBad", "example/broken"},
	}, all)
	require.Equal(t, 1, all.skipped())
	require.Equal(t, 4, all.run())
	require.Contains(t, log.String(), "b_test.go:9: it is wrong")
	require.Contains(t, log.String(), "# example/broken", "what the compiler says")
}

func TestFiguresOfChaos(t *testing.T) {
	c := figures(`
| measured | |
|---|---|
| daemons killed with SIGKILL | 50 |
| samples in one snapshot each; trusted | 9,445; 4,553 |
| trusted samples with a drift older than 2s | **0** |
| groups wrong then | **1**; all right 200ms after the writers' end at the latest |

| fault | times |
|---|---|
| slot dropped | 2 |
| leader killed | 6 |
`)
	require.Equal(t, &chaos{Kills: "50", Trusted: "4,553", Dishonest: "0", Wrong: "1", Faults: 8}, c)
	require.Equal(t, "no leader", figures("chaos: FAILED: no leader\n").Failed)
}

func TestReport(t *testing.T) {
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	good := &result{
		Major: "14", Server: "14.18", Command: "make matrix", Commit: "abc", At: at, SuiteTook: time.Minute, ChaosTook: time.Second,
		Tests: tests{Passed: 7, Skips: map[string]string{"TestVersions": "the suite runs on PostgreSQL 14"}}, Chaos: &chaos{Kills: "5", Trusted: "9", Dishonest: "0", Wrong: "0", Faults: 3},
	}
	bad := &result{
		Major: "17", Server: "17.5", Command: "go run ./e2e/majors -run 'A|B'", Commit: "abc", At: at,
		Tests: tests{Failed: 1, Failures: []string{"TestBad"}, Skips: map[string]string{"TestVersions": "the suite runs on PostgreSQL 17"}},
	}
	require.True(t, good.green())
	require.False(t, bad.green())
	require.False(t, (&result{}).green(), "nothing ran")
	all := &options{packages: "./e2e/...", chaos: true, seed: 4}
	part := &options{packages: "./e2e/...", chaos: true, seed: 4, run: "A|B"}
	require.True(t, all.keeps(good) && part.keeps(good))
	good.Command = part.command()
	require.False(t, all.keeps(good), "a part is not all")
	require.True(t, part.keeps(good))
	require.False(t, part.keeps(bad), "it failed")
	part.again = true
	require.False(t, part.keeps(good))
	good.Command = whole
	text := document([]*result{good, bad})
	require.Contains(t, text, "| 14.18 | 8 | 7 | 1 | **0** | 1m0s | 3 faults, 5 kills, 9 trusted samples of which 0 lied, 0 groups wrong | 1s | 2026-11-26, abc |")
	require.Contains(t, text, "| 17.5 | 2 | 0 | 1 | **1** | 0s | not run |  | 2026-11-26, abc |")
	require.Contains(t, text, "**A part only**, on 17: `go run ./e2e/majors -run 'A|B'`.")
	require.Contains(t, text, "**Not run**: 15, 16, 18.")
	require.Contains(t, text, "- 17: `TestBad`")
	require.Contains(t, text, "| `TestVersions` | 14, 17 | the suite runs on PostgreSQL … |")
}
