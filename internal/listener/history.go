package listener

import (
	"context"
	"sync"
	"time"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/daemon"
)

const (
	sampleEvery = 5 * time.Second
	span        = time.Hour // what is kept
	mostSamples = int(span / sampleEvery)
)

// trustState is what a sample knows of trust.
type trustState uint8

const (
	unknown   trustState = iota // nobody here leads, or trust is off
	untrusted                   // as the page says in red
	trusted
)

// sample is what the page plots, at one moment. It is about 900 bytes with all queues, so an hour takes less than a megabyte.
type sample struct {
	at       time.Time
	trust    trustState
	lag      float32 // seconds; negative while unknown
	retained int64   // bytes; negative while unknown
	queues   []queueSample
	rest     queueSample
}

// queueSample is one queue's part. Uncounted rows are counted since the process started.
type queueSample struct {
	drift     int64 // negative while it is not told apart by queue
	uncounted int64
}

// history keeps the samples of the last hour.
type history struct {
	mu      sync.Mutex
	samples [mostSamples]sample
	taken   int // samples ever taken; the newest is at (taken-1) % mostSamples
}

func newHistory() *history { return &history{} }

// run takes samples until ctx ends.
func (h *history) run(ctx context.Context, read func() *reading) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		h.take(read())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (h *history) take(r *reading) {
	s := newSample(r)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.samples[h.taken%mostSamples] = s
	h.taken++
}

func newSample(r *reading) sample {
	s := sample{at: r.now, lag: -1, retained: -1}
	switch r.verdict(nil).Class { // the page must not show two opinions
	case good:
		s.trust = trusted
	case bad:
		s.trust = untrusted
	}
	if r.Status != nil {
		s.lag, s.retained = float32(r.Lag(r.now).Seconds()), max(r.Slot.Retained, 0)
	}
	for _, q := range r.Queues {
		n := sampled(q)
		if r.Undivided {
			n.drift = gap
		}
		s.queues = append(s.queues, n)
	}
	s.rest = sampled(r.Rest)
	return s
}

// sampled sums the kinds that old binaries are known by.
func sampled(q daemon.Queue) queueSample {
	return queueSample{drift: q.Drift, uncounted: q.Uncounted[applier.KindRows].Rows + q.Uncounted[applier.KindPrune].Rows}
}

// last returns the samples of the hour before now, oldest first. They share memory with the history, which never changes
// what it has taken.
func (h *history) last(now time.Time) []sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := min(h.taken, mostSamples)
	out := make([]sample, 0, n)
	for i := h.taken - n; i < h.taken; i++ {
		if s := h.samples[i%mostSamples]; now.Sub(s.at) < span {
			out = append(out, s)
		}
	}
	return out
}

// buckets is how many points a plot has: one for 30 seconds.
const buckets = 120

// gap marks a bucket of which nothing is known.
const gap = -1

// known reports whether somebody here led: else what it says of drift and writes is no figure.
func (s *sample) known() bool { return s.lag >= 0 }

// series makes points of what read yields of each sample, the highest of each bucket, the newest bucket last. A negative
// value is unknown.
func series(now time.Time, samples []sample, read func(s *sample) float64) []float64 {
	out := make([]float64, buckets)
	for i := range out {
		out[i] = gap
	}
	for i := range samples {
		b := bucket(now, samples[i].at)
		if v := read(&samples[i]); b >= 0 && v >= 0 {
			out[b] = max(out[b], v)
		}
	}
	return out
}

// shortest is the shortest time that a rate is taken over.
const shortest = sampleEvery / 2

// rates makes points of a counter that read yields of each sample: how much it grew a second, the highest of each bucket.
func rates(now time.Time, samples []sample, read func(s *sample) int64) []float64 {
	i := -1
	return series(now, samples, func(s *sample) float64 {
		i++
		if i == 0 || !s.known() {
			return gap
		}
		before := &samples[i-1]
		since := s.at.Sub(before.at).Seconds()
		if since < shortest.Seconds() {
			return gap
		}
		return max(0, float64(read(s)-read(before))/since)
	})
}

func bucket(now, at time.Time) int {
	ago := max(now.Sub(at), 0)
	if ago >= span {
		return -1
	}
	return buckets - 1 - int(ago*buckets/span)
}

// queue is a queue's part of a sample; before the queue was first seen it had neither.
func (s *sample) queue(i int) queueSample {
	if i >= len(s.queues) {
		return queueSample{}
	}
	return s.queues[i]
}
