package process

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A shell in the daemon's place: its standard error is the log.
func start(t *testing.T, script string, hear func(string, Entry), environ ...string) *Daemon {
	t.Helper()
	d, err := Start("/bin/sh", environ, []string{"-c", script}, hear)
	require.NoError(t, err)
	t.Cleanup(d.Kill)
	return d
}

// What the process said last is heard before Done says that it has ended, in order, and without being changed.
func TestEverythingIsHeard(t *testing.T) {
	var said Ledger
	var lines []string
	d := start(t, `echo "$FIRST" >&2; echo '{"msg":"leading","reason":"why","ts":"2026-11-27T01:02:03.5Z"}' >&2; echo not in the log; exit 3`,
		func(line string, e Entry) { lines = append(lines, line); said.Hear(line, e) }, "FIRST=panic: no JSON")
	<-d.Done()
	require.Equal(t, 3, d.ExitCode())
	require.Equal(t, []string{"panic: no JSON", `{"msg":"leading","reason":"why","ts":"2026-11-27T01:02:03.5Z"}`}, lines)
	entries, mark := said.Said(0)
	require.Len(t, entries, 2)
	require.Equal(t, "panic: no JSON", entries[0].Text(), "a line that is no entry is its own message")
	require.True(t, entries[0].At().IsZero())
	require.Equal(t, "leading: why", entries[1].Text())
	require.Equal(t, time.Date(2026, 11, 27, 1, 2, 3, 500_000_000, time.UTC), entries[1].At())
	peak, _ := d.Usage()
	require.Positive(t, peak)

	said.Hear("", Entry{"msg": "later"})
	entries, mark = said.Said(mark)
	require.Equal(t, []Entry{{"msg": "later"}}, entries, "only what came after the mark")
	entries, _ = said.Said(mark)
	require.Empty(t, entries)
}

// A long line of the log, such as a status with many queues, is one line.
func TestLongLines(t *testing.T) {
	var got int
	d := start(t, `head -c 500000 /dev/zero | tr '\0' x >&2; echo >&2`, func(line string, _ Entry) { got = strings.Count(line, "x") })
	<-d.Done()
	require.Equal(t, 500_000, got)
}

// A signal arrives, and may be handled; Kill may not, and waits for the end.
func TestSignalsAndKill(t *testing.T) {
	ready, heard := make(chan struct{}), make(chan string, 1)
	d := start(t, `mkfifo "$PIPE"; trap 'echo asked >&2' TERM; echo ready >&2; while :; do read -r _ <>"$PIPE" || :; done`, func(line string, _ Entry) {
		if line == "ready" {
			close(ready)
			return
		}
		heard <- line
	}, "PIPE="+filepath.Join(t.TempDir(), "pipe"))
	<-ready
	d.Signal(syscall.SIGTERM)
	require.Equal(t, "asked", <-heard)
	d.Kill()
	select {
	case <-d.Done():
	default:
		t.Fatal("Kill came back before the process had ended")
	}
	require.Equal(t, -1, d.ExitCode(), "ended by a signal")
	d.Signal(syscall.SIGTERM) // to a process that has ended: nothing happens
}

func TestNoSuchBinary(t *testing.T) {
	_, err := Start("/no/such/daemon", nil, nil, func(string, Entry) {})
	require.ErrorContains(t, err, "start /no/such/daemon")
}
