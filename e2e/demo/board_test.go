package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/process"
)

// fits fails for a line that a terminal of 80 columns would break.
func fits(t *testing.T, s string) {
	t.Helper()
	for line := range strings.SplitSeq(strings.ReplaceAll(s, "\x1b[H\x1b[2J", ""), "\n") {
		require.LessOrEqual(t, text.StringWidthWithoutEscSequences(line), 80, line)
	}
}

// wide is a moment with everything as long as it may come.
func wide() view {
	return view{
		at: 3599 * time.Second, of: time.Hour, set: false, alive: true,
		queues: []fleet.Sum{
			{Queue: "billing", Rows: 123_456_789, Counter: -123_456_789},
			{Queue: strings.Repeat("a-queue-with-a-long-name-", 5), Rows: 1, Counter: 2_345_678},
			{Queue: "reports"},
			{Queue: "webhooks"},
		},
		status: map[string]any{
			"corrections": 123_456_789.0, "trust": "no: commits have been streamed but not visible for 1m12.5s; does synchronous replication wait?",
			"uncounted_on": "email 123776.1/s, billing 31234.3/s, webhooks 29999.9/s and the one with the long name as well 1.0/s",
		},
		news: []string{
			"trust: marker cleared: found set, and no daemon vouches for the counters yet, which is a long line of the log as it comes",
			"session failed; starting the next one: " + strings.Repeat("x", 200), "leading", "",
		},
	}
}

func TestEveryLineFits(t *testing.T) {
	var out bytes.Buffer
	for _, live := range []bool{true, false} {
		b := &board{out: &out, live: live}
		b.tell(time.Hour, strings.Repeat("a long phase, ", 20))
		require.NoError(t, b.draw(wide()))
		require.NoError(t, b.draw(wide()))
		s := ran(newSchedule(40 * time.Second))
		require.NoError(t, b.end(&s, &fleet.Watch{Oldest: 1234567 * time.Microsecond, Dishonest: 999_999}, outcome{
			waited: 2 * time.Second, groups: 1_000_000, wrong: []fleet.Wrong{{Key: fleet.Key{Queue: strings.Repeat("q", 90)}, Rows: 1 << 40}},
			errors: map[string]int{strings.Repeat("deadlock ", 30): 3},
		}))
	}
	fits(t, out.String())
	for _, shape := range fleet.Shapes() {
		fits(t, preface(newSchedule(time.Minute), fleet.Layout{Shape: shape}, "/usr/lib/"+strings.Repeat("postgresql/", 12)+"bin"))
	}
}

func TestBoardSaysWhatItSpeaksOf(t *testing.T) {
	screen := (&board{phase: "awa-counterd starts"}).screen(wide())
	for _, part := range []string{"Now: awa-counterd starts.", "billing", "+246,913,578", "running; 123,456,789 corrections", "a scan of all rows", "does synchronous"} {
		require.Contains(t, strings.Join(strings.Fields(screen), " "), part)
	}
	v := wide()
	v.alive, v.set, v.status = false, true, nil
	screen = (&board{}).screen(v)
	require.Contains(t, screen, "not running")
	require.Contains(t, screen, "the counters, which is fast: the trust marker is set")
	require.Contains(t, preface(newSchedule(40*time.Second), fleet.Layout{Shape: fleet.Ledger}, "bin"), "awa is a job queue in PostgreSQL")
}

func TestWrap(t *testing.T) {
	require.Equal(t, "short", wrap("short", 4))
	long := wrap("  one "+strings.Repeat("word ", 30), 4)
	lines := strings.Split(long, "\n")
	require.Len(t, lines, 2)
	require.True(t, strings.HasPrefix(lines[0], "  one word"))
	require.True(t, strings.HasPrefix(lines[1], "    word"))
	require.Equal(t, 200, strings.Count(wrap(strings.Repeat("x", 200), 2), "x"), "a word that is longer than a line")
	require.Equal(t, 200, strings.Count(wrap("  "+strings.Repeat("ü", 200), 2), "ü"))
}

func TestLogNamesTheQueue(t *testing.T) {
	d := &daemon{}
	d.hear("", process.Entry{"msg": "a pre-#290 binary writes to this queue without counting", "queue": "email"})
	d.hear("", process.Entry{"msg": "trust: marker cleared", "reason": "found set"})
	d.hear("", process.Entry{"msg": "status", "corrections": 7.0})
	status, news := d.heard()
	require.Equal(t, []string{"a pre-#290 binary writes to this queue without counting (queue email)", "trust: marker cleared: found set"}, news)
	require.Equal(t, "7", corrections(status))
}
