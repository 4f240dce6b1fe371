package daemon

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/applier"
)

// dryReportEvery is how often a dry run says what it would have done; it also says so at the end of each session.
const dryReportEvery = time.Hour

// dryRun is when this session began, and said last what it would have done.
type dryRun struct{ since, told time.Time }

// beginDryRun says what a dry run does, and does not.
func (s *session) beginDryRun() {
	now := time.Now()
	s.dry = dryRun{since: now, told: now}
	s.log.Info("dry run: nothing of awa's is written; no counter is corrected, and the trust marker is neither set nor cleared")
	if s.core.MarkerSet() {
		s.log.Warn("dry run: the trust marker is set, and stays so: awa's readers use counters that nobody corrects; awa-counterd distrust clears it")
	}
}

// reportDryRun says what a daemon would have corrected: what is wrong at this moment, and the uncounted writes.
func (s *session) reportDryRun(now time.Time) {
	s.dry.told = now
	st := s.core.Status(now)
	fields := []zap.Field{
		zap.String("for", age(now, s.dry.since)),
		zap.Int("groups", st.DriftGroups), zap.Int64("drift", st.Drift),
		zap.Int64("uncounted_rows", st.UncountedRows), zap.String("queues", worst(st.Uncounted)),
		zap.Int64("audits_agreed", st.AuditsAgreed), zap.Int64("audits_disagreed", st.AuditsDisagreed), zap.Bool("marker_set", st.MarkerSet),
	}
	s.log.Info("dry run: what would have been corrected", fields...)
}

// mostWorst is how many queues a report names.
const mostWorst = 10

// worst names the queues by whose uncounted writes counters were driven wrong most.
func worst(sources map[applier.Source]applier.Uncounted) string {
	rows := make(map[string]int64)
	for s, u := range sources {
		rows[s.Queue] += u.Rows
	}
	names := make([]string, 0, len(rows))
	for name := range rows {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(rows[b], rows[a]), cmp.Compare(a, b)) })
	if len(names) == 0 {
		return "none"
	}
	out := make([]string, 0, mostWorst+1)
	for i, name := range names {
		if i == mostWorst {
			out = append(out, fmt.Sprintf("and %d more", len(names)-mostWorst))
			break
		}
		out = append(out, fmt.Sprintf("%s %d", Label(name), rows[name]))
	}
	return strings.Join(out, ", ")
}
