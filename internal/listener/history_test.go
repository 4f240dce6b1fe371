package listener

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/daemon"
)

// An hour is kept, whatever comes after it.
func TestHistoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stub{}
		s.view.Store(leads(time.Now()))
		ctx, cancel := context.WithCancel(t.Context())
		h := newHistory()
		done := make(chan struct{})
		go func() { defer close(done); h.run(ctx, func() *reading { return read(time.Now(), s.View()) }) }()
		time.Sleep(3*time.Hour + time.Second) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		last := h.last(time.Now())
		require.Len(t, last, mostSamples)
		require.InDelta(t, span.Seconds(), last[mostSamples-1].at.Sub(last[0].at).Seconds(), 6)
		for i := 1; i < len(last); i++ {
			require.Equal(t, sampleEvery, last[i].at.Sub(last[i-1].at))
		}
		require.Len(t, h.last(time.Now().Add(30*time.Minute)), mostSamples/2, "what is older than an hour is not shown")
		cancel()
		<-done
	})
}

// A plot has the highest value of each half minute, and a gap where nothing is known.
func TestSeries(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	var samples []sample
	at := func(ago time.Duration, lag float32, uncounted int64) {
		samples = append(samples, sample{at: now.Add(-ago), lag: lag, rest: queueSample{uncounted: uncounted}})
	}
	at(59*time.Minute+59*time.Second, 5, 100)
	at(10*time.Minute, 1, 100)
	at(10*time.Minute-5*time.Second, 9, 200)
	at(10*time.Minute-10*time.Second, 2, 200)
	at(5*time.Minute, -1, 200)
	at(0, 3, 500)
	lag := series(now, samples, func(s *sample) float64 { return float64(s.lag) })
	require.Len(t, lag, buckets)
	require.InDelta(t, 5, lag[0], 0)
	require.InDelta(t, gap, lag[50], 0)
	require.InDelta(t, 9, lag[buckets-20], 0)
	require.InDelta(t, gap, lag[buckets-11], 0, "unknown, not 0")
	require.InDelta(t, 3, lag[buckets-1], 0)
	rate := rates(now, samples, func(s *sample) int64 { return s.rest.uncounted })
	require.InDelta(t, gap, rate[0], 0, "nothing was before it")
	require.InDelta(t, 20, rate[buckets-20], 0.001)
	require.InDelta(t, 1, rate[buckets-1], 0.001)
	require.InDelta(t, 1, newest(rate), 0.001)
	require.Zero(t, newest([]float64{4, gap, gap}))
}

// Trust, as the strip has it: the worst of each half minute, and at its end how it is now.
func TestStrip(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	samples := []sample{
		{at: now.Add(-2 * time.Minute), trust: trusted},
		{at: now.Add(-65 * time.Second), trust: untrusted},
		{at: now.Add(-61 * time.Second), trust: trusted},
		{at: now.Add(-40 * time.Second), trust: trusted},
		{at: now, trust: trusted},
	}
	s := newStrip(now, samples)
	width := 0
	for _, p := range s.Parts {
		require.Equal(t, width, p.X)
		width += p.Width
	}
	require.Equal(t, 2*buckets, width)
	require.Equal(t, "none", s.Parts[0].Class)
	require.Equal(t, "good", s.Parts[len(s.Parts)-1].Class)
	require.Contains(t, s.Label, "trusted for 1.5 min, not trusted at some time in 0.5 min")

	end := func(now time.Time) []stripPart {
		parts := newStrip(now, samples).Parts
		return parts[len(parts)-2:]
	}
	samples = append(samples, sample{at: now.Add(5 * time.Second), trust: untrusted})
	require.Equal(t, stripPart{X: 2*buckets - 2, Width: 2, Class: "bad"}, end(now.Add(5 * time.Second))[1])
	samples = append(samples, sample{at: now.Add(10 * time.Second), trust: trusted})
	require.Equal(t, []stripPart{{X: 2*buckets - 2, Width: 1, Class: "bad"}, {X: 2*buckets - 1, Width: 1, Class: "good"}}, end(now.Add(10*time.Second)),
		"the page says that it is trusted, and its strip must not end in red")
	samples = append(samples, sample{at: now.Add(40 * time.Second), trust: trusted})
	require.Equal(t, []stripPart{{X: 2*buckets - 4, Width: 2, Class: "bad"}, {X: 2*buckets - 2, Width: 2, Class: "good"}}, end(now.Add(40*time.Second)),
		"half a minute later it is told as before")
}

// What a sample takes from a view, and a queue that comes later.
func TestSample(t *testing.T) {
	now := time.Now()
	h := newHistory()
	v := leads(now)
	queues := v.Queues
	v.Queues = queues[:1]
	h.take(read(now, v))
	v = leads(now)
	h.take(read(now, v))
	h.take(read(now, standsByView(now, 0)))
	h.take(read(now, failing(now, "x")))
	last := h.last(now)
	require.Equal(t, queueSample{}, last[0].queue(1))
	require.Equal(t, queueSample{drift: 12, uncounted: 903}, last[1].queue(1))
	require.Equal(t, []trustState{trusted, trusted, unknown, untrusted}, []trustState{last[0].trust, last[1].trust, last[2].trust, last[3].trust})
	require.Negative(t, last[2].lag)
	require.Negative(t, last[3].retained)
	require.EqualValues(t, 5, sampled(daemon.Queue{Uncounted: map[applier.Kind]daemon.Count{applier.KindCounter: {Rows: 7}, applier.KindRows: {Rows: 5}}}).uncounted,
		"a clamp is no old binary's")
}

// The strip has what the verdict shows at that moment: no green while the loop hangs, no red where trust is off by choice.
func TestSampleIsWhatTheVerdictShows(t *testing.T) {
	now := time.Now()
	leaving := standsByView(now, time.Minute)
	leaving.Leader.Leaving = true
	for name, c := range map[string]struct {
		view *daemon.View
		want trustState
	}{
		"trusted":       {leads(now), trusted},
		"overdue":       {leads(now.Add(-time.Minute)), untrusted},
		"lag":           {untrustedView(now, applier.DoubtLag, "behind"), untrusted},
		"off":           {untrustedView(now, applier.DoubtOff, "trust is off"), unknown},
		"no marker":     {untrustedView(now, applier.DoubtNoMarker, "this awa has no trust marker"), unknown},
		"failing":       {failing(now, "x"), untrusted},
		"starting":      {&daemon.View{At: now, Phase: daemon.Starting}, unknown},
		"standby":       {standsByView(now, 0), unknown},
		"leader silent": {standsByView(now, time.Minute), untrusted},
		"leader leaves": {leaving, unknown},
	} {
		r := newRig(t, c.view)
		r.history.take(r.reading())
		last := r.history.last(now)
		require.Equal(t, c.want, last[len(last)-1].trust, name)
	}
}

// Memory: an hour with all queues is less than two megabytes.
func TestHistoryIsSmall(t *testing.T) {
	v := leads(time.Now())
	v.Queues = make([]daemon.Queue, daemon.MaxQueues)
	h := newHistory()
	allocated := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.take(read(time.Now(), v))
		}
	}).AllocedBytesPerOp()
	require.Less(t, allocated*int64(mostSamples), int64(2<<20))
}

// read reads a view at a moment.
func read(now time.Time, v *daemon.View) *reading {
	return &reading{View: v, now: now, config: &Config{Bound: 2 * time.Second}}
}
