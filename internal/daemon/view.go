package daemon

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/replication"
)

// Phase is what a daemon is at.
type Phase string

// The phases.
const (
	Starting Phase = "starting" // connecting, taking the lead, making the replication slot
	Waiting  Phase = "waiting"  // for awa's migration, or for its end
	Standby  Phase = "standby"  // somebody else leads
	Leading  Phase = "leading"
	Failing  Phase = "failing" // a session has ended by a fault; the next one begins soon
)

// Phases lists them all.
func Phases() []Phase { return []Phase{Starting, Waiting, Standby, Leading, Failing} }

// View is a daemon at one moment. Once published it is never changed: whoever reads it may keep it. Its size is bounded, but
// for Status.Uncounted, which the Core bounds.
type View struct {
	At     time.Time
	Due    time.Duration // the next view comes at most that much later; 0 where nothing is due (between two sessions)
	Phase  Phase
	Since  time.Time // when the phase began
	Detail string    // what is waited for; what ended the last session

	Schema string // awa's; "" while not known
	Slot   replication.Slot

	Sessions int64 // leads that got as far as streaming
	Faults   int64 // sessions that were ended by a fault, or could not begin
	Totals   applier.Totals
	Queues   []Queue // the same order in every view; new ones at the end
	Rest     Queue   // called Others: the sum of those that MostQueues left no room for
	// Undivided says that the drift is not told apart by queue, since too many groups are wrong: Rest has all of it.
	Undivided bool

	Status *applier.Status    // while Leading
	Leader *checkpoint.Leader // while Standby: who leads
}

// Queue is what this process has seen of one queue since it started.
type Queue struct {
	Name  string // as UTF-8, and not too long
	Drift int64  // sum of the absolute drifts, now; 0 while nobody here leads
	// Last is when the last uncounted write was, by the server's clock; zero for never.
	Last time.Time
	// Uncounted writes by kind.
	Uncounted map[applier.Kind]Count
}

// Count is a number of uncounted writes.
type Count struct {
	Rows         int64 // by which counters were driven wrong
	Transactions int64
}

// Lag is how far the books may be behind at time now; it grows when no view comes any more. It is valid while Leading.
func (v *View) Lag(now time.Time) time.Duration { return v.Status.Lag + v.Overdue(now) }

// Overdue is for how long a view has been missing: a daemon that hangs publishes none.
func (v *View) Overdue(now time.Time) time.Duration {
	if v.Due == 0 {
		return 0
	}
	return max(0, now.Sub(v.At)-v.Due)
}

// Meter takes durations. Its methods are called from the loop and from what works for it: they must not wait.
type Meter interface {
	// Flushed takes a flush, from its first correction to the commit of its token.
	Flushed(d time.Duration)
	// Corrected takes one transaction of corrections: an upper bound of how long it held counter rows.
	Corrected(d time.Duration)
	// Scanned takes a fenced scan of one ring slot.
	Scanned(d time.Duration)
	// Stale takes, when a flush was committed, how old the oldest write was that readers might not have seen corrected until then.
	Stale(d time.Duration)
}

// MaxQueues bounds the queues that are told apart: a metric of each stays for as long as the process lives.
const MaxQueues = 50

// Others is what the rest of them is called; a queue of that name is one of them.
const Others = "(others)"

// recent is how old uncounted writes of a queue may be that a session finds in the checkpoint, and yet be told.
const recent = 24 * time.Hour

// viewEvery is the longest time between two views.
func viewEvery(bound time.Duration) time.Duration { return min(time.Second, bound/4) }

// View returns the newest view. It is safe for concurrent use, and never waits. It is only kept up to date when Options has
// a Meter.
func (d *Daemon) View() *View { return d.views.newest.Load() }

// views makes them. Only the goroutine that runs the sessions publishes, or one that it waits for.
type views struct {
	newest atomic.Pointer[View]
	next   View // what the next one is made from
	index  map[string]int
	status applier.Status           // the last one of this session
	told   map[applier.Source]Count // what was counted of each, as the Core and the checkpoint have it: since the books began
	of     string                   // the schema that told is about
	// cleared counts the times that the marker was cleared without a command of a Core's. The monitor does so as well.
	cleared atomic.Int64
}

func (w *views) begin(now time.Time) {
	w.index, w.told = make(map[string]int), make(map[applier.Source]Count)
	w.next = View{Phase: Starting, Since: now, Rest: Queue{Name: Others, Uncounted: make(map[applier.Kind]Count)}}
	w.publish(now)
}

// show publishes a phase, and tells the supervisor. When nobody looks, no view is made.
func (d *Daemon) show(phase Phase, detail string) {
	if phase != Leading { // of which more is to be said, whether somebody looks or not
		d.report(phase, detail)
	}
	if d.opts.Meter == nil {
		return
	}
	v := &d.views.next
	now := time.Now()
	if v.Phase != phase {
		v.Since = now
	}
	v.Phase, v.Detail, v.Due, v.Status, v.Leader, v.Slot, v.Undivided = phase, detail, 0, nil, nil, replication.Slot{}, false
	for i := range v.Queues {
		v.Queues[i].Drift = 0
	}
	v.Rest.Drift = 0
	d.views.publish(now)
}

// showStandby publishes who leads instead.
func (d *Daemon) showStandby(schema string, leader checkpoint.Leader) {
	who := "another daemon leads"
	if leader.Instance != "" {
		who = leader.Process() + " leads"
	}
	d.report(Standby, who)
	if d.opts.Meter == nil {
		return
	}
	if d.views.next.Phase != Standby {
		d.show(Standby, "another daemon leads")
	}
	v := &d.views.next
	v.Schema, v.Leader, v.Due = schema, &leader, time.Second
	d.views.publish(time.Now())
}

// showLead publishes the Core.
func (s *session) showLead(now time.Time) {
	if s.d.opts.Meter == nil {
		return
	}
	st := s.core.Status(now)
	w := &s.d.views
	v := &w.next
	if v.Phase != Leading {
		s.d.show(Leading, "")
		v.Sessions++
		w.adoptCheckpoint(string(s.layout.Schema), &st, s.resumes)
	}
	v.Schema, v.Due, v.Slot = string(s.layout.Schema), viewEvery(s.d.opts.MaxStaleness), s.lastSlot
	if v.Slot.Name == "" { // not looked at yet
		v.Slot.Name = s.slot
	}
	v.Totals.Add(&st.Totals, &w.status.Totals)
	drifts, divided := s.core.Drifts()
	if v.Undivided = !divided; v.Undivided {
		drifts = map[string]int64{Others: st.Drift}
	}
	w.updateQueues(now, st, drifts)
	w.status, v.Status = st, &st
	w.publish(now)
}

// showEnd publishes the last figures of a session, and at once how it ended: until the next one begins, or this one is even put
// away, seconds may pass, and nobody vouches for anything meanwhile.
func (s *session) showEnd(now time.Time, err error) {
	s.showLead(now)
	s.d.showFault(err)
}

// showFault publishes what ended a session, unless that was intended.
func (d *Daemon) showFault(err error) {
	switch {
	case err == nil || intended(err):
	case errors.Is(err, errMigrated):
		d.show(Waiting, err.Error())
	default:
		d.show(Failing, err.Error())
	}
}

// looks ticks when a view is due; never when nobody looks.
func (l *loop) looks() (<-chan time.Time, func()) {
	if l.d.opts.Meter == nil {
		return nil, func() {}
	}
	t := time.NewTicker(viewEvery(l.d.opts.MaxStaleness))
	return t.C, t.Stop
}

// showTrust publishes at once when the marker was set or cleared.
func (s *session) showTrust(now time.Time) {
	if st := s.d.views.next.Status; st != nil && st.Trusted+st.Distrusted != s.core.MarkerChanges() {
		s.showLead(now)
	}
}

// meter tells of a write that was answered, before the Core hears of it.
func (s *session) meter(now time.Time, r applier.WriteResult, took time.Duration) {
	m := s.d.opts.Meter
	if m == nil || r.Written == 0 || r.Err != nil {
		return
	}
	m.Flushed(took)
	if age := s.core.OldestDrift(now); age < recent { // else nobody knows how old it is
		m.Stale(age)
	}
}

func (w *views) publish(now time.Time) {
	v := w.next
	v.At = now
	v.Totals.Distrusted += w.cleared.Load()
	v.Queues = slices.Clone(v.Queues)
	for i := range v.Queues {
		v.Queues[i].Uncounted = maps.Clone(v.Queues[i].Uncounted)
	}
	v.Rest.Uncounted = maps.Clone(v.Rest.Uncounted)
	w.newest.Store(&v)
}

// maxSourcesKept bounds what is remembered across sessions; the Core bounds what comes of each.
const maxSourcesKept = 20_000

// adoptCheckpoint takes over what a session begins with. What the checkpoint knew is not counted again; nor is what the session before had
// counted after that checkpoint, since one that resumes is streamed it once more.
func (w *views) adoptCheckpoint(schema string, st *applier.Status, resumes bool) {
	if !resumes || schema != w.of || len(w.told) > maxSourcesKept {
		w.told, w.of = make(map[applier.Source]Count), schema
	}
	for s, u := range st.Uncounted {
		t := w.told[s]
		w.told[s] = Count{max(t.Rows, u.Rows), max(t.Transactions, u.Transactions)}
	}
	w.status = applier.Status{Uncounted: st.Uncounted}
}

// newlyUncounted is what a source has that was not told yet.
func (w *views) newlyUncounted(s applier.Source, u applier.Uncounted) Count {
	t := w.told[s]
	if u.Rows < w.status.Uncounted[s].Rows { // the Core forgot it meanwhile, and found it again
		t = Count{}
	}
	n := Count{max(0, u.Rows-t.Rows), max(0, u.Transactions-t.Transactions)}
	w.told[s] = Count{t.Rows + n.Rows, t.Transactions + n.Transactions}
	return n
}

// updateQueues brings the queues up to date.
func (w *views) updateQueues(now time.Time, st applier.Status, drifts map[string]int64) {
	for i := range w.next.Queues {
		w.next.Queues[i].Drift = 0
	}
	w.next.Rest.Drift = 0
	for s := range w.status.Uncounted {
		if _, kept := st.Uncounted[s]; !kept { // the Core has forgotten it
			delete(w.told, s)
		}
	}
	sources := slices.SortedFunc(maps.Keys(st.Uncounted), func(a, b applier.Source) int {
		return st.Uncounted[b].LastAt.Compare(st.Uncounted[a].LastAt)
	})
	for _, source := range sources {
		u := st.Uncounted[source]
		n := w.newlyUncounted(source, u)
		fresh := source.Kind != applier.KindCounter && now.Sub(u.LastAt) < recent
		if q := w.queue(source.Queue, n.Transactions > 0 || fresh); q != nil {
			sum := q.Uncounted[source.Kind]
			q.Uncounted[source.Kind] = Count{sum.Rows + n.Rows, sum.Transactions + n.Transactions}
			if u.LastAt.After(q.Last) {
				q.Last = u.LastAt
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(drifts)) {
		w.queue(name, true).Drift += drifts[name]
	}
}

// queue finds a queue, or makes it as long as there is room, if there is cause to; else it is one of the rest. Without
// cause an unknown one is nil.
func (w *views) queue(name string, cause bool) *Queue {
	name = Label(name)
	i, known := w.index[name]
	switch {
	case known:
		return &w.next.Queues[i]
	case !cause:
		return nil
	case len(w.next.Queues) == MaxQueues || name == Others:
		return &w.next.Rest
	}
	w.index[name] = len(w.next.Queues)
	w.next.Queues = append(w.next.Queues, Queue{Name: name, Uncounted: make(map[applier.Kind]Count)})
	return &w.next.Queues[len(w.next.Queues)-1]
}

// longestLabel bounds a queue's name where it is shown, in bytes. awa does not.
const longestLabel = 120

// Label makes a name fit to be shown: valid UTF-8 of bounded length.
func Label(name string) string {
	name = strings.ToValidUTF8(name, "\uFFFD")
	if len(name) <= longestLabel {
		return name
	}
	cut := longestLabel
	for cut > 0 && name[cut]&0xC0 == 0x80 { // not in the middle of a rune
		cut--
	}
	return name[:cut] + "…"
}
