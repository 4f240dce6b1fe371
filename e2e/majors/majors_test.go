package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
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
	chaos := good.Chaos
	good.Chaos, good.Command = nil, whole
	now := &result{Command: whole, Commit: "abc", Server: "14.18"}
	require.False(t, all.keeps(good), "its chaos run was broken off")
	require.True(t, all.resumes(good, now))
	require.False(t, all.resumes(bad, now), "it failed")
	require.False(t, all.resumes(good, &result{Command: whole, Commit: "abd", Server: "14.18"}), "another commit")
	good.Chaos, good.Command = chaos, part.command()
	require.False(t, all.resumes(good, now), "nothing is missing")
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

// A major that cannot be tried keeps neither the next from being run nor the report from being written; an interrupt does both.
func TestOneMajorCannotBeTried(t *testing.T) {
	dir := t.TempDir()
	o := &options{majors: []string{"14", "15", "16"}, packages: "./e2e/...", chaos: true, seed: 4, results: dir, report: filepath.Join(dir, "postgres.md")}
	ctx, cancel := context.WithCancel(t.Context())
	var tried []string
	one := func(_ context.Context, major string) (*result, error) {
		tried = append(tried, major)
		if major == "14" {
			return nil, errors.New("it cannot be had")
		}
		r := &result{Major: major, Server: major + ".1", Command: whole, Commit: "abc", Tests: tests{Passed: 1}, Chaos: &chaos{Kills: "1"}}
		return r, o.save(r)
	}
	require.EqualError(t, o.runAll(ctx, one), "PostgreSQL 14: it cannot be had")
	require.Equal(t, []string{"14", "15", "16"}, tried)
	text, err := os.ReadFile(o.report)
	require.NoError(t, err)
	require.Contains(t, string(text), "**Not run**: 14, 17, 18.")

	cancel()
	tried, o.report = nil, filepath.Join(dir, "another.md")
	require.ErrorIs(t, o.runAll(ctx, one), context.Canceled)
	require.Equal(t, []string{"14"}, tried)
	require.NoFileExists(t, o.report)
}
