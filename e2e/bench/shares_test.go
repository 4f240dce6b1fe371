package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What pprof prints is summed up by use, each function once.
func TestShares(t *testing.T) {
	var p played
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
	l.profile.dir = "somewhere"
	tk := &taken{Part: "drain", Origin: origin{Scale: 1, Commit: "c"}, Rounds: []played{p}}
	require.NoError(t, tk.keep(l.results))
	text, err := l.where(part{name: "drain"}, tk)
	require.NoError(t, err)
	require.Equal(t, "Where the daemon's own processor time goes in part `drain`, by its profiles: system calls 40 %, decoding 30 %, memory and its collector 10 %, "+
		"the stream's frames 10 %, statements 6 %, other 4 %.", text)
	text, err = l.where(part{name: "drain"}, &taken{Origin: origin{Scale: 1, Commit: "another"}})
	require.NoError(t, err)
	require.Empty(t, text, "another commit's")
	require.Error(t, takeShares("flat flat%\nx 1% 1% 1ms 1% f\n", &p))
}
