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

// ticker remembers the last status, for rates.
type ticker struct {
	last applier.Status
	at   time.Time
}

// logStatus writes the one dense line that an operator watches.
func (s *session) logStatus(now time.Time) {
	st := s.core.Status(now)
	before, since := s.status.last, now.Sub(s.status.at).Seconds()
	if s.status.at.IsZero() {
		before, since = applier.Status{UncountedRows: st.UncountedRows, Queues: st.Queues}, now.Sub(st.Start).Seconds()
	}
	s.status = ticker{last: st, at: now}
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
	if q := busiest(st.Queues, before.Queues); q != "" {
		fields = append(fields, zap.String("uncounted_on", q))
	}
	fields = append(fields, zap.String("trust", trust(now, st)), zap.String("audit", audit(now, st)))
	s.log.Info("status", fields...)
}

// trust says whether the marker is set and since when, or why not.
func trust(now time.Time, st applier.Status) string {
	if st.MarkerSet && st.Reason == "" {
		return "set " + age(now, st.MarkerSince)
	}
	return "no: " + st.Reason
}

func audit(now time.Time, st applier.Status) string {
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

// busiest names the queues that were written uncounted since the last line, most first.
func busiest(now, before map[string]applier.Uncounted) string {
	type queue struct {
		name string
		rows int64
	}
	var qs []queue
	for name, u := range now {
		if n := u.Rows - before[name].Rows; n > 0 {
			qs = append(qs, queue{name, n})
		}
	}
	slices.SortFunc(qs, func(a, b queue) int { return int(b.rows - a.rows) })
	var names []string
	for i, q := range qs {
		if i == 3 {
			names = append(names, fmt.Sprintf("and %d more", len(qs)-3))
			break
		}
		names = append(names, q.name)
	}
	return strings.Join(names, ", ")
}

// compact renders bytes without a blank, so that they need no quotes in a line of key=value.
func compact(n uint64) string { return strings.ReplaceAll(humanize.IBytes(n), " ", "") }
