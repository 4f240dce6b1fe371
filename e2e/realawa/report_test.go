package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A report can be written from a cell of before what doctor and status said, what held the ring, and the log's word on prunes were kept, and
// says what it does not show.
func TestReportOfOlderResults(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.md")
	require.NoError(t, writeReport(store("testdata"), file))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(text), "| 0.6.0a9 | 0.6.5 | new | turns | partly: 5414× old: column")
	require.Contains(t, string(text), "**0** by samples alone; 0 of 100")
	require.Contains(t, string(text), "`finish` had to be run again beside 0.6.0a9 and 0.6.5, new leads, ring turns: not finished: the counters of 2 groups became wrong when the daemons had left.")
	require.Contains(t, string(text), "- pairs-0.6.0a9-0.6.5-new-turns-1: the ring turned only 0.0 times after finish, and no error of awa's", "one failed completion excuses nothing")
	require.NotContains(t, string(text), "beside old workers, and the cell is of", "thousands of errors in both halves do")
	require.NotContains(t, string(text), "status ")
}
