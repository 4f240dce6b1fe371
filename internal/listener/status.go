package listener

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/daemon"
	"github.com/awa-counterd/awa-counterd/internal/status"
)

const (
	readEvery  = 5 * time.Second  // shortest time between two readings of the database
	readRest   = 20               // and as many times as long as the last one took
	readWithin = 10 * time.Second // a reading is given up
	readWait   = time.Second      // for a newer reading than the one there is
	firstWait  = 4 * time.Second  // for the first one
)

// readings reads the database for whoever asks, one reading at a time and not too often.
type readings struct {
	ctx  context.Context //nolint:containedctx // lives as long as the server, and longer than any request
	read func(ctx context.Context) (*status.Status, error)

	mu     sync.Mutex
	status *status.Status // the newest; never changed once it is here
	at     time.Time      // when it was asked for
	err    error          // why there is no newer one
	due    time.Time      // not before
	busy   chan struct{}  // closed when the reading under way has ended; nil for none
}

func newReadings(read func(context.Context) (*status.Status, error)) *readings {
	return &readings{ctx: context.Background(), read: read, err: errNotRead}
}

var errNotRead = errors.New("the database is being read")

// get returns the newest reading, when it was taken, and why there is no newer one. It waits a moment for one.
func (s *readings) get(ctx context.Context) (*status.Status, time.Time, error) {
	s.mu.Lock()
	if s.busy == nil && s.read != nil && !time.Now().Before(s.due) {
		s.busy = make(chan struct{})
		go s.refresh() //nolint:contextcheck // for whoever asks next as well
	}
	busy, patience := s.busy, readWait
	if s.status == nil {
		patience = firstWait
	}
	s.mu.Unlock()
	if busy != nil {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case <-busy:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status, s.at, s.err
}

func (s *readings) refresh() {
	ctx, cancel := context.WithTimeout(s.ctx, readWithin)
	defer cancel()
	began := time.Now()
	status, err := s.read(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	took := time.Since(began)
	s.due, s.err = began.Add(max(readEvery, readRest*took)), err
	if err == nil {
		s.status, s.at = status, began
	}
	close(s.busy)
	s.busy = nil
}

// wait waits for the reading under way.
func (s *readings) wait() {
	s.mu.Lock()
	busy := s.busy
	s.mu.Unlock()
	if busy != nil {
		<-busy
	}
}

// status is what `awa-counterd status` would say, with the figures of this moment where this daemon leads; nil, and why, when
// the database has not been read yet.
func (s *Server) status(ctx context.Context) (*status.Status, error) {
	st, at, err := s.readings.get(ctx)
	if st == nil {
		return nil, err
	}
	r := s.reading()
	age := r.now.Sub(at)
	out := aged(st, age)
	if r.Status != nil {
		r.overlay(out)
		r.overlayChange(out, age)
	}
	out.Next = out.NextStep(s.config.QuietPeriod)
	if r.Phase == daemon.Standby && out.NeedsFresh(s.config.QuietPeriod) {
		out.Next = "a standby does not know this, since its figures are those of the last checkpoint: look at the leader's page, or run awa-counterd status"
	}
	return out, nil
}

func (s *Server) statusJSON(w http.ResponseWriter, r *http.Request) {
	st, err := s.status(r.Context())
	if st == nil {
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"error": "the database has not been read yet: " + err.Error()})
		return
	}
	writeJSON(w, http.StatusOK, st)
}

// aged is a copy of a status that was read some time ago.
func aged(st *status.Status, by time.Duration) *status.Status {
	out, seconds := *st, by.Seconds()
	add := func(v *float64) *float64 {
		if v == nil {
			return nil
		}
		sum := *v + seconds
		return &sum
	}
	out.Persisted, out.Audit, out.MarkerAge, out.OldPrune = add(st.Persisted), add(st.Audit), add(st.MarkerAge), add(st.OldPrune)
	if st.Leader != nil {
		leader := *st.Leader
		leader.Heartbeat += seconds
		leader.Alive = leader.Alive && status.IsAlive(leader.Heartbeat)
		out.Leader = &leader
	}
	if st.Slot != nil {
		slot := *st.Slot
		out.Slot = &slot
	}
	out.Fresh = st.Fresh && by < readEvery
	out.Uncounted = slices.Clone(st.Uncounted)
	for i := range out.Uncounted {
		out.Uncounted[i].Last += seconds
	}
	out.Changes = slices.Clone(st.Changes)
	for i := range out.Changes {
		out.Changes[i].Ago += seconds
		if i == 0 {
			out.Changes[i].Lasted += seconds
		}
	}
	return &out
}

// overlay puts what the daemon itself knows in the place of what its last checkpoint said.
func (r *reading) overlay(out *status.Status) {
	st, server := r.Status, r.server()
	out.Schema, out.Position = r.Schema, st.Position.String()
	out.Fresh = r.Lag(r.now) <= r.config.Bound
	out.MarkerSet, out.Reason = st.MarkerSet, ""
	if doubt := r.doubt(); doubt != "" && !st.MarkerSet {
		out.Reason = r.why()
	}
	if st.MarkerSet {
		age := r.now.Sub(st.MarkerSince).Seconds()
		if out.MarkerAge == nil || age < *out.MarkerAge {
			out.MarkerAge = &age
		}
	} else {
		out.MarkerAge = nil
	}
	if !st.LastAudit.IsZero() {
		age := r.now.Sub(st.LastAudit).Seconds()
		out.Audit = &age
	}
	if out.Leader != nil {
		out.Leader.Heartbeat, out.Leader.Alive = r.Lag(r.now).Seconds(), status.IsAlive(r.Lag(r.now).Seconds())
		out.Leader.State = r.state()
	}
	if out.Slot != nil && r.Slot.Status != "" {
		out.Slot.Active, out.Slot.Status, out.Slot.Retained, out.Slot.CatalogAge = r.Slot.Active, r.Slot.Status, r.Slot.Retained, r.Slot.CatalogAge
		out.Slot.Loss = ""
		if r.Slot.Lost() {
			out.Slot.Loss, _ = r.Slot.Loss()
		}
	}
	if !st.OldPrune.IsZero() {
		age := max(0, server.Sub(st.OldPrune).Seconds())
		out.OldPrune = &age
	}
	out.Observed = st.Quiet.Seconds()
	out.Uncounted = uncounted(server, st.Uncounted)
}

// overlayChange puts a change of the marker before those that were read age ago, where the daemon has seen one since.
func (r *reading) overlayChange(out *status.Status, age time.Duration) {
	if out.Forgot != "" || len(out.Changes) == 0 || out.Changes[0].Set == r.Status.MarkerSet {
		return
	}
	last := status.MarkerChange{Set: r.Status.MarkerSet, Ago: age.Seconds()}
	if last.Set {
		last.Ago = min(last.Ago, r.now.Sub(r.Status.MarkerSince).Seconds())
	} else {
		last.Reason = out.Reason
	}
	last.Lasted = last.Ago
	out.Changes[0].Lasted = max(0, out.Changes[0].Lasted-last.Ago)
	out.Changes = append([]status.MarkerChange{last}, out.Changes...)
}

func (r *reading) state() string {
	if r.doubt() == "" {
		return "trusted"
	}
	return r.why()
}

// server is the server's clock, while Leading.
func (r *reading) server() time.Time { return r.Status.ServerNow.Add(r.now.Sub(r.At)) }

// uncounted lists the sources, newest first.
func uncounted(now time.Time, sources map[applier.Source]applier.Uncounted) []status.Uncounted {
	out := make([]status.Uncounted, 0, len(sources))
	for s, u := range sources {
		out = append(out, status.Uncounted{
			Queue: s.Queue, Kind: string(s.Kind), Rows: u.Rows, Transactions: u.Transactions, PerSecond: u.PerSecond,
			Last: max(0, now.Sub(u.LastAt).Seconds()), LastLSN: u.LastLSN.String(),
		})
	}
	slices.SortFunc(out, func(a, b status.Uncounted) int {
		switch {
		case a.Last < b.Last:
			return -1
		case a.Last > b.Last:
			return 1
		case a.Queue != b.Queue:
			return strings.Compare(a.Queue, b.Queue)
		}
		return strings.Compare(a.Kind, b.Kind)
	})
	return out
}
