package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What pprof prints is summed up by use, each function once.
func TestShares(t *testing.T) {
	var p roundResult
	require.NoError(t, takeShares(`File: awa-counterd
Type: cpu
Showing nodes accounting for 100ms, 100% of 100ms total
      flat  flat%   sum%        cum   cum%
      40ms 40.00% 40.00%       40ms 40.00%  internal/runtime/syscall.Syscall6
      30ms 30.00% 70.00%       35ms 35.00%  github.com/awa-counterd/awa-counterd/decoder.(*Decoder).row
      10ms 10.00% 80.00%       10ms 10.00%  runtime.mallocgc
      10ms 10.00% 90.00%       10ms 10.00%  github.com/jackc/pgx/v5/pgproto3.(*Frontend).Receive
       6ms  6.00% 96.00%        6ms  6.00%  github.com/jackc/pgx/v5/pgconn.(*PgConn).peekMessage
       4ms  4.00%   100%        4ms  4.00%  strconv.Itoa
         0     0%   100%      100ms   100%  main.main
`, &p))
	l := &lab{results: t.TempDir(), scale: 1}
	l.profile = &profiler{dir: "somewhere"}
	tk := &taken{Part: "drain", Origin: origin{Scale: 1, Binary: "c"}, Rounds: []roundResult{p}}
	require.NoError(t, tk.keep(l.results))
	text, err := l.where(part{name: "drain"}, tk)
	require.NoError(t, err)
	require.Equal(t, "Where the daemon's own processor time goes in part `drain`, by its profiles: system calls 40 %, decoding 30 %, memory and its collector 10 %, "+
		"the stream's frames 10 %, statements 6 %, other 4 %.", text)
	text, err = l.where(part{name: "drain"}, &taken{Origin: origin{Scale: 1, Binary: "another"}})
	require.NoError(t, err)
	require.Empty(t, text, "another commit's")

	// Beside figures without profiles both are shown, this binary's and the one of before.
	l = &lab{results: t.TempDir(), scale: 1}
	tk.Rounds = tk.Rounds[:1]
	require.NoError(t, tk.keep(filepath.Join(l.results, profiledResults)))
	older := &taken{Part: "drain", Origin: origin{Scale: 1, Commit: "old"}, Rounds: []roundResult{{Figures: []figure{{"", theDaemon, shareOf + "decoding", 80}}}}}
	require.NoError(t, older.keep(filepath.Join(l.results, olderResults)))
	text, err = l.where(part{name: "drain"}, tk)
	require.NoError(t, err)
	require.Contains(t, text, "other 4 %.\nBefore, at commit old: decoding 80 %.")
	require.Error(t, takeShares("flat flat%\nx 1% 1% 1ms 1% f\n", &p))
}

// With -profiles each part is measured once more with this binary, and once with the older one; a part without a daemon is not, and what the
// older binary cannot do holds nothing up.
func TestProfilesBesides(t *testing.T) {
	l, _, _ := fixture(t)
	old := filepath.Join(t.TempDir(), "old")
	require.NoError(t, os.WriteFile(old, []byte("#!/bin/sh\necho awa-counterd x; echo commit 0123456789\n"), 0o700))
	var at []string
	p := part{name: "drain", rounds: 3, begin: func(_ context.Context, b *bed) (round, error) {
		require.NotNil(t, b.profile)
		require.Equal(t, []string{"--pprof"}, b.profile.arguments(nil)[1:])
		at = append(at, filepath.Base(b.results)+" "+filepath.Base(b.daemon)+" "+b.commit)
		if b.commit != "" {
			return nil, os.ErrInvalid
		}
		return func(context.Context, int, *roundResult) error { return nil }, nil
	}}
	dir := t.TempDir()
	left := filepath.Join(dir, "drain-9.pprof") // of an earlier run
	require.NoError(t, os.WriteFile(left, nil, 0o600))
	o := orders{rounds: -1, profiles: dir, older: old}
	require.NoError(t, o.profileAll(t.Context(), l, []part{p, {name: "reader", still: true}}))
	require.Equal(t, []string{"profiled daemon ", "profiled-before old 0123456"}, at)
	require.NoFileExists(t, left)
	require.Nil(t, l.profile)
	require.NoError(t, orders{rounds: -1}.profileAll(t.Context(), l, []part{p}))
	require.Len(t, at, 2)
}
