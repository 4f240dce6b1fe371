package listener

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/daemon"
	"github.com/awa-counterd/awa-counterd/internal/status"
)

// visible is the page without what is not text.
func visible(t *testing.T, r *rig) string {
	t.Helper()
	w := r.get("/")
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
	text := regexp.MustCompile(`(?s)<(style|script).*?</(style|script)>`).ReplaceAllString(w.Body.String(), "")
	text = regexp.MustCompile(`<[^>]*>`).ReplaceAllString(text, " ")
	return strings.Join(strings.Fields(text), " ")
}

// What the person on call sees first, in each state.
func TestVerdicts(t *testing.T) {
	now := time.Now()
	silent := standsByView(now, 20*time.Second)
	unmarked := func(c *Config) {
		c.ReadStatus = func(context.Context) (*status.Status, error) {
			s := someStatus()
			s.MarkerSet = false
			return s, nil
		}
	}
	for name, c := range map[string]struct {
		view   *daemon.View
		change func(*Config)
		wants  []string
	}{
		"trusted": {leads(now), nil, []string{"TRUSTED – awa-counterd on awa", "Trusted The marker was set 30 min ago", "readers use the counters", "Do now: Nothing.", "76ms of 2s allowed", "3.0 MiB of 16 GiB allowed"}},
		"not trusted": {
			untrustedView(now, applier.DoubtRetained, "the server keeps 9GiB of WAL for the replication slot"), unmarked,
			[]string{"NOT TRUSTED – awa-counterd on awa", "The server keeps 9GiB of WAL for the replication slot.", "scan the rows, not the counters: slower, but right", "see pg_stat_activity.xact_start"},
		},
		"trust off":       {untrustedView(now, applier.DoubtOff, "trust is off"), unmarked, []string{"NOT MARKED", "Trust is off. The daemon corrects the counters all the same", "Do now: Nothing."}},
		"standby":         {standsByView(now, time.Second), nil, []string{"STANDING BY", "Another daemon leads: db1 pid 4711", "The marker is set", "Look at the leader", "4.0 KiB the leader&#39;s, as the server has it", "a standby does not read the stream"}},
		"unmarked leader": {standsByView(now, time.Second), unmarked, []string{"The marker is not set"}},
		"silent leader":   {silent, nil, []string{"LEADER SILENT", "The leader does not answer: db1 pid 4711, last sign of life 20", "takes over by itself"}},
		"failing":         {failing(now, "connect to db: connection refused"), unmarked, []string{"NOT WORKING", "Connect to db: connection refused.", "tries again by itself", "run awa-counterd doctor", "slower, but right"}},
		"failing, marked": {failing(now, "x"), nil, []string{"NOT WORKING", "may use counters that nobody vouches for", "run awa-counterd distrust"}},
		"waiting":         {&daemon.View{At: now, Phase: daemon.Waiting, Detail: "awa's migrations are running"}, unmarked, []string{"NOT YET", "Awa&#39;s migrations are running.", "run awa migrate"}},
		"hangs":           {leads(now.Add(-time.Minute)), nil, []string{"NOT TRUSTED", "overdue by 59", "restart the daemon", "of 2s allowed; trust ends at half"}},
	} {
		t.Run(name, func(t *testing.T) {
			var change []func(*Config)
			if c.change != nil {
				change = append(change, c.change)
			}
			text := visible(t, newRig(t, c.view, change...))
			for _, want := range c.wants {
				require.Contains(t, text, want)
			}
		})
	}
}

// The page holds what the database says is next, or why that is not known.
func TestPageSaysWhatIsNext(t *testing.T) {
	require.Contains(t, visible(t, newRig(t, leads(time.Now()))), "The upgrade pre-#290 writers still active on queue billing; last")
	r := newRig(t, failing(time.Now(), "x"), func(c *Config) {
		c.ReadStatus = func(context.Context) (*status.Status, error) { return nil, errors.New("connection refused") }
	})
	require.Contains(t, visible(t, r), "The upgrade not known: connection refused")
}

// Nothing is loaded from elsewhere, and what a queue is called is shown and never run.
func TestPageIsSelfContainedAndSafe(t *testing.T) {
	r := newRig(t, leads(time.Now()))
	r.history.take(read(time.Now().Add(-time.Minute), r.source.View()))
	r.history.take(r.reading())
	w := r.get("/")
	body, policy := w.Body.String(), w.Header().Get("Content-Security-Policy")
	nonce := regexp.MustCompile(`<style nonce="([^"]{22})"`).FindStringSubmatch(body)
	require.Len(t, nonce, 2)
	require.Contains(t, policy, "style-src 'nonce-"+nonce[1]+"'; script-src 'nonce-"+nonce[1]+"'")
	require.NotContains(t, policy, "unsafe")
	require.NotContains(t, body, "<script>alert")
	require.Contains(t, body, "&lt;script&gt;alert(")
	require.Equal(t, 1, strings.Count(body, "<script"))
	require.NotRegexp(t, `(src|href)="(https?:)?//`, body)
	require.NotContains(t, body, " style=") // the policy forbids it
	require.NotContains(t, body, "ZgotmplZ", "the template took something for unsafe")
	require.NotRegexp(t, `\son[a-z]+="`, body)
	require.NotEqual(t, nonce[1], regexp.MustCompile(`<style nonce="([^"]{22})"`).FindStringSubmatch(r.get("/").Body.String())[1])
}

// Who does not see it hears it: every plot has a name, every cell a heading, and what changes is said without figures that tick.
func TestPageCanBeHeard(t *testing.T) {
	r := newRig(t, untrustedView(time.Now(), applier.DoubtLag, "the stream is 3.21s behind"))
	body := r.get("/").Body.String()
	require.Contains(t, body, `<html lang="en">`)
	require.Equal(t, 1, strings.Count(body, "<h1>"))
	for _, svg := range regexp.MustCompile(`<svg[^>]*>`).FindAllString(body, -1) {
		require.Regexp(t, `role="img" aria-label="[^"]+"`, svg)
	}
	require.NotContains(t, regexp.MustCompile(`(?s)<table.*</table>`).FindString(body), "<th>")
	require.Contains(t, body, `<p id="spoken" class="sr" role="status">Not trusted: lag</p>`)
	require.Contains(t, body, `<noscript><meta http-equiv="refresh"`)
	require.Contains(t, body, "prefers-color-scheme: dark")
	for _, id := range []string{"spoken", "state", "next", "tiles", "queues", "past-name", "past", "facts", "at", "icon", "stale"} { // the script looks for them
		require.Equal(t, 1, strings.Count(body, fmt.Sprintf(`id=%q`, id)), id)
	}
}

// A great many queues make no great page, and the worst come first.
func TestPageOfManyQueues(t *testing.T) {
	v := leads(time.Now())
	for i := range daemon.MaxQueues - 2 {
		v.Queues = append(v.Queues, daemon.Queue{Name: fmt.Sprintf("q%02d", i), Drift: int64(i)})
	}
	r := newRig(t, v)
	for i := range mostSamples {
		v := *v
		v.Queues = append([]daemon.Queue{}, v.Queues...)
		for q := range v.Queues {
			v.Queues[q].Drift = int64(i * q % 977)
		}
		r.history.take(read(time.Now().Add(time.Duration(i-mostSamples)*sampleEvery), &v))
	}
	body := r.get("/").Body.String()
	require.Less(t, len(body), 150<<10)
	require.Contains(t, body, "and 38 more")
	require.Less(t, strings.Index(body, "<bdi>q47"), strings.Index(body, "<bdi>q46"))
	require.NotContains(t, body, "<bdi>q01")
}

func TestPlot(t *testing.T) {
	p := newPlot("lag", []float64{gap, 0, 0, 10, gap, 5, gap}, seconds)
	require.Equal(t, "M1 23H3V1.0H4M5 11.5H6", p.Line)
	require.Equal(t, "M1 24V23H3V1.0H4V24ZM5 24V11.5H6V24Z", p.Area)
	require.Equal(t, "lag over the last hour: at most 10s", p.Label)
	p = newPlot("lag", []float64{gap, gap}, seconds)
	require.Empty(t, p.Line)
	require.Contains(t, p.Label, "nothing is known")
	require.Equal(t, "1,234/s", perSecond(1234.4))
	require.Equal(t, "0.3/s", perSecond(0.26))
}

func BenchmarkPage(b *testing.B) {
	v := leads(time.Now())
	for i := range daemon.MaxQueues - 2 {
		v.Queues = append(v.Queues, daemon.Queue{Name: fmt.Sprintf("q%02d", i), Drift: int64(i)})
	}
	h := newHistory()
	for i := range mostSamples {
		h.take(read(time.Now().Add(time.Duration(i-mostSamples)*sampleEvery), v))
	}
	r := &reading{View: v, now: time.Now(), config: &Config{Bound: 2 * time.Second}}
	for b.Loop() {
		r.page(someStatus(), nil, h.last(r.now))
	}
}

// What the marker went through in the last days is on the page, the newest first, and text of others is text.
func TestPageLooksBack(t *testing.T) {
	require.Contains(t, visible(t, newRig(t, leads(time.Now()))), "The trust marker: no change is known of the last 7 days when what for why no change is known")
	st := someStatus()
	st.Changes = []status.MarkerChange{{Set: true, Ago: 600, Lasted: 600}, {Ago: 720, Lasted: 120, Reason: "the stream is <b>1.2s</b> behind"}}
	for range 20 {
		st.Changes = append(st.Changes, status.MarkerChange{Set: true, Ago: 9000, Lasted: 10})
	}
	r := newRig(t, leads(time.Now()), func(c *Config) {
		c.ReadStatus = func(context.Context) (*status.Status, error) { return st, nil }
	})
	text := visible(t, r)
	require.Contains(t, text, "The trust marker: cleared once since the history began, 2.5 h ago, for 2 min when what for why 10 min ago set 10 min 12 min ago cleared 2 min The stream is &lt;b&gt;1.2s&lt;/b&gt; behind 2.5 h ago set")
	require.Equal(t, mostChanges-2, strings.Count(text, "2.5 h ago set"))
	st.Changes = []status.MarkerChange{{Set: true, Ago: 600, Lasted: 600}}
	r.stub.view.Store(untrustedView(time.Now(), applier.DoubtLag, "the stream is 1.2s behind"))
	text = visible(t, r)
	require.Contains(t, text, "The trust marker: cleared once since the history began, 10 min ago, for 0.0 s", "it was cleared since the database was read")
	require.Contains(t, text, "0.0 s ago cleared 0.0 s The stream is 1.2s behind 10 min ago set 10 min")
	st.Changes = []status.MarkerChange{{Ago: 600, Lasted: 600, Reason: "why"}}
	r.stub.view.Store(leads(time.Now()))
	require.Contains(t, visible(t, r), "0.0 s ago set 0.0 s 10 min ago cleared 10 min Why")
	r.stub.view.Store(failing(time.Now(), "x"))
	require.Contains(t, visible(t, r), "as the database was read last")
	st.Changes, st.Forgot = nil, "somebody holds awa_counterd.marker_changes locked"
	require.Contains(t, visible(t, newRig(t, leads(time.Now()), func(c *Config) {
		c.ReadStatus = func(context.Context) (*status.Status, error) { return st, nil }
	})), "The trust marker: not known: somebody holds awa_counterd.marker_changes locked")
}

// At the end of a finish the leader leaves, and its silence is no alarm.
func TestPageDuringAFinish(t *testing.T) {
	v := standsByView(time.Now(), time.Minute)
	r := newRig(t, v)
	require.Contains(t, r.get("/").Body.String(), "Leader silent")
	v = standsByView(time.Now(), time.Minute)
	v.Leader.Leaving = true
	r = newRig(t, v)
	body := r.get("/").Body.String()
	require.NotContains(t, body, "Leader silent")
	require.Contains(t, body, "Standing by")
	require.Contains(t, body, "awa-counterd finish is completing the upgrade")
	require.Equal(t, calm, r.reading().verdict(nil).Class)
}
