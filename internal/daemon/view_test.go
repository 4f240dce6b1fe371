package daemon

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

type noMeter struct{}

func (noMeter) Flushed(time.Duration)   {}
func (noMeter) Corrected(time.Duration) {}
func (noMeter) Scanned(time.Duration)   {}
func (noMeter) Stale(time.Duration)     {}

// written is a status with these uncounted rows, each in a transaction of its own.
func written(at time.Time, rows map[string]int64) applier.Status {
	st := applier.Status{Uncounted: make(map[applier.Source]applier.Uncounted)}
	for q, n := range rows {
		st.Uncounted[applier.Source{Queue: q, Kind: applier.KindRows}] = applier.Uncounted{Rows: n, Transactions: n, LastAt: at}
	}
	return st
}

func (w *views) hear(now time.Time, st applier.Status, drifts map[string]int64) {
	w.updateQueues(now, st, drifts)
	w.status = st
}

func (w *views) count(name string) Count {
	for _, q := range append(w.next.Queues, w.next.Rest) {
		if q.Name == name {
			return q.Uncounted[applier.KindRows]
		}
	}
	return Count{-1, -1}
}

// What a checkpoint brought along is not counted again, and what the Core forgets and finds again is.
func TestViewCountsFromItsOwnStart(t *testing.T) {
	now := time.Now()
	var w views
	w.begin(now)
	old := written(now.Add(-48*time.Hour), map[string]int64{"old": 500})
	late := written(now.Add(-time.Hour), map[string]int64{"late": 70})
	maps.Copy(old.Uncounted, late.Uncounted)
	w.adoptCheckpoint("awa", &old, false)
	w.hear(now, old, nil)
	require.Equal(t, Count{-1, -1}, w.count("old"), "too long ago to be told")
	require.Equal(t, Count{}, w.count("late"), "told, and not counted again")
	w.hear(now, written(now, map[string]int64{"old": 510, "late": 70, "new": 3}), nil)
	require.Equal(t, Count{10, 10}, w.count("old"))
	require.Equal(t, Count{3, 3}, w.count("new"))
	w.hear(now, written(now, map[string]int64{"late": 71}), nil) // the others were forgotten
	w.hear(now, written(now, map[string]int64{"old": 2, "late": 71}), nil)
	require.Equal(t, Count{12, 12}, w.count("old"))
	require.Equal(t, Count{1, 1}, w.count("late"))
}

// A session that resumes is streamed once more what came after the checkpoint, and that is counted once.
func TestViewCountsOnceWhatIsStreamedTwice(t *testing.T) {
	now := time.Now()
	d := New(Options{Meter: noMeter{}, MaxStaleness: 2 * time.Second})
	w := &d.views
	lead := func(resumes bool, schema string, checkpoint map[string]int64) {
		d.show(Failing, "x")
		s := looked(t, 0, 0)
		s.d, s.resumes, s.layout = d, resumes, &awa.Layout{Schema: awa.Schema(schema)}
		core, err := applier.New(applier.Config{Leaves: []int32{0}, MaxStaleness: 2 * time.Second}, applier.Start{Resumes: resumes, Uncounted: written(now, checkpoint).Uncounted}, now)
		require.NoError(t, err)
		s.core = core
		s.showLead(now)
	}
	lead(true, "awa", map[string]int64{"a": 100})
	w.hear(now, written(now, map[string]int64{"a": 130, "b": 7}), nil)
	require.Equal(t, Count{30, 30}, w.count("a"))
	require.Equal(t, Count{7, 7}, w.count("b"))

	lead(true, "awa", map[string]int64{"a": 110}) // the checkpoint was written in between
	require.Equal(t, Count{30, 30}, w.count("a"))
	w.hear(now, written(now, map[string]int64{"a": 120, "b": 3}), nil)
	require.Equal(t, Count{30, 30}, w.count("a"), "streamed again")
	lead(true, "awa", map[string]int64{"a": 110}) // and once more, before all of it had come
	w.hear(now, written(now, map[string]int64{"a": 131, "b": 9}), nil)
	require.Equal(t, Count{31, 31}, w.count("a"))
	require.Equal(t, Count{9, 9}, w.count("b"))

	lead(false, "awa", map[string]int64{"a": 110}) // scanned afresh: nothing is streamed again
	w.hear(now, written(now, map[string]int64{"a": 115, "b": 1}), nil)
	require.Equal(t, Count{36, 36}, w.count("a"))
	require.Equal(t, Count{10, 10}, w.count("b"))
	lead(true, "other", map[string]int64{"a": 2})
	w.hear(now, written(now, map[string]int64{"a": 3}), nil)
	require.Equal(t, Count{37, 37}, w.count("a"), "of another schema")
}

// The end of a session that nobody intended is said before anything else is done about it.
func TestViewOfTheEnd(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Phase
	}{
		{errors.New("connection reset"), Failing},
		{fmt.Errorf("%w (x)", errMigrated), Waiting},
		{errStopped, Leading},
		{errLeadRequested, Leading},
		{errRemoved, Leading},
	} {
		s := looked(t, 3, 1)
		s.showLead(time.Now())
		s.showEnd(time.Now(), c.err)
		v := s.d.View()
		require.Equal(t, c.want, v.Phase, c.err)
		require.Equal(t, c.want == Leading, v.Status != nil)
		require.EqualValues(t, 1, v.Sessions)
		if c.want != Leading {
			require.Equal(t, c.err.Error(), v.Detail)
		}
	}
}

// Queues are told apart up to a bound, keep their places, and lose nothing: the rest is a sum.
func TestViewBoundsQueues(t *testing.T) {
	now := time.Now()
	var w views
	w.begin(now)
	rows := make(map[string]int64)
	for round := range 5 {
		for i := range 40 {
			rows[fmt.Sprintf("q%d-%d", round, i)] += 2
		}
		rows[Others], rows[strings.Repeat("é", 200)] = 7, 1
		var before []string
		for _, q := range w.next.Queues {
			before = append(before, q.Name)
		}
		w.hear(now, written(now, rows), map[string]int64{"q0-0": 4, fmt.Sprintf("q%d-39", round): 9, Others: 1})
		for i, name := range before {
			require.Equal(t, name, w.next.Queues[i].Name)
		}
	}
	require.Len(t, w.next.Queues, MaxQueues)
	sum, drift, want := w.next.Rest.Uncounted[applier.KindRows].Rows, w.next.Rest.Drift, int64(0)
	for _, q := range w.next.Queues {
		require.NotEqual(t, Others, q.Name)
		require.True(t, utf8.ValidString(q.Name))
		require.LessOrEqual(t, len(q.Name), longestLabel+len("…"))
		sum, drift = sum+q.Uncounted[applier.KindRows].Rows, drift+q.Drift
	}
	for _, n := range rows {
		want += n
	}
	require.Equal(t, want, sum)
	require.EqualValues(t, 14, drift)
}

// A view that was published is never changed.
func TestViewsAreNeverChanged(t *testing.T) {
	d := New(Options{Meter: noMeter{}})
	now := time.Now()
	d.views.hear(now, written(now, map[string]int64{"q": 1}), map[string]int64{"q": 5})
	d.views.publish(now)
	v := d.View()
	d.views.hear(now, written(now, map[string]int64{"q": 9, "r": 1}), map[string]int64{"q": 7})
	d.show(Failing, "x")
	require.Equal(t, Starting, v.Phase)
	require.Len(t, v.Queues, 1)
	require.EqualValues(t, 5, v.Queues[0].Drift)
	require.Equal(t, Count{1, 1}, v.Queues[0].Uncounted[applier.KindRows])
	v = d.View()
	require.Equal(t, Failing, v.Phase)
	require.Zero(t, v.Queues[0].Drift, "nobody knows any more")
	require.Equal(t, Count{9, 9}, v.Queues[0].Uncounted[applier.KindRows])
	d.showStandby("awa", checkpoint.Leader{Instance: "a", Host: "db1"})
	require.Equal(t, Standby, d.View().Phase)
	require.Equal(t, "db1", d.View().Leader.Host)
	since := d.View().Since
	d.showStandby("awa", checkpoint.Leader{Instance: "b"})
	require.Equal(t, since, d.View().Since)
}

// Where nobody looks there is nothing to be done.
func TestNobodyLooks(t *testing.T) {
	d := New(Options{})
	before := d.View()
	d.show(Failing, errors.New("x").Error())
	d.showStandby("awa", checkpoint.Leader{})
	s := &session{}
	s.d = d
	s.showLead(time.Now())
	s.showTrust(time.Now())
	s.meter(time.Now(), applier.WriteResult{Written: 1}, time.Second)
	require.Same(t, before, d.View())
	require.Zero(t, testing.AllocsPerRun(100, func() { d.show(Failing, "x"); s.showLead(time.Time{}); s.showTrust(time.Time{}) }))
	looks, end := (&loop{session: s}).looks()
	defer end()
	require.Nil(t, looks)
}

// A loop that hangs publishes nothing; the lag grows all the same.
func TestLagGrowsWithoutViews(t *testing.T) {
	now := time.Now()
	v := View{At: now, Due: time.Second, Phase: Leading, Status: &applier.Status{Lag: 100 * time.Millisecond}}
	require.Equal(t, 100*time.Millisecond, v.Lag(now.Add(time.Second)))
	require.Equal(t, 3100*time.Millisecond, v.Lag(now.Add(4*time.Second)))
	require.Zero(t, (&View{At: now}).Overdue(now.Add(time.Hour)), "between two sessions nothing is due")
}

func TestLabel(t *testing.T) {
	require.Equal(t, "größe", Label("größe"))
	require.Equal(t, "a\uFFFDb", Label("a\xffb"))
	require.Equal(t, strings.Repeat("é", 60)+"…", Label(strings.Repeat("é", 100)))
	require.Equal(t, "x"+strings.Repeat("é", 59)+"…", Label("x"+strings.Repeat("é", 100)), "not in the middle of a letter")
}

// looked is a session whose Core has so many groups of so many queues, every one of them wrong by 2.
func looked(tb testing.TB, groups, queues int) *session {
	tb.Helper()
	leaves := []int32{0, 1, 2, 3}
	start := applier.Start{Position: 1000, Resumes: true, Uncounted: make(map[applier.Source]applier.Uncounted)}
	for i := range groups {
		g := counter.Group{Slot: leaves[i%len(leaves)], Queue: fmt.Sprintf("queue-%d", i%queues), Priority: int16(i / queues % 30000)}
		start.Groups.Add(&counter.GroupCell{Group: g, Cell: counter.Cell{Rows: 2}})
	}
	for i := range queues {
		start.Uncounted[applier.Source{Queue: fmt.Sprintf("queue-%d", i), Kind: applier.KindRows}] = applier.Uncounted{Rows: int64(i), Transactions: 1, LastAt: time.Now()}
	}
	core, err := applier.New(applier.Config{Leaves: leaves, MaxStaleness: 2 * time.Second, CheckpointInterval: 5 * time.Second, AuditInterval: time.Minute}, start, time.Now())
	require.NoError(tb, err)
	s := &session{core: core}
	s.d, s.layout = New(Options{Meter: noMeter{}, MaxStaleness: 2 * time.Second}), &awa.Layout{Schema: "awa"}
	return s
}

// Past a number of groups the drift is one sum: nobody who looks on has them walked.
func TestViewOfManyDrifts(t *testing.T) {
	s := looked(t, applier.MaxGroupsByQueue, 100)
	s.showLead(time.Now())
	v := s.d.View()
	require.False(t, v.Undivided)
	require.EqualValues(t, 200, v.Queues[0].Drift)
	require.EqualValues(t, 2*applier.MaxGroupsByQueue, v.Status.Drift)

	s = looked(t, applier.MaxGroupsByQueue+1, 40)
	s.showLead(time.Now())
	v = s.d.View()
	require.True(t, v.Undivided)
	require.Len(t, v.Queues, 40)
	require.Zero(t, v.Queues[0].Drift)
	require.EqualValues(t, 2*applier.MaxGroupsByQueue+2, v.Rest.Drift)
	s.d.show(Failing, "x")
	require.False(t, s.d.View().Undivided)
	require.Zero(t, s.d.View().Rest.Drift)
}

// How long the loop is held up for one view, of a Core with 100 queues, by how many groups are wrong.
func BenchmarkView(b *testing.B) {
	for _, groups := range []int{100, applier.MaxGroupsByQueue, 1_000_000} {
		b.Run(fmt.Sprintf("drifting=%d", groups), func(b *testing.B) {
			s := looked(b, groups, 100)
			for b.Loop() {
				s.showLead(time.Now())
			}
		})
	}
}
