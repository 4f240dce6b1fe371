package applier

import "time"

// watch measures how long old binaries have been quiet while a daemon watched, by its own clock. The server's may be set.
type watch struct {
	quiet time.Duration
	since time.Time // what is proven from here on counts; zero while the books of some ring slot are not known
}

// look begins to watch, or stops.
func (w *watch) look(now time.Time, sees bool) {
	if !sees {
		w.since = time.Time{}
	} else if w.since.IsZero() {
		w.since = now
	}
}

// proven says that whatever was committed before at has been seen.
func (w *watch) proven(at time.Time) {
	if !w.since.IsZero() && at.After(w.since) {
		w.quiet, w.since = w.quiet+at.Sub(w.since), at
	}
}

// heard says that an old binary was at work.
func (w *watch) heard(now time.Time) {
	w.quiet = 0
	if !w.since.IsZero() {
		w.since = now
	}
}
