package listener

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/pprof" // it registers itself on the default mux as well, which is served nowhere
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/internal/daemon"
	"github.com/awa-counterd/awa-counterd/internal/status"
)

// Source is a daemon, as far as it is looked at.
type Source interface {
	// View returns the newest view. It does not wait, and what it returns is never changed.
	View() *daemon.View
}

// Config says what is shown beside the views. The durations and the bound of connections have defaults, for 0.
type Config struct {
	Version     string
	Revision    string
	Bound       time.Duration // --max-staleness
	QuietPeriod time.Duration
	MaxRetained int64 // bytes; 0 for no bound
	Pprof       bool
	// ReadStatus reads the database as `awa-counterd status` does, but asks nothing of the daemon that leads: a page that is left open
	// must not have it write a checkpoint over and over.
	ReadStatus func(ctx context.Context) (*status.Status, error)
	Log        *zap.Logger

	Every     time.Duration // shortest time between two makings of one answer; 1 s
	Patience  time.Duration // for a client to say what it wants; 5 s. Twice that for it to take the answer.
	MostConns int           // 64
}

// The defaults of Config.
const (
	defaultEvery     = time.Second
	defaultPatience  = 5 * time.Second
	defaultMostConns = 64
)

// Server answers HTTP for one daemon.
type Server struct {
	source   Source
	config   Config
	conns    *conns
	local    bool // only this machine reaches it
	history  *history
	readings *readings
	pages    *pages
	gate     gate
	http     *http.Server
}

// New makes a Server over an open listener, which it takes over. meter is the one that the daemon was given.
func New(l net.Listener, source Source, meter *Meter, config Config) (*Server, error) {
	if config.Every == 0 {
		config.Every = defaultEvery
	}
	if config.Patience == 0 {
		config.Patience = defaultPatience
	}
	if config.MostConns == 0 {
		config.MostConns = defaultMostConns
	}
	if config.Log == nil {
		config.Log = zap.NewNop()
	}
	s := &Server{
		source: source, config: config, conns: newConns(l, config.MostConns), local: isLoopback(l.Addr()), history: newHistory(),
		readings: newReadings(config.ReadStatus),
	}
	var err error
	if s.pages, err = newPages(s); err != nil {
		return nil, err
	}
	s.http = &http.Server{
		Handler: s.guard(s.routes(meter)), ConnState: s.conns.state, ConnContext: remember, MaxHeaderBytes: 8 << 10,
		ReadHeaderTimeout: config.Patience, ReadTimeout: config.Patience, WriteTimeout: 2 * config.Patience, IdleTimeout: 6 * config.Patience,
		ErrorLog: zap.NewStdLog(zap.NewNop()), // a client that misbehaves is no news of the daemon
	}
	return s, nil
}

// Address is where it listens.
func (s *Server) Address() string { return s.conns.Addr().String() }

// Run answers until ctx ends. A listener that fails is logged and does not end anything: the daemon's work goes on.
func (s *Server) Run(ctx context.Context) {
	s.config.Log.Info("listening", zap.String("url", "http://"+s.Address()+"/"), zap.Bool("only_this_machine", s.local), zap.Bool("pprof", s.config.Pprof))
	s.readings.ctx = ctx
	var works sync.WaitGroup
	works.Go(func() { s.history.run(ctx, s.reading) })
	works.Go(func() {
		if err := s.http.Serve(s.conns); !errors.Is(err, http.ErrServerClosed) {
			s.config.Log.Error("the listener has failed: page and metrics are not served any more; the counters are still corrected", zap.Error(err))
		}
	})
	<-ctx.Done()
	_ = s.http.Close() // whoever asks now gets no answer, as from then on
	works.Wait()
	s.readings.wait()
}

func (s *Server) reading() *reading {
	return &reading{View: s.source.View(), now: time.Now(), config: &s.config, conns: s.conns}
}

func (s *Server) routes(meter *Meter) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry(meter), promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}))
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /status.json", s.statusJSON)
	mux.HandleFunc("GET /{$}", s.pages.serve)
	if s.config.Pprof {
		// Not cmdline: a URL with a password may be in it.
		for _, name := range []string{"allocs", "block", "goroutine", "heap", "mutex", "threadcreate"} {
			mux.Handle("GET /debug/pprof/"+name, pprof.Handler(name))
		}
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// guard keeps out who should not ask, and has who asks too often wait. Probes do not: they cost next to nothing, and must get
// through when somebody else asks without end.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if r.ContentLength != 0 { // nobody needs one here, and one that trickles would hold a place
			h.Set("Connection", "close")
			_ = http.NewResponseController(w).SetReadDeadline(time.Now()) // else the server waits for what it throws away
			http.Error(w, "awa-counterd does not accept requests with a body", http.StatusRequestEntityTooLarge)
			return
		}
		if conn, ok := r.Context().Value(connKey{}).(net.Conn); ok {
			s.conns.answering(conn)
		}
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Content-Security-Policy", "default-src 'none'")
		if s.local && !known(r.Host) {
			http.Error(w, "awa-counterd listens on loopback, and answers only requests for localhost or an IP address", http.StatusMisdirectedRequest)
			return
		}
		if probe := r.URL.Path == "/healthz" || r.URL.Path == "/readyz"; !probe && !s.gate.pass(r.Context()) {
			h.Set("Connection", "close")
			http.Error(w, "too many requests", http.StatusTooManyRequests)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// gate spaces requests out, so that whoever asks without end costs a bounded share of the processor.
type gate struct {
	mu   sync.Mutex
	next time.Time
}

const (
	gateEvery = 5 * time.Millisecond // from one request to the next, once the burst is used up
	gateBurst = 20 * gateEvery
	gateWait  = time.Second // at most; who would wait longer is sent away
)

func (g *gate) pass(ctx context.Context) bool {
	now := time.Now()
	g.mu.Lock()
	if early := now.Add(-gateBurst); g.next.Before(early) {
		g.next = early
	}
	at := g.next.Add(gateEvery)
	if at.Sub(now) > gateWait {
		g.mu.Unlock()
		return false
	}
	g.next = at
	g.mu.Unlock()
	if !at.After(now) {
		return true
	}
	timer := time.NewTimer(at.Sub(now))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
