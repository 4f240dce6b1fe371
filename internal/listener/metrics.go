package listener

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"

	"github.com/awa-counterd/awa-counterd/internal/daemon"
)

// namespace begins every name of awa-counterd's metrics.
const namespace = "awa_counterd"

// family is a metric that is read from a view.
type family struct {
	name   string
	kind   prometheus.ValueType
	when   when
	labels []string
	help   string
	read   func(r *reading, add func(value float64, labels ...string))
}

// when is the role in which a metric is there. What nobody knows is left out, and not said to be 0.
type when string

const (
	always  when = "always"
	active  when = "unless it stands by"
	leading when = "while it leads"
	standby when = "while it stands by"
)

func (w when) holds(p daemon.Phase) bool {
	switch w {
	case active:
		return p != daemon.Standby
	case leading:
		return p == daemon.Leading
	case standby:
		return p == daemon.Standby
	case always:
	}
	return true
}

// reading is a view, read at one moment.
type reading struct {
	*daemon.View
	now    time.Time
	config *Config
	conns  *conns
}

// views is a collector of everything that a view says.
type views struct {
	server   *Server
	families []family
	descs    []*prometheus.Desc
}

func newViews(s *Server) *views {
	v := &views{server: s, families: families()}
	for _, f := range v.families {
		v.descs = append(v.descs, prometheus.NewDesc(prometheus.BuildFQName(namespace, "", f.name), f.help, f.labels, nil))
	}
	return v
}

// Describe implements prometheus.Collector.
func (v *views) Describe(out chan<- *prometheus.Desc) {
	for _, d := range v.descs {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (v *views) Collect(out chan<- prometheus.Metric) {
	r := v.server.reading()
	for i, f := range v.families {
		if !f.when.holds(r.Phase) {
			continue
		}
		f.read(r, func(value float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(v.descs[i], f.kind, value, labels...)
		})
	}
}

// registry holds everything that /metrics shows.
func (s *Server) registry(m *Meter) prometheus.Gatherer {
	r := prometheus.NewRegistry()
	r.MustRegister(newViews(s), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r.MustRegister(m.collectors()...)
	return &atMost{gatherer: r, every: s.config.Every}
}

// atMost gathers at most once in a while, for all who ask.
type atMost struct {
	gatherer prometheus.Gatherer
	every    time.Duration

	mu  sync.Mutex
	at  time.Time
	out []*dto.MetricFamily
	err error
}

// Gather implements prometheus.Gatherer.
func (a *atMost) Gather() ([]*dto.MetricFamily, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := time.Now(); now.Sub(a.at) >= a.every {
		a.out, a.err = a.gatherer.Gather()
		a.at = now
	}
	return a.out, a.err
}
