package listener

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/daemon"
)

// Readiness is what /readyz answers; fields are only ever added. A standby is ready as a standby: Conditions is empty then.
type Readiness struct {
	Ready      bool        `json:"ready"`
	Role       string      `json:"role"`
	Failing    []string    `json:"failing"` // names of the conditions that do not hold
	Conditions []Condition `json:"conditions"`
}

// Condition is one that a daemon has to meet to be ready.
type Condition struct {
	Name   string `json:"name"` // streaming, lag, trust; standing_by
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// readiness judges a view.
func (r *reading) readiness() Readiness {
	var conditions []Condition
	if r.Phase == daemon.Standby {
		conditions = []Condition{r.standsBy()}
	} else {
		conditions = []Condition{r.streaming(), r.lagging(), r.trusting()}
	}
	out := Readiness{Ready: true, Role: string(r.Phase), Failing: []string{}, Conditions: conditions}
	for _, c := range conditions {
		if !c.OK {
			out.Ready, out.Failing = false, append(out.Failing, c.Name)
		}
	}
	return out
}

// lookWithin is how long a standby may go without having looked for the leader.
const lookWithin = 30 * time.Second

func (r *reading) standsBy() Condition {
	c := Condition{Name: "standing_by", OK: true, Detail: "another daemon leads: " + r.leader()}
	if since := r.now.Sub(r.At); since > lookWithin {
		c.OK, c.Detail = false, fmt.Sprintf("this standby has not looked for the leader for %s", short(since))
	}
	return c
}

func (r *reading) leader() string {
	if r.Leader == nil || r.Leader.Instance == "" {
		return "a daemon whose name is not known yet"
	}
	return fmt.Sprintf("%s pid %d, last sign of life %s ago", r.Leader.Host, r.Leader.PID, short(r.heartbeat()))
}

func (r *reading) streaming() Condition {
	c := Condition{Name: "streaming", OK: true, Detail: "the stream is read, and the books are kept"}
	switch {
	case r.Status == nil:
		c.OK, c.Detail = false, fmt.Sprintf("%s since %s: %s", r.Phase, short(r.now.Sub(r.Since)), r.Detail)
	case r.Overdue(r.now) > r.config.Bound:
		c.OK, c.Detail = false, r.silence()
	}
	return c
}

func (r *reading) lagging() Condition {
	c := Condition{Name: "lag", Detail: "unknown: nothing is streamed"}
	if r.Status == nil {
		return c
	}
	lag := r.Lag(r.now)
	c.OK, c.Detail = lag <= r.config.Bound, fmt.Sprintf("%s behind at most, of %s allowed", short(lag), r.config.Bound)
	return c
}

func (r *reading) trusting() Condition {
	c := Condition{Name: "trust", OK: true, Detail: "the marker is set, and the daemon vouches for it"}
	switch why := r.doubt(); {
	case why == string(applier.DoubtOff), why == string(applier.DoubtNoMarker), why == string(applier.DoubtDryRun):
		c.Detail = r.why() + "; that is what --trust asks for"
	case why != "":
		c.OK, c.Detail = false, r.why()
	}
	return c
}

// why is doubt in words.
func (r *reading) why() string {
	switch reason := r.doubt(); reason {
	case "":
		return ""
	case reasonStandby:
		return "another daemon leads"
	case reasonStarting, reasonWaiting, reasonFailing:
		return r.Detail
	case reasonOverdue:
		return r.silence()
	case reasonPending:
		return "the marker is about to be set"
	}
	return r.Status.Reason
}

// silence says how late the next view is.
func (r *reading) silence() string {
	return fmt.Sprintf("the daemon's main loop is overdue by %s", short(r.Overdue(r.now)))
}

// hangsAfter is how long the daemon may go without a sign of life before a supervisor had better restart it: longer than any
// wait of its own is bounded to.
const hangsAfter = time.Minute

// healthz says that the process lives; whether its work goes well is readyz's to say. A supervisor that restarts what only
// waits for its database would gain nothing.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	r := s.reading()
	if overdue := r.Overdue(r.now); overdue > hangsAfter {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintf(w, "the daemon hangs: no sign of life for %s\n", short(overdue))
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	out := s.reading().readiness()
	code := http.StatusOK
	if !out.Ready {
		code = http.StatusServiceUnavailable
	}
	writeJSON(w, code, out)
}

// writeJSON answers with an indented document, as the commands print it.
func writeJSON(w http.ResponseWriter, code int, v any) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(text, '\n'))
}

// short rounds a duration to what a person reads at a glance.
func short(d time.Duration) time.Duration {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond)
	case d < time.Minute:
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}
