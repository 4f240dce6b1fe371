package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/preflight"
	"github.com/awa-counterd/awa-counterd/internal/status"
	"github.com/awa-counterd/awa-counterd/reconcile"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with testdata/name; the files are what people and programs read.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func someReport() *reconcileReport {
	r := &reconcileReport{Schema: "awa", Mode: "correct", Started: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), Seconds: 1.25, Left: 1}
	r.fill(reconcile.Result{
		Leaves: 16, Groups: 187, Rows: 20_000, Corrected: 2, Locked: []counter.Group{{}},
		Drifts: []reconcile.Drift{
			{Group: counter.Group{Slot: 3, Queue: "email", Priority: 1}, Rows: 120, Counter: 20},
			{Group: counter.Group{Slot: 4, Queue: "it's \"quoted\"", Priority: 2, Shard: 1}, Rows: 0, Counter: 7},
		},
	})
	r.Next = r.next(&awa.Layout{HasMarker: true})
	return r
}

func TestGoldenReconcile(t *testing.T) {
	for name, asJSON := range map[string]bool{"reconcile.txt": false, "reconcile.json": true} {
		var b bytes.Buffer
		require.NoError(t, someReport().print(&b, asJSON))
		golden(t, name, b.String())
	}
}

func someStatus() *status.Status {
	f := func(v float64) *float64 { return &v }
	return &status.Status{
		Schema: "awa", Position: "0/1C76450", Persisted: f(0.1), Fresh: true, Audit: f(95), Observed: 3600, MarkerSet: true, MarkerAge: f(1800),
		Leader:   &status.Leader{Host: "db1", PID: 4711, Version: "v0.1.0", Heartbeat: 0.2, Alive: true, State: "trusted"},
		Slot:     &status.Slot{Name: "awa_counterd_app_awa_1a2b3c4d", Active: true, Status: "reserved", Retained: 3 << 20, Lag: 4096, CatalogAge: 1234},
		Queues:   []status.Queue{{Queue: "billing", Rows: 3994, Counter: 3994}, {Queue: "email", Rows: 1397, Counter: 1385, Drift: 12}},
		OldPrune: f(12), OwnRows: 48,
		Uncounted: []status.Uncounted{{Queue: "email", Kind: "rows", Rows: 88_120, Transactions: 901, PerSecond: 41.5, Last: 3.2, LastLSN: "0/1C76400"}, {Queue: "email", Kind: "prune", Rows: 310, Transactions: 7, Last: 12, LastLSN: "0/1C76000"}, {Queue: "billing", Kind: "counter", Rows: 2, Transactions: 1, Last: 600, LastLSN: "0/1C00000"}, {Queue: "gone", Kind: "rows", Rows: 5, Transactions: 1, Last: 7300, LastLSN: "0/10"}},
		Runtimes:  []status.Runtime{{Version: "0.6.0-beta.1", Live: 2, Old: true}, {Version: "0.6.0-beta.2", Live: 6}},
		Changes: []checkpoint.MarkerChange{
			{Set: true, Ago: 1800, Lasted: 1800, Who: "db1 pid 4711"},
			{Ago: 1812, Lasted: 12, Reason: "the stream is 1.1s behind", Who: "db1 pid 4711"},
			{Set: true, Ago: 9000, Lasted: 7188, Who: "db1 pid 4711"},
			{Ago: 9060, Lasted: 60, Reason: "found set, and no daemon vouches for the counters yet", Who: "db1 pid 4711"},
			{Set: true, Ago: 90_000, Lasted: 80_940, Who: "db2 pid 99"},
			{Ago: 90_100, Lasted: 100, Reason: "cleared by somebody else"},
		},
		Forgotten: &pg.Forgotten{PID: 815, Application: "psql", Age: 50_400},
		Known:     true, Installed: true, Next: "pre-#290 writers still active on queue email; last 3.2 s ago",
	}
}

func TestGoldenStatus(t *testing.T) {
	var text strings.Builder
	renderStatus(&text, someStatus())
	golden(t, "status.txt", text.String())
	var b bytes.Buffer
	require.NoError(t, encode(&b, someStatus()))
	golden(t, "status.json", b.String())
	text.Reset()
	renderStatus(&text, &status.Status{Schema: "awa", OwnRows: 48, Next: "awa-counterd has never run here, or was removed: start awa-counterd run; awa-counterd reconcile --trust ends an upgrade without a daemon"})
	golden(t, "status_never.txt", text.String())
}

func TestGoldenDoctor(t *testing.T) {
	checks := []preflight.Check{
		{Name: "server version", Verdict: preflight.Passed, Detail: "PostgreSQL 15.18"},
		{Name: "wal_level", Verdict: preflight.Failed, Detail: "wal_level is replica", Remedy: "ALTER SYSTEM SET wal_level = 'logical' and restart the server"},
		{Name: "prepared transactions", Verdict: preflight.Unchecked, Detail: "permission denied"},
	}
	found := &findingsError{failed: 1, unchecked: 1}
	golden(t, "doctor.txt", renderChecks(checks, found))
	require.Equal(t, exitDrift, found.exit())
	require.Equal(t, exitFailed, (&findingsError{unchecked: 1}).exit())
}

func TestGoldenHelp(t *testing.T) {
	_, out, _ := run("--help")
	golden(t, "help.txt", out)
}

// Every wrong flag and hostile value is one line, exit code 2, and nothing is connected to.
func TestHostileValues(t *testing.T) {
	for _, args := range [][]string{
		{"reconcile", "--check", "--trust"},
		{"reconcile", "--observe", "1ms"},
		{"status", "--schema", `awa"; drop table x; --`},
		{"doctor", "--schema", "Ünïcode"},
		{"teardown", "--slot", "x'); drop table y; --"},
		{"setup", "--colour"},
		{"finish", "--timeout", "0s"},
		{"distrust", "surplus"},
		{"status", "--database-url", "postgres://u:hunter2@h:port/d"},
	} {
		code, out, errs := run(args...)
		require.Equal(t, exitUsage, code, "%v: %s", args, errs)
		require.Empty(t, out)
		require.Equal(t, 1, strings.Count(errs, "\n"), errs)
		require.NotContains(t, errs, "hunter2")
	}
}
