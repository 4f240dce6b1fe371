package listener

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// histogram is a duration that the daemon measures.
type histogram struct {
	name, help string
	buckets    []float64 // seconds
}

// The histograms, in the order of the fields of Meter.
var histograms = [...]histogram{
	{
		"flush_duration_seconds", "How long a flush of corrections took, from the first of them to the commit of its token.",
		[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	},
	{
		"correction_duration_seconds",
		"How long one transaction of corrections took, from sending it to its answer: it held counter rows locked for at most that long.",
		[]float64{.0005, .001, .002, .003, .004, .005, .006, .008, .01, .02, .05, .1, .25, .5},
	},
	{
		"scan_duration_seconds", "How long a scan of one ring slot took.",
		[]float64{.001, .005, .01, .05, .1, .5, 1, 5, 10, 30, 60, 300, 900},
	},
	{
		"staleness_seconds", "Age of the oldest uncorrected write at the moment when a flush of corrections was committed, " +
			"whether that flush corrected it or not. Left out where the age is not known.",
		[]float64{.01, .025, .05, .1, .15, .2, .3, .5, .75, 1, 1.5, 2, 3, 5, 10, 30, 60},
	},
}

// Meter implements daemon.Meter with histograms.
type Meter struct {
	flush, correction, scan, staleness prometheus.Histogram
}

// NewMeter makes a Meter, to be given to the daemon and to New.
func NewMeter() *Meter {
	made := func(i int) prometheus.Histogram {
		h := histograms[i]
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: h.name, Help: h.help, Buckets: h.buckets})
	}
	return &Meter{flush: made(0), correction: made(1), scan: made(2), staleness: made(3)}
}

func (m *Meter) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.flush, m.correction, m.scan, m.staleness}
}

// Flushed implements daemon.Meter.
func (m *Meter) Flushed(d time.Duration) { m.flush.Observe(d.Seconds()) }

// Corrected implements daemon.Meter.
func (m *Meter) Corrected(d time.Duration) { m.correction.Observe(d.Seconds()) }

// Scanned implements daemon.Meter.
func (m *Meter) Scanned(d time.Duration) { m.scan.Observe(d.Seconds()) }

// Stale implements daemon.Meter.
func (m *Meter) Stale(d time.Duration) { m.staleness.Observe(d.Seconds()) }
