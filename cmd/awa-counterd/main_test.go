package main

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

func run(args ...string) (code int, out, errs string) {
	var stdout, stderr bytes.Buffer
	code = execute(context.Background(), args, &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{nil, {"--help"}} {
		code, out, _ := run(args...)
		require.Zero(t, code)
		require.Contains(t, out, "Corrects awa's counters of terminal jobs")
	}
	code, out, _ := run("run", "--help")
	require.Zero(t, code)
	for _, flag := range []string{
		"database-url", "schema", "slot", "publication", "trust", "quiet-period", "max-staleness", "flush-interval",
		"checkpoint-interval", "audit-interval", "log-format", "log-level", "listen", "pprof",
	} {
		require.Contains(t, out, "--"+flag)
	}
	require.Contains(t, out, "AWA_COUNTERD_MAX_STALENESS")
}

func TestVersion(t *testing.T) {
	code, out, _ := run("version")
	require.Zero(t, code)
	require.Regexp(t, regexp.MustCompile(`^awa-counterd \S+\ncommit \S+\ngo\S+\n$`), out)
}

func TestVersionAsJSON(t *testing.T) {
	code, out, _ := run("version", "--json")
	require.Zero(t, code)
	var got map[string]string
	require.NoError(t, json.Unmarshal([]byte(out), &got))
	require.Equal(t, map[string]string{"version": version(), "commit": revision(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH}, got)
}

func TestWrongUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"unexpected argument walk":      {"walk"},
		"unknown flag --colour":         {"run", "--colour"},
		"must be one of":                {"run", "--trust", "maybe"},
		"--max-staleness=1ms is out of": {"run", "--max-staleness", "1ms"},
		"use at most a quarter":         {"run", "--flush-interval", "900ms"},
		"--pprof needs --listen":        {"run", "--pprof"},
		"has no port from 0 to 65535":   {"run", "--listen", "localhost"},
		"is no address":                 {"run", "--listen", "::1"},
	} {
		code, out, errs := run(args...)
		require.Equal(t, exitUsage, code, errs)
		require.Empty(t, out)
		require.Contains(t, errs, want)
		require.Equal(t, 1, strings.Count(errs, "\n"), "more than one line: %s", errs)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("AWA_COUNTERD_MAX_STALENESS", "1ms")
	code, _, errs := run("run")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "--max-staleness=1ms is out of range")
}

func TestConsole(t *testing.T) {
	var b bytes.Buffer
	log, err := newLogger("console", "info", &b)
	require.NoError(t, err)
	log.Debug("not this")
	log.Info("status", zap.String("lag", "58ms/0 B"), zap.Float64("rows/s", 2801.5), zap.Int("groups", 3))
	require.Regexp(t, regexp.MustCompile(`^\d\d:\d\d:\d\d\.\d{3} INFO  status lag="58ms/0 B" rows/s=2801\.5 groups=3\n$`), b.String())
}
