package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// looks five times a second; wrong says by how much a group is wrong at each.
func looks(set bool, wrong ...int64) (all []look) {
	for i, d := range wrong {
		l := look{at: noon.Add(time.Duration(i) * 200 * time.Millisecond), set: set, groups: 1, wrong: make(map[group]int64)}
		if d != 0 {
			l.wrong[group{3, "q", 1, 0}] = d
		}
		all = append(all, l)
	}
	return all
}

func steady(d int64, n int) (all []int64) {
	for range n {
		all = append(all, d)
	}
	return all
}

func never(group, int64, time.Time) bool  { return false }
func always(group, int64, time.Time) bool { return true }

func TestDriftThatStandsIsDishonest(t *testing.T) {
	w := watch{looks: looks(true, steady(5, 20)...)}
	v := w.judge(bound, never)
	require.Positive(t, v.Dishonest)
	require.Contains(t, v.First, "slot 3, queue q")
	require.InDelta(t, 3.8, v.Oldest, 0.01)
	require.InDelta(t, 3.8, v.Wrong, 0.01)
	require.InDelta(t, 1.2, v.Lying, 0.01)
	require.Zero(t, w.judge(bound, always).Dishonest, "young writes explain it")
}

func TestWhatIsNotHeldAgainstAnybody(t *testing.T) {
	for name, w := range map[string]watch{
		"the marker is not set": {looks: looks(false, steady(5, 20)...)},
		"right in between":      {looks: looks(true, append(append(steady(5, 11), 0), steady(5, 11)...)...)},
		"the other way":         {looks: looks(true, append(steady(5, 11), steady(-5, 11)...)...)},
		"dead": {
			looks:   looks(true, steady(5, 20)...),
			windows: []window{{began: noon.Add(-time.Second), ended: noon.Add(3 * time.Second)}},
		},
		"dead for good": {looks: looks(true, steady(5, 20)...), windows: []window{{began: noon.Add(time.Second)}}},
	} {
		require.Zero(t, w.judge(bound, never).Dishonest, name)
	}
	w := watch{looks: looks(true, steady(5, 12)...)}
	w.looks = append(w.looks, w.looks[11])
	w.looks[12].at = w.looks[11].at.Add(2 * time.Second) // too far from the one before
	require.Zero(t, w.judge(bound, never).Dishonest)
}

// A write explains a drift for as long as the bound, and no longer: what is missing for 3 s is too old, also where others have been
// written meanwhile, and where the marker was set over it.
func TestOldWriteIsDishonest(t *testing.T) {
	young := func(_ group, _ int64, at time.Time) bool { return at.Sub(noon) <= bound }
	w := watch{looks: looks(true, steady(5, 16)...)} // to 3 s
	v := w.judge(bound, young)
	require.Equal(t, 2, v.Dishonest)
	require.InDelta(t, 2.8, v.Oldest, 0.01)
	require.Equal(t, 16, *v.Judged)
	for i := range 13 {
		w.looks[i].set = false
	}
	v = w.judge(bound, young)
	require.Equal(t, 2, v.Dishonest)
	w.over = noon.Add(2900 * time.Millisecond)
	require.Equal(t, 2, *w.judge(bound, young).Judged, "that anybody could have had a hand in")
	require.Zero(t, (&watch{looks: looks(true, append(steady(0, 3), steady(5, 10)...)...)}).judge(bound, never).Dishonest, "what an event left, and is gone within the bound")
}

// A control has no stream to ask and no windows: a group that stands is a lie.
func TestControl(t *testing.T) {
	w := watch{looks: looks(true, steady(5, 30)...)}
	v := w.judge(bound, nil)
	require.InDelta(t, 3.2, v.Lying, 0.01)
	require.Zero(t, v.Dishonest)
	require.EqualValues(t, 5, v.Most)
}
