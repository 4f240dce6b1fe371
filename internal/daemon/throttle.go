package daemon

import (
	"time"

	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/applier"
)

// What goes on and off for ever (somebody deleted the row of awa's ring state, say) is said a few times a minute,
// and then how often it was not said.
const (
	sayWithin = time.Minute
	sayMost   = 5
)

// throttle is what was said of late, by message.
type throttle map[string]*throttled

type throttled struct {
	since  time.Time
	times  int
	unsaid int
}

// allow reports whether a message is to be said now, and how often it was not before.
func (t throttle) allow(now time.Time, message string) (unsaid int, ok bool) {
	s, known := t[message]
	if !known || now.Sub(s.since) > sayWithin {
		if known {
			unsaid = s.unsaid
		}
		t[message] = &throttled{since: now, times: 1}
		return unsaid, true
	}
	if s.times++; s.times > sayMost {
		s.unsaid++
		return 0, false
	}
	return 0, true
}

// faults are the reasons that were given since a session last worked for a while. A server that is away may have several, in turn.
type faults map[string]struct{}

// mostFaults bounds them.
const mostFaults = 100

// first is true once for each reason.
func (f faults) first(reason string) bool {
	if _, said := f[reason]; said {
		return false
	}
	if len(f) >= mostFaults {
		clear(f)
	}
	f[reason] = struct{}{}
	return true
}

func (d *Daemon) logNotices(now time.Time, notices []applier.Notice) {
	for _, n := range notices {
		unsaid, ok := d.throttle.allow(now, n.Message)
		if !ok {
			continue
		}
		fields := make([]zap.Field, 0, len(n.Fields)/2+1)
		for i := 0; i+1 < len(n.Fields); i += 2 {
			key, _ := n.Fields[i].(string)
			fields = append(fields, zap.Any(key, n.Fields[i+1]))
		}
		if unsaid > 0 {
			fields = append(fields, zap.Int("times_not_said", unsaid))
		}
		if n.Warn {
			d.log.Warn(n.Message, fields...)
		} else {
			d.log.Info(n.Message, fields...)
		}
	}
}
