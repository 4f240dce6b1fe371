package main

import (
	"cmp"
	"slices"
	"time"
)

// watch keeps what the looks of a trial saw, for judgement at its end: only then has our slot told
// everything that was written before each of them.
type watch struct {
	looks   []look
	windows []window  // nobody could clear the marker, or nobody was there to
	failed  int       // looks that the server did not answer
	over    time.Time // the daemon has ended; zero: it did not
}

// window is the time from a daemon's death until its successor vouches.
type window struct {
	began, ended time.Time
}

// verdict is what the looks of a trial come to.
type verdict struct {
	Looks     int     `json:"looks"`
	Trusted   int     `json:"trusted"`
	Failed    int     `json:"failed"`
	Wrong     float64 `json:"wrong_seconds"`    // the marker was set and some group wrong, however lately
	Lying     float64 `json:"lying_seconds"`    // the same with a group that was wrong for longer than the bound
	Excused   float64 `json:"window_seconds"`   // the marker was set in a crash window
	Judged    *int    `json:"judged,omitempty"` // trusted looks outside of windows, up to finish; nil: they were not counted
	Dishonest int     `json:"dishonest"`        // trusted looks outside of windows with a drift older than the bound
	First     string  `json:"first,omitempty"`
	Oldest    float64 `json:"oldest_seconds"` // that a drift of trusted looks outside of windows can have stood
	Most      int64   `json:"most_jobs"`      // the worst sum of what groups were wrong by
	MostAt    float64 `json:"-"`
	Pending   int64   `json:"pending_p95"`
}

// judged is how many looks were; results from before they were counted have only those with the marker set.
func (v verdict) judged() int {
	if v.Judged == nil {
		return v.Trusted
	}
	return *v.Judged
}

const (
	follow = 500 * time.Millisecond // by how much a drift has to outlive the bound before it is held against anybody: two looks or three
	sparse = time.Second            // between looks further apart a drift may have gone and another have come
)

// standing is a group that has been wrong in every look since.
type standing struct {
	since    time.Time
	positive bool
}

// judge goes through the looks. explains tells of a drift whether writes no older than the bound explain it. One that they do not
// is held against the daemon once it stands for follow, unless its group was right within bound and follow: then it is
// what an event left, a fold that threw something away, say. explains is nil for a control: there a drift is as old
// as it has been seen standing.
func (w *watch) judge(bound time.Duration, explains func(g group, d int64, at time.Time) bool) verdict {
	v := verdict{Looks: len(w.looks), Failed: w.failed}
	if explains != nil {
		v.Judged = new(int)
	}
	var pending []int64
	stood, honest, wrong := make(map[group]standing), make(map[group]standing), make(map[group]standing)
	for i := range w.looks {
		l := &w.looks[i]
		pending = append(pending, l.pending)
		v.Most = max(v.Most, l.jobs())
		lasts, apart := time.Duration(0), true
		if i > 0 {
			apart = l.at.Sub(w.looks[i-1].at) > sparse
		}
		if i+1 < len(w.looks) {
			lasts = min(w.looks[i+1].at.Sub(l.at), sparse)
		}
		if l.set {
			v.Trusted++
			if len(l.wrong) > 0 {
				v.Wrong += lasts.Seconds()
			}
		}
		in := w.inWindow(l.at)
		// How long each group has been wrong, whatever wrote it; that alone decides about a control.
		stood = followOn(stood, l, apart || !l.set, nil)
		if l.set && longest(stood, l.at) > bound+follow {
			v.Lying += lasts.Seconds()
		}
		if l.set && in {
			v.Excused += lasts.Seconds()
		}
		// A marker that is set over an old drift does not make it younger.
		honest, wrong = followOn(honest, l, apart || in, explains), followOn(wrong, l, apart || in, nil)
		if explains == nil || !l.set || in {
			continue
		}
		if w.over.IsZero() || l.at.Before(w.over) {
			*v.Judged++
		}
		late := make(map[group]standing)
		for g, s := range honest {
			age := min(bound+l.at.Sub(s.since), l.at.Sub(wrong[g].since))
			v.Oldest = max(v.Oldest, age.Seconds())
			if age > bound+follow {
				late[g] = wrong[g]
			}
		}
		if len(late) > 0 {
			v.Dishonest++
			if v.First == "" {
				v.First = first(late, l)
			}
		}
	}
	if len(pending) > 0 {
		slices.Sort(pending)
		v.Pending = pending[len(pending)*95/100]
	}
	return v
}

// followOn goes on with what the look before saw. A drift the other way is another one.
func followOn(then map[group]standing, l *look, afresh bool, explains func(group, int64, time.Time) bool) map[group]standing {
	now := make(map[group]standing)
	for g, d := range l.wrong {
		if explains != nil && explains(g, d, l.at) {
			continue
		}
		s := standing{l.at, d > 0}
		if t, ok := then[g]; ok && !afresh && t.positive == s.positive {
			s.since = t.since
		}
		now[g] = s
	}
	return now
}

func longest(stood map[group]standing, at time.Time) (d time.Duration) {
	for _, s := range stood {
		d = max(d, at.Sub(s.since))
	}
	return d
}

func first(stood map[group]standing, l *look) string {
	var oldest group
	for g := range stood {
		if oldest.Queue == "" || cmp.Less(stood[g].since.UnixNano(), stood[oldest].since.UnixNano()) {
			oldest = g
		}
	}
	return describe(oldest, l.wrong[oldest], l.at.Sub(stood[oldest].since))
}

func (w *watch) inWindow(at time.Time) bool {
	return slices.ContainsFunc(w.windows, func(x window) bool {
		return !at.Before(x.began) && (x.ended.IsZero() || !at.After(x.ended))
	})
}
