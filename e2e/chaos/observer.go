package main

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// observer samples marker, counters and rows all the time. It also keeps the windows: from the instant at
// which a fault takes the daemon's voice away (killed, stopped, cut off, its server gone) to the
// instant at which nobody reads a marker without a voucher any more.
type observer struct {
	env    *env
	ctx    context.Context // the observer's own life
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	watch  fleet.Watch
	open   map[string]*window
	closed map[string]windowStats
	memory map[int][]int64 // resident bytes by process, once a second
	missed int             // samples that the server did not answer
	stall  time.Time       // until then, synchronous replication stalls
	locked bool            // and a stalled transaction of awa's own has the marker's row
	blind  time.Time       // until then, counters may be wrong for reasons that nobody logs
	blinds []time.Time     // when each such time began
}

// window is a time during which the daemon cannot clear the marker. It ends when somebody vouches, or when the marker
// is seen not set after the time within which a command to set it could still arrive.
type window struct {
	began, over time.Time // over: the fault itself has ended; zero before that
	silenced    time.Time // when its last fault began
	mute        string    // the instance that led when it began
	unset       time.Time // when the marker was seen not set, and from then on while the fault lasted
}

// look takes in what was seen of the marker, and reports whether that ends the window: somebody vouches
// who can clear the marker.
func (w *window) look(now time.Time, set bool, v voucher) (closes bool) {
	switch {
	case !set:
		if w.unset.IsZero() {
			w.unset = now
		}
		if now.Sub(w.silenced) > underWay {
			return true
		}
	case set && w.over.IsZero() && v.instance == w.mute: // nobody else can have set it for the counters' sake
		w.unset = time.Time{}
	}
	if w.over.IsZero() {
		return v.trusts && v.instance != w.mute && v.at.After(w.began)
	}
	return v.trusts && v.at.After(w.over)
}

// underWay is how long after a leader was silenced its last command to set the marker may do so: it is void once what
// it rests on is older than half of the bound, and waits less than half a second for the marker's row.
const underWay = maxStaleness/2 + 500*time.Millisecond

// stood is how long the marker stood in a window that ends now.
func (w *window) stood(now time.Time) time.Duration {
	if !w.unset.IsZero() {
		now = w.unset
	}
	return now.Sub(w.began)
}

// voucher is a leader, whether it says that the counters can be trusted, and when it said so last.
type voucher struct {
	instance string
	trusts   bool
	at       time.Time
}

// windowStats sums up the windows of a kind.
type windowStats struct {
	n     int
	worst time.Duration
	total time.Duration
}

func newObserver(a *env) *observer {
	e := &observer{
		env: a, open: make(map[string]*window), closed: make(map[string]windowStats), memory: make(map[int][]int64),
		watch: fleet.Watch{Schema: schema, Bound: maxStaleness},
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.watch.Unvouched = func() bool { return len(e.open) > 0 || e.locked } // called under mu
	e.watch.Unlogged = func() bool { return time.Now().Before(e.blind) }
	e.wg.Go(e.look)
	return e
}

func (e *observer) stop() {
	e.cancel()
	e.wg.Wait()
}

func (e *observer) look() {
	next := time.NewTimer(0)
	defer next.Stop()
	weigh := time.Now()
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-next.C:
		}
		began := time.Now()
		e.sample()
		// A look holds a lock on every leaf. Pruners need a turn, else leaves grow, looks take longer,
		// and pruners get none at all.
		next.Reset(max(10*time.Millisecond, time.Since(began)))
		if time.Since(weigh) > time.Second {
			weigh = time.Now()
			e.sampleMemory()
		}
	}
}

func (e *observer) sample() {
	ctx, cancel := context.WithTimeout(e.ctx, 5*time.Second)
	defer cancel()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.locked = time.Now().Before(e.stall) && e.markerLocked(ctx)
	if e.watch.Look(ctx, e.env.pool) != nil {
		e.missed++
		return
	}
	if len(e.open) == 0 {
		return
	}
	now := time.Now()
	v := e.voucher(ctx)
	for kind, w := range e.open {
		if w.look(now, e.watch.Set, v) {
			e.closed[kind] = e.closed[kind].with(w.stood(now))
			delete(e.open, kind)
		}
	}
}

func (s windowStats) with(stood time.Duration) windowStats {
	s.n++
	s.total += stood
	s.worst = max(s.worst, stood)
	return s
}

// markerLocked reports that a transaction in progress holds the marker's row. While it stalls, nobody in
// the world can clear the marker.
func (e *observer) markerLocked(ctx context.Context) (locked bool) {
	_ = e.env.pool.QueryRow(ctx, `select exists (select 1 from awa.queue_ring_state
		where xmax::text <> '0' and not pg_visible_in_snapshot(xmax::text::xid8, pg_current_snapshot()))`).Scan(&locked)
	return locked
}

// stalls says that synchronous replication stalls from now on; the caller tells when it is over.
func (e *observer) stalls() (over func()) {
	set := func(d time.Duration) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.stall = time.Now().Add(d)
	}
	set(time.Hour)
	return func() { set(time.Second) }
}

// voucher reads who leads and what it says.
func (e *observer) voucher(ctx context.Context) (v voucher) {
	const sql = `select instance, state = 'trusted', heartbeat_at from awa_counterd.leader where awa_schema = $1`
	if e.env.pool.QueryRow(ctx, sql, schema).Scan(&v.instance, &v.trusts, &v.at) != nil {
		return voucher{}
	}
	return v
}

func (e *observer) sampleMemory() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range e.env.supervisors {
		pid := m.current().PID()
		if b := resident(pid); b > 0 {
			e.memory[pid] = append(e.memory[pid], b)
		}
	}
}

// openWindow opens a window of a kind and returns what ends its fault.
func (e *observer) openWindow(kind string) (over func()) {
	if len(e.env.supervisors) > 1 && !strings.HasPrefix(kind, "all killed") {
		kind += ", a standby beside"
	} else if len(e.env.supervisors) == 1 {
		kind += ", alone"
	}
	mute := e.voucher(e.ctx).instance
	e.mu.Lock()
	defer e.mu.Unlock()
	w, ok := e.open[kind]
	if ok && !w.unset.IsZero() { // the next of its kind before anybody vouched
		e.closed[kind] = e.closed[kind].with(w.stood(time.Now()))
		ok = false
	}
	if !ok {
		w = &window{began: time.Now()}
		e.open[kind] = w
	}
	w.mute, w.silenced, w.over = mute, time.Now(), time.Time{}
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		w.over = time.Now()
	}
}

// noteUnloggedDrift says that counters are driven wrong now in ways that the writers' own record does not have.
func (e *observer) noteUnloggedDrift() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.blind = time.Now().Add(2 * maxStaleness)
}

// noteUnsentChanges says that the daemon is not sent everything from now on, and writes what is wrong until it
// finds out; an audit may be what finds it.
func (e *observer) noteUnsentChanges() {
	e.noteUnloggedDrift()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.blinds = append(e.blinds, time.Now())
}

// expected reports whether an audit could find the books wrong at that time: they were not sent all.
func (e *observer) expected(at time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, b := range e.blinds {
		if at.After(b) && at.Before(b.Add(2*maxStaleness)) {
			return true
		}
	}
	return false
}

func (e *observer) vouched() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.open) == 0
}
