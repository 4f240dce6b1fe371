package applier

import "time"

// clocks is a point in time on both clocks. Commit times are the server's; a jump of that clock
// must not hide how long something has been waiting here.
type clocks struct {
	server time.Time
	local  time.Time
}

func (m clocks) isZero() bool { return m.local.IsZero() }

// unknownAge marks drift that nobody saw arise: it came with a checkpoint or out of an audit.
func unknownAge() clocks { return clocks{server: time.Unix(0, 0), local: time.Unix(0, 0)} }

// staleness follows how old the oldest drift is that readers may still see.
type staleness struct {
	open     clocks // oldest write since the last flush began
	flight   clocks // oldest write that the flush under way is to correct
	settling clocks // oldest write that is corrected in the books, but perhaps not yet for readers

	flightAt time.Time // when the flush under way was planned
	settleAt time.Time // the plan, or the balance, that settling stems from
}

// noteDrift notes a drift.
func (a *staleness) noteDrift(m clocks) { a.open = older(a.open, m) }

// flushing moves what is open to the flush that now begins, which covers all of it but rest.
func (a *staleness) flushing(now time.Time, rest clocks) {
	a.flight, a.open = older(a.flight, a.open), rest
	a.flightAt = now
}

// flushed ends the flush. What it could not correct keeps its age. What it had no need to correct,
// because somebody else's transaction had set it right (a prune, a rebuild), was streamed before
// readers can see it; so the ages stand until confirm.
func (a *staleness) flushed(all bool) {
	if all {
		a.settle(a.flightAt)
	}
}

// noteNoDrift notes that the books hold no drift any more, whoever did that.
func (a *staleness) noteNoDrift(now time.Time) {
	if !a.open.isZero() || !a.flight.isZero() {
		a.flushing(now, clocks{})
		a.settle(now)
	}
}

func (a *staleness) settle(at time.Time) {
	a.settling, a.flight = older(a.settling, a.flight), clocks{}
	a.settleAt = at
}

// confirm ends what readers can see to be settled: a snapshot asked for at looked sees every
// transaction streamed up to then. oldestUnseen is when the oldest one was streamed that it does
// not see; zero when it sees all.
func (a *staleness) confirm(looked, oldestUnseen time.Time) {
	if !looked.After(a.settleAt) {
		return
	}
	if oldestUnseen.IsZero() || oldestUnseen.After(a.settleAt) {
		a.settling = clocks{}
	}
}

// older is the older of two on each clock by itself: after a jump the clocks disagree which one it is.
func older(a, b clocks) clocks {
	if a.isZero() {
		return b
	}
	if b.isZero() {
		return a
	}
	if b.server.Before(a.server) {
		a.server = b.server
	}
	if b.local.Before(a.local) {
		a.local = b.local
	}
	return a
}

// oldest returns the age of the oldest write that readers may not see corrected; 0 when there is none.
func (a *staleness) oldest(now, serverNow time.Time) time.Duration {
	m := older(a.settling, older(a.flight, a.open))
	if m.isZero() {
		return 0
	}
	return max(serverNow.Sub(m.server), now.Sub(m.local), 0)
}
