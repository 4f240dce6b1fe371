package listener

import (
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/awa-counterd/awa-counterd/internal/daemon"
	"github.com/awa-counterd/awa-counterd/internal/status"
)

//go:embed page.html
var pageText string

// mostRows is how many queues the page shows; /metrics has more, /status.json all.
const mostRows = 12

// page is what page.html shows.
type page struct {
	verdict

	Nonce  string
	Title  string
	Spoken string
	Icon   template.URL
	Next   string // what `awa-counterd status` says is to be done next
	Trust  strip
	Tiles  []tile
	Queues []row
	More   int // queues that there is no room for
	None   string
	Facts  []fact
	Past   string
	Before []change
	At     string
}

// change is one time that the marker was set or cleared.
type change struct{ When, What, Lasted, Why string }

// mostChanges is how many the page shows; /status.json has more.
const mostChanges = 8

// tile is one figure with its plot.
type tile struct {
	Name, Value, Note string
	Plot              plot
	Bad               bool
}

// row is one queue.
type row struct {
	Name             string
	Drift            string
	Hot              bool
	DriftPlot        plot
	Uncounted        string // since the process started
	Rate             string // rows/s
	RatePlot         plot
	Last             string
	drift, uncounted int64
	active           float64 // rows/s at most, in the last hour
}

type fact struct{ Name, Value string }

// pages makes the page, at most once in a while.
type pages struct {
	server   *Server
	template *template.Template

	mu   sync.Mutex
	at   time.Time
	body string
	csp  string
}

func newPages(s *Server) (*pages, error) {
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}
	return &pages{server: s, template: t}, nil
}

// databaseWait is how long the page waits for the database; what it says of it comes with the next refresh.
const databaseWait = 700 * time.Millisecond

func (p *pages) serve(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), databaseWait)
	defer cancel()
	st, err := p.server.status(ctx)
	body, csp, failed := p.render(st, err)
	if failed != nil {
		http.Error(w, failed.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", csp)
	_, _ = w.Write([]byte(body))
}

func (p *pages) render(st *status.Status, unread error) (body, csp string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.at) < p.server.config.Every && p.body != "" {
		return p.body, p.csp, nil
	}
	r := p.server.reading()
	pg := r.page(st, unread, append(p.server.history.last(r.now), newSample(r)))
	nonce := make([]byte, 16)
	if _, err := rand.Read(nonce); err != nil {
		return "", "", fmt.Errorf("make a nonce: %w", err)
	}
	pg.Nonce = base64.RawURLEncoding.EncodeToString(nonce)
	var text strings.Builder
	if err := p.template.Execute(&text, pg); err != nil {
		return "", "", fmt.Errorf("make the page: %w", err)
	}
	p.at, p.body = r.now, text.String()
	p.csp = fmt.Sprintf("default-src 'none'; style-src 'nonce-%s'; script-src 'nonce-%[1]s'; connect-src 'self'; img-src data:; "+
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'", pg.Nonce)
	return p.body, p.csp, nil
}

func (r *reading) page(st *status.Status, unread error, samples []sample) *page {
	v := r.verdict(st)
	p := &page{verdict: v, Spoken: v.spoken(r.doubt()), Trust: newStrip(r.now, samples), At: r.now.UTC().Format("2006-01-02 15:04:05 UTC")}
	p.Title = strings.ToUpper(v.Word) + " – awa-counterd"
	if r.Schema != "" {
		p.Title += " on " + r.Schema
	}
	p.Icon = icon(v.Class)
	switch {
	case st != nil:
		p.Next = st.Next
	case unread == nil, errors.Is(unread, errNotRead):
		p.Next = "not known yet: the database is being read"
	default:
		p.Next = "not known: " + unread.Error()
	}
	p.Tiles = r.tiles(st, samples)
	p.Queues, p.More = r.rows(samples)
	p.None = "none"
	if r.Phase == daemon.Standby {
		p.None = "none: a standby does not read the stream; see the leader's page"
	}
	p.Facts = r.facts(st)
	p.Past = "not known yet"
	switch {
	case st == nil:
	case st.Forgot != "":
		p.Past = "not known: " + st.Forgot
	default:
		p.Past, p.Before = status.Cleared(st.Changes), changed(st)
		if r.Status == nil && r.Phase != daemon.Standby { // what has happened since may not have been read
			p.Past += ", as the database was read last"
		}
	}
	return p
}

// changed lists the last changes of the marker.
func changed(st *status.Status) (out []change) {
	for _, m := range st.Changes[:min(len(st.Changes), mostChanges)] {
		what := "cleared"
		if m.Set {
			what = "set"
		}
		out = append(out, change{status.Ago(m.Ago) + " ago", what, status.Ago(m.Lasted), upper(m.Reason)})
	}
	return out
}

func (r *reading) tiles(st *status.Status, samples []sample) []tile {
	sum := func(read func(queueSample) int64) func(s *sample) int64 {
		return func(s *sample) int64 {
			n := read(s.rest)
			for _, q := range s.queues {
				n += read(q)
			}
			return n
		}
	}
	drift := sum(func(q queueSample) int64 { return max(q.drift, 0) })
	rate := rates(r.now, samples, sum(func(q queueSample) int64 { return q.uncounted }))
	out := []tile{
		{Name: "Lag", Value: "–", Plot: newPlot("lag", series(r.now, samples, func(s *sample) float64 { return float64(s.lag) }), seconds)},
		{Name: "Retained WAL", Value: "–", Plot: newPlot("retained WAL", series(r.now, samples, func(s *sample) float64 { return float64(s.retained) }), bytes)},
		{Name: "Drift", Value: "–", Note: "jobs still to be corrected", Plot: newPlot("drift", series(r.now, samples, func(s *sample) float64 {
			if !s.known() {
				return gap
			}
			return float64(drift(s))
		}), count)},
		{Name: "Uncounted writes", Value: "–", Note: "rows written by pre-#290 binaries", Plot: newPlot("uncounted writes", rate, perSecond)},
	}
	if r.Status == nil {
		if r.Phase == daemon.Standby && st != nil && st.Slot != nil {
			out[0].Value, out[0].Note = bytes(float64(st.Slot.Lag)), "the leader's, as the server has it"
			out[1].Value, out[1].Note = bytes(float64(st.Slot.Retained)), "the leader's"
		}
		return out
	}
	out[3].Value = perSecond(newest(rate))
	out[0].Value = seconds(r.Lag(r.now).Seconds())
	out[0].Note, out[0].Bad = fmt.Sprintf("of %s allowed", r.config.Bound), r.Lag(r.now) > r.config.Bound/2
	endsTrust(&out[0])
	out[1].Value = bytes(float64(r.Slot.Retained))
	if most := r.config.MaxRetained; most > 0 {
		out[1].Note, out[1].Bad = "of "+bytes(float64(most))+" allowed", r.Slot.Retained > most/2
		endsTrust(&out[1])
	}
	out[2].Value, out[2].Bad = count(float64(r.Status.Drift)), r.Status.OldestDrift > r.config.Bound/2
	if r.Undivided {
		out[2].Note += ", too many groups to tell queues apart"
	}
	return out
}

// endsTrust says why a figure that is less than what is allowed is too much already.
func endsTrust(t *tile) {
	if t.Bad {
		t.Note += "; trust ends at half"
	}
}

// newest is the last point that is known; 0 for none.
func newest(points []float64) float64 {
	for i := len(points) - 1; i >= 0 && i > len(points)-3; i-- {
		if points[i] >= 0 {
			return points[i]
		}
	}
	return 0
}

// rows lists the queues that matter most: wrong now, then with the most uncounted writes, then the latest.
func (r *reading) rows(samples []sample) (out []row, more int) {
	server := r.now
	if r.Status != nil {
		server = r.server()
	}
	for i, q := range r.Queues {
		rate := rates(r.now, samples, func(s *sample) int64 { return s.queue(i).uncounted })
		n := row{
			Name: q.Name, Drift: count(float64(q.Drift)), Rate: perSecond(newest(rate)), Last: "never",
			drift: q.Drift, uncounted: sampled(q).uncounted, active: slices.Max(rate),
			DriftPlot: newPlot("drift of "+q.Name, series(r.now, samples, func(s *sample) float64 {
				if !s.known() {
					return gap
				}
				return float64(s.queue(i).drift)
			}), count),
			RatePlot: newPlot("uncounted writes on "+q.Name, rate, perSecond),
		}
		n.Uncounted, n.Hot = count(float64(n.uncounted)), q.Drift != 0
		if r.Undivided {
			n.Drift = "–"
		}
		if r.Status == nil { // it led once
			n.Drift, n.Rate = "–", "–"
		}
		if !q.Last.IsZero() {
			n.Last = status.Ago(max(0, server.Sub(q.Last).Seconds())) + " ago"
		}
		out = append(out, n)
	}
	slices.SortStableFunc(out, func(a, b row) int {
		return cmp.Or(cmp.Compare(b.drift, a.drift), cmp.Compare(b.active, a.active), cmp.Compare(b.uncounted, a.uncounted), cmp.Compare(a.Name, b.Name))
	})
	if len(out) > mostRows {
		out, more = out[:mostRows], len(out)-mostRows
	}
	return out, more
}

func (r *reading) facts(st *status.Status) []fact {
	out := []fact{{"Role", fmt.Sprintf("%s, since %s", r.Phase, status.Ago(r.now.Sub(r.Since).Seconds()))}, {"Version", r.config.Version}}
	add := func(name, value string) { out = append(out, fact{name, value}) }
	if r.Schema != "" {
		add("Schema", r.Schema)
	}
	if s := r.Status; s != nil {
		add("Position", fmt.Sprintf("%s, checkpoint at %s", s.Position, s.Persisted))
		add("Replication slot", slotText(r.View))
		add("Books", fmt.Sprintf("%s groups in %d of %d ring slots", count(float64(s.Groups)), s.Settled, s.Units))
		if s.LastAudit.IsZero() {
			add("Last audit", "none yet")
		} else {
			add("Last audit", fmt.Sprintf("every ring slot agreed, %s ago", status.Ago(r.now.Sub(s.LastAudit).Seconds())))
		}
	}
	t := r.Totals
	add("Audits", fmt.Sprintf("%s ring slots agreed, %s disagreed", count(float64(t.AuditsAgreed)), count(float64(t.AuditsDisagreed))))
	add("Corrections", fmt.Sprintf("%s groups in %s flushes", count(float64(t.Corrections)), count(float64(t.Flushes))))
	add("Sessions", fmt.Sprintf("%d led, %d ended by a fault", r.Sessions, r.Faults))
	if st != nil {
		for _, w := range st.Runtimes {
			old := ""
			if w.Old {
				old = ", pre-#290: does not count"
			}
			add("awa "+w.Version, fmt.Sprintf("%d live%s", w.Live, old))
		}
	}
	return out
}

func slotText(v *daemon.View) string {
	if v.Slot.Status == "" {
		return v.Slot.Name
	}
	return fmt.Sprintf("%s, %s, catalog_xmin %s transactions old", v.Slot.Name, v.Slot.Status, count(float64(v.Slot.CatalogAge)))
}

// icon is a dot in the colour of the state, for the browser's tab.
func icon(class string) template.URL {
	colour := map[string]string{good: "1a7f37", bad: "cf222e", calm: "6e7781"}[class]
	return template.URL("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E" + //nolint:gosec // constants only
		"%3Ccircle cx='8' cy='8' r='7' fill='%23" + colour + "'/%3E%3C/svg%3E")
}
