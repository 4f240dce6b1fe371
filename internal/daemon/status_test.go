package daemon

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
)

// A day of calm has a line a minute; what is wrong has one every ten seconds, at once, and one more when it has ended.
func TestStatusLinesAreDue(t *testing.T) {
	const every = 10 * time.Second
	began := time.Now()
	var status ticker
	var lines []int // ticks at which one was written
	run := func(from, to int, calm bool) []int {
		lines = nil
		for tick := from; tick < to; tick++ {
			now := began.Add(time.Duration(tick)*every + time.Duration(tick%3)*time.Millisecond) // late by as much as a ticker is
			if status.due(now, every, calm) {
				lines, status.at = append(lines, tick), now
			}
		}
		return lines
	}
	require.Equal(t, []int{0, 1, 2}, run(0, 3, false), "each tick while something is wrong")
	require.Equal(t, []int{3, 9, 15}, run(3, 20, true), "one when that has ended, then one a minute")
	require.Equal(t, []int{20, 21}, run(20, 22, false), "the next tick, not the next minute")
	require.Len(t, run(22, 22+24*60*6, true), 24*60)
}

// Whatever a person would want to see at once ends the calm.
func TestIsCalm(t *testing.T) {
	well := applier.Status{MarkerSet: true, Settled: 4, Units: 4, Lag: 40 * time.Millisecond, UncountedRows: 70}
	well.Corrections, well.AuditMismatches, well.PruneMismatches = 9, 2, 1
	calm := func(change func(s *session, st *applier.Status)) bool {
		s, st := &session{}, well
		s.d = &Daemon{opts: Options{MaxStaleness: 2 * time.Second}}
		change(s, &st)
		return s.isCalm(&st, &well)
	}
	for name, change := range map[string]func(s *session, st *applier.Status){
		"nothing": func(*session, *applier.Status) {},
		"rows that are counted": func(_ *session, st *applier.Status) {
			st.Rows, st.Transactions, st.Flushes = 1000, 100, 10
		},
		"trust is off": func(_ *session, st *applier.Status) {
			st.MarkerSet, st.Reason, st.Doubt = false, "trust is off", applier.DoubtOff
		},
		"no marker": func(_ *session, st *applier.Status) {
			st.MarkerSet, st.Reason, st.Doubt = false, "this awa has no trust marker", applier.DoubtNoMarker
		},
		"a dry run, and what it left": func(s *session, st *applier.Status) {
			st.MarkerSet, st.Doubt, st.Drift, s.d.opts.DryRun = false, applier.DoubtDryRun, 7, true
		},
	} {
		require.True(t, calm(change), name)
	}
	for name, change := range map[string]func(s *session, st *applier.Status){
		"a doubt": func(_ *session, st *applier.Status) {
			st.Reason, st.Doubt = "the stream is 2s behind", applier.DoubtLag
		},
		"a marker to be set":   func(_ *session, st *applier.Status) { st.MarkerSet = false },
		"an uncounted write":   func(_ *session, st *applier.Status) { st.UncountedRows++ },
		"a correction":         func(_ *session, st *applier.Status) { st.Corrections++ },
		"a drift":              func(_ *session, st *applier.Status) { st.Drift = 1 },
		"an audit that failed": func(_ *session, st *applier.Status) { st.AuditMismatches++ },
		"a prune that is off":  func(_ *session, st *applier.Status) { st.PruneMismatches++ },
		"half the lag that may be": func(_ *session, st *applier.Status) {
			st.Lag = time.Second + time.Millisecond
		},
		"a scan under way":    func(_ *session, st *applier.Status) { st.Settled = 3 },
		"WAL that is kept":    func(s *session, _ *applier.Status) { s.guarded = true },
		"finish is at work":   func(s *session, _ *applier.Status) { s.holding = true },
		"the daemon stops":    func(_ *session, st *applier.Status) { st.Stopping = true },
		"off, and it is late": func(_ *session, st *applier.Status) { st.Doubt, st.Lag = applier.DoubtOff, time.Hour },
		"a dry run that hears of an uncounted write": func(s *session, st *applier.Status) {
			st.Doubt, s.d.opts.DryRun = applier.DoubtDryRun, true
			st.UncountedRows++
		},
	} {
		require.False(t, calm(change), name)
	}
}
