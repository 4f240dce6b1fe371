package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A prune that gave up at 42.300, having waited from 42.290 on.
const (
	gaveUp = `2026-11-24 15:50:42.300 UTC [77] new-first|ERROR:  canceling statement due to lock timeout
2026-11-24 15:50:42.300 UTC [77] new-first|STATEMENT:  LOCK TABLE awa.ready_entries_1, awa.done_entries_1 IN ACCESS EXCLUSIVE MODE
`
	gaveUpRows = `2026-11-24 15:50:42.300 UTC [77] new-first|ERROR:  canceling statement due to lock timeout
2026-11-24 15:50:42.300 UTC [77] new-first|STATEMENT:  DELETE FROM awa.queue_terminal_live_counts WHERE ready_slot = $1
`
)

func at(clock string) string { return "2026-11-24 15:50:" + clock + " UTC " }

// A prune gave up behind us if a look saw that, or if we were at work on its leaf, or wrote counter rows for which it waited, when it began to.
func TestBehind(t *testing.T) {
	look := time.Date(2026, 11, 24, 15, 50, 42, 295_000_000, time.UTC)
	const scan = `execute stmtcache_1: 
		with t as (select queue from awa.done_entries_1 group by 1)`
	correct := `execute stmtcache_2: insert into awa.queue_terminal_live_counts select 1`
	for name, c := range map[string]struct {
		prune string
		log   string
		seen  []blocked
		n     int
	}{
		"nobody":                       {gaveUp, "", nil, 0},
		"a scan":                       {gaveUp, at("42.320") + "[9] awa-counterd scan|LOG:  duration: 100.0 ms  " + scan, nil, 1},
		"a scan that ended just then":  {gaveUp, at("42.291") + "[9] awa-counterd scan|LOG:  duration: 3.0 ms  " + scan, nil, 1},
		"a scan of before":             {gaveUp, at("42.280") + "[9] awa-counterd scan|LOG:  duration: 100.0 ms  " + scan, nil, 0},
		"a scan that came meanwhile":   {gaveUp, at("42.320") + "[9] awa-counterd scan|LOG:  duration: 26.0 ms  " + scan, nil, 0},
		"a scan of after":              {gaveUp, at("42.320") + "[9] awa-counterd scan|LOG:  duration: 19.0 ms  " + scan, nil, 0},
		"a scan of another leaf":       {gaveUp, at("42.320") + "[9] awa-counterd scan|LOG:  duration: 100.0 ms  " + strings.Replace(scan, "_1 ", "_11 ", 1), nil, 0},
		"a scan by the parent":         {gaveUp, at("42.320") + "[9] awa-counterd scan|LOG:  duration: 100.0 ms  " + strings.Replace(scan, "_1 ", " ", 1), nil, 1},
		"a look at privileges":         {gaveUp, at("42.320") + "[9] awa-counterd control|LOG:  duration: 100.0 ms  execute stmtcache_3: select has_column_privilege($1::text, 'awa.done_entries', 'queue', 'SELECT') and\n\thas_table_privilege($1::text,\n'awa.done_entries_1', 'SELECT')", nil, 0},
		"a look at the catalog":        {gaveUp, at("42.320") + "[9] awa-counterd control|LOG:  duration: 100.0 ms  execute stmtcache_3: select sum(c.reltuples) from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'awa.done_entries'::regclass", nil, 0},
		"privileges, and then a scan":  {gaveUp, at("42.320") + "[9] awa-counterd control|LOG:  duration: 100.0 ms  execute stmtcache_3: select has_table_privilege($1::text, 'awa.done_entries_1', 'SELECT') from awa.done_entries_1", nil, 1},
		"somebody else's":              {gaveUp, at("42.320") + "[9] new-last|LOG:  duration: 100.0 ms  " + scan, nil, 0},
		"a correction, and a leaf":     {gaveUp, at("42.320") + "[9] awa-counterd corrections|LOG:  duration: 100.0 ms  " + correct, nil, 0},
		"a correction":                 {gaveUpRows, at("42.320") + "[9] awa-counterd corrections|LOG:  duration: 100.0 ms  " + correct, nil, 1},
		"a reader, and counter rows":   {gaveUpRows, at("42.320") + "[9] awa-counterd scan|LOG:  duration: 100.0 ms  " + strings.Replace(correct, "insert into", "select from", 1), nil, 0},
		"a scan that failed":           {gaveUp, at("42.600") + "[9] awa-counterd scan|ERROR:  canceling statement due to lock timeout\n" + at("42.600") + "[9] awa-counterd scan|STATEMENT:  " + scan[len("execute stmtcache_1: "):], nil, 1},
		"between two of a transaction": {gaveUp, at("42.100") + "[9] awa-counterd finish|LOG:  duration: 1.0 ms  statement: BEGIN\n" + at("42.110") + "[9] awa-counterd finish|LOG:  duration: 1.0 ms  " + scan + "\n" + at("42.400") + "[9] awa-counterd finish|LOG:  duration: 1.0 ms  statement: COMMIT", nil, 1},
		"after a transaction":          {gaveUp, at("42.100") + "[9] awa-counterd finish|LOG:  duration: 1.0 ms  statement: BEGIN\n" + at("42.110") + "[9] awa-counterd finish|LOG:  duration: 1.0 ms  " + scan + "\n" + at("42.112") + "[9] awa-counterd finish|LOG:  duration: 1.0 ms  statement: COMMIT\n" + at("42.400") + "[9] awa-counterd finish|LOG:  duration: 1.0 ms  statement: select 1", nil, 0},
		"right after a scan":           {gaveUp, at("42.280") + "[9] awa-counterd scan|3/7|LOG:  duration: 1.0 ms  " + scan + "\n" + at("42.300") + "[9] awa-counterd scan|3/8|LOG:  duration: 16.0 ms  execute <unnamed>: select 1", nil, 0},
		"in the transaction of a scan": {gaveUp, at("42.280") + "[9] awa-counterd scan|3/7|LOG:  duration: 1.0 ms  " + scan + "\n" + at("42.300") + "[9] awa-counterd scan|3/7|LOG:  duration: 16.0 ms  execute <unnamed>: select 1", nil, 1},
		"after its end":                {gaveUp, at("42.270") + "[9] awa-counterd scan|3/7|LOG:  duration: 1.0 ms  statement: begin\n" + at("42.275") + "[9] awa-counterd scan|3/7|LOG:  duration: 1.0 ms  " + scan + "\n" + at("42.276") + "[9] awa-counterd scan|3/0|LOG:  duration: 1.0 ms  statement: commit\n" + at("42.300") + "[9] awa-counterd scan|3/8|LOG:  duration: 22.0 ms  execute <unnamed>: select 1", nil, 0},
		"before its end":               {gaveUp, at("42.270") + "[9] awa-counterd scan|3/7|LOG:  duration: 1.0 ms  statement: begin\n" + at("42.275") + "[9] awa-counterd scan|3/7|LOG:  duration: 1.0 ms  " + scan + "\n" + at("42.290") + "[9] awa-counterd scan|3/0|LOG:  duration: 1.0 ms  statement: commit", nil, 1},
		"a look":                       {gaveUp, "", []blocked{{look, 77, "new-first"}}, 1},
		"a look at another":            {gaveUp, "", []blocked{{look, 78, "new-first"}, {look.Add(-time.Second), 77, "new-first"}}, 0},
	} {
		log := c.prune + c.log + "\n"
		require.Equal(t, c.n, behind(c.seen, statements(log, ourSessions), readLog(log), 10*time.Millisecond), name)
	}
	old := strings.ReplaceAll(gaveUp, "new-first", "old-first")
	require.Zero(t, behind(nil, []spell{{noon.AddDate(-1, 0, 0), noon.AddDate(1, 0, 0), "done_entries_1"}}, readLog(old), time.Millisecond), "an old leader's")
}

func TestLogStatements(t *testing.T) {
	u, err := logStatements("postgres://postgres@127.0.0.1:5/postgres?sslmode=disable")
	require.NoError(t, err)
	require.Equal(t, "postgres://postgres@127.0.0.1:5/postgres?options=-c%20log_min_duration_statement%3D0%20-c%20log_parameter_max_length%3D0&sslmode=disable", u)
}
