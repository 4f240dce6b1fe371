package daemon

import (
	"time"

	"github.com/awa-counterd/awa-counterd/applier"
)

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
