package daemon

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/applier"
)

// ticker remembers what was read and what was logged last.
type ticker struct {
	seen   applier.Status              // at the last tick
	calm   bool                        // it was
	last   applier.Status              // of the last line, for rates
	at     time.Time                   // of the last line
	active map[applier.Source]struct{} // whose uncounted writes were told, and go on
}

// quietAfter is how long a queue goes without an uncounted write before the log says that it is quiet.
const quietAfter = time.Minute

// logQueues says once when uncounted writes on a queue begin, and once when they have ended.
func (s *session) logQueues(now time.Time, after, before map[applier.Source]applier.Uncounted) {
	if s.status.active == nil {
		s.status.active = make(map[applier.Source]struct{})
	}
	for q, u := range after {
		fields := []zap.Field{
			zap.String("queue", q.Queue), zap.String("kind", string(q.Kind)), zap.Int64("rows", u.Rows), zap.Int64("transactions", u.Transactions),
			zap.Time("last", u.LastAt.UTC()), zap.Stringer("last_lsn", u.LastLSN),
		}
		_, active := s.status.active[q]
		switch {
		case !active && u.Rows > before[q].Rows:
			s.status.active[q] = struct{}{}
			s.log.Info(uncountedMessage(q.Kind), fields...)
		case active && now.Sub(u.LastAt) > quietAfter:
			delete(s.status.active, q)
			s.log.Info("no uncounted write on this queue for a minute", fields...)
		}
	}
}

// uncountedMessage says what is new of a queue.
func uncountedMessage(k applier.Kind) string {
	switch k {
	case applier.KindPrune:
		return "a pre-#290 leader pruned this queue without counting"
	case applier.KindCounter:
		return "counters of this queue became wrong, but not by a pre-#290 binary: a clamp, a rebuild, a migration or a person"
	}
	return "a pre-#290 binary writes to this queue without counting"
}

// logStatus is called at each tick. It writes the one dense line that an operator watches, if one is due.
func (s *session) logStatus(now time.Time) {
	st := s.core.Status(now)
	s.logQueues(now, st.Uncounted, s.status.seen.Uncounted)
	fields := s.statusFields(now, &st)
	s.d.super.Status(statusText(fields))
	if s.status.due(now, s.d.opts.StatusInterval, s.isCalm(&st, &s.status.seen)) {
		s.log.Info("status", fields...)
		s.status.last, s.status.at = st, now
	}
	s.status.seen = st
	if s.d.opts.DryRun && now.Sub(s.dry.told) >= dryReportEvery {
		s.reportDryRun(now)
	}
}

// calmTicks is how many status intervals pass between two status lines while all is calm: a minute at the default interval. What
// happens meanwhile has lines of its own, and a status line follows at the next tick.
const calmTicks = 6

// due reports whether a tick of the status interval is to be logged: each one while something is wrong or counters are being made
// wrong, one more when that has ended, and else one of calmTicks.
func (t *ticker) due(now time.Time, interval time.Duration, calm bool) bool {
	was := t.calm
	t.calm = calm
	return !calm || !was || now.Sub(t.at) > calmTicks*interval-interval/2 // half a tick for a late one
}

// isCalm reports that all is well, and that nothing was corrected or found wrong since the tick before.
func (s *session) isCalm(st, before *applier.Status) bool {
	switch st.Doubt {
	case applier.DoubtNone:
		if !st.MarkerSet {
			return false
		}
	case applier.DoubtOff, applier.DoubtNoMarker, applier.DoubtDryRun: // nobody waits for the marker
	default:
		return false
	}
	return !s.guarded && !s.holding && !st.Stopping && st.Settled == st.Units && st.Lag <= s.d.opts.MaxStaleness/2 &&
		(st.Drift == 0 || s.d.opts.DryRun) && // a dry run leaves it
		st.UncountedRows == before.UncountedRows && st.Corrections == before.Corrections &&
		st.AuditMismatches == before.AuditMismatches && st.PruneMismatches == before.PruneMismatches
}

// statusFields are those of the status line. Rates are since the last one.
func (s *session) statusFields(now time.Time, st *applier.Status) []zap.Field {
	before, since := &s.status.last, now.Sub(s.status.at).Seconds()
	rate := func(now, then int64) float64 {
		if since <= 0 {
			return 0
		}
		return math.Round(float64(now-then)/since*10) / 10
	}
	fields := []zap.Field{
		zap.Stringer("position", st.Position),
		zap.String("lag", fmt.Sprintf("%s/%s", st.Lag.Round(time.Millisecond), compact(st.LagBytes))),
		zap.String("retained", compact(uint64(max(s.retained, 0)))),
		zap.Float64("rows/s", rate(st.Rows, before.Rows)),
		zap.Float64("tx/s", rate(st.Transactions, before.Transactions)),
		zap.Int("groups", st.Groups),
		zap.Int64("drift", st.Drift),
		zap.Int64("corrections", st.Corrections),
		zap.Float64("uncounted/s", rate(st.UncountedRows, before.UncountedRows)),
	}
	if q := busiest(st.Uncounted, before.Uncounted, since); q != "" {
		fields = append(fields, zap.String("uncounted_on", q))
	}
	if st.PruneMismatches > 0 {
		fields = append(fields, zap.Int64("prune_mismatches", st.PruneMismatches))
	}
	if s.d.opts.DryRun {
		fields = append(fields, zap.Int("would_correct", st.DriftGroups))
	}
	return append(fields, zap.String("trust", trust(now, st)), zap.String("audit", audit(now, st)))
}

// trust says whether the marker is set and since when, or why not.
func trust(now time.Time, st *applier.Status) string {
	if st.MarkerSet && st.Reason == "" {
		return "set " + age(now, st.MarkerSince)
	}
	return "no: " + st.Reason
}

func audit(now time.Time, st *applier.Status) string {
	text := "none yet"
	if !st.LastAudit.IsZero() {
		text = "ok " + age(now, st.LastAudit) + " ago"
	}
	if st.AuditMismatches > 0 {
		text += fmt.Sprintf(", %d groups were wrong", st.AuditMismatches)
	}
	return text
}

func age(now, then time.Time) string {
	d := now.Sub(then)
	if d < time.Minute {
		return d.Round(time.Second).String()
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}

// busiest names the queues on which there were uncounted writes since the last line, most first.
func busiest(now, before map[applier.Source]applier.Uncounted, seconds float64) string {
	type queue struct {
		name string
		rows int64
	}
	var qs []queue
	by := make(map[string]int64)
	for s, u := range now {
		if n := u.Rows - before[s].Rows; n > 0 && s.Kind != applier.KindCounter {
			by[s.Queue] += n
		}
	}
	for name, n := range by {
		qs = append(qs, queue{name, n})
	}
	slices.SortFunc(qs, func(a, b queue) int { return int(b.rows - a.rows) })
	var names []string
	for i, q := range qs {
		if i == 3 {
			names = append(names, fmt.Sprintf("and %d more", len(qs)-3))
			break
		}
		names = append(names, fmt.Sprintf("%s %.1f/s", q.name, float64(q.rows)/max(seconds, 0.001)))
	}
	return strings.Join(names, ", ")
}

// compact renders bytes without a blank, so that they need no quotes in a line of key=value.
func compact(n uint64) string { return strings.ReplaceAll(humanize.IBytes(n), " ", "") }
