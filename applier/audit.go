package applier

import (
	"slices"
	"time"

	"github.com/awa-counterd/awa-counterd/internal/base/pgsnap"
)

// scans decides which unit is scanned when: first to fill the books, then to audit them.
type scans struct {
	out       map[int32]time.Time // under way, since when
	failed    map[int32]int       // how often in a row a unit's scan found a lock in its way
	audited   map[int32]struct{}  // units that agreed with a scan since this session began
	round     map[int32]struct{}  // units still to be scanned in this audit round
	auditing  bool
	lastAudit time.Time // end of the last round
	retryAt   time.Time
	latest    pgsnap.Snapshot // newest snapshot that the journal was not yet pruned by
}

func newScans() scans {
	return scans{out: make(map[int32]time.Time), failed: make(map[int32]int), audited: make(map[int32]struct{}), round: make(map[int32]struct{})}
}

func (s *scans) running() int { return len(s.out) }

func (s *scans) passed(unit int32) { s.audited[unit] = struct{}{} }

// distrust makes a unit unaudited, and due for the next free scan.
func (s *scans) distrust(unit int32) {
	delete(s.audited, unit)
	s.round[unit] = struct{}{}
	s.auditing = true
}

func (c *Core) nextScans(now time.Time, out []Command) []Command {
	s := &c.scans
	if c.stopping || now.Before(s.retryAt) {
		return out
	}
	c.beginAudit(now)
	if c.journal.missing(c.snapshot) > 0 {
		return out // such a scan would be refused; the next token brings a newer snapshot
	}
	for _, slot := range c.scanOrder() {
		// A crowded journal drains only while no scan is out.
		if s.running() >= c.maxScans() || (s.running() > 0 && c.journal.crowded()) {
			break
		}
		if _, busy := s.out[slot]; busy || !c.wantsScan(slot) {
			continue
		}
		s.out[slot] = now
		delete(s.round, slot)
		out = append(out, StartScan{Unit: slot})
	}
	return out
}

// scanOrder is by slot, with those behind that were found locked: one that stays so must not keep all others out.
func (c *Core) scanOrder() []int32 {
	failed := c.scans.failed
	if len(failed) == 0 {
		return c.books.order
	}
	order := slices.Clone(c.books.order)
	slices.SortStableFunc(order, func(a, b int32) int { return failed[a] - failed[b] })
	return order
}

func (c *Core) wantsScan(slot int32) bool {
	u := c.books.units[slot]
	if u.main == nil {
		return true
	}
	_, due := c.scans.round[slot]
	// An audit waits for the first token: before it, corrections of an earlier run may be missing
	// from the books, and it would only tell so.
	return due && u.settled() && u.shadow == nil && c.tokens.first
}

// beginAudit starts a round over all units when one is due: as soon as all are filled, and then
// every audit interval.
func (c *Core) beginAudit(now time.Time) {
	s := &c.scans
	if s.auditing || !c.tokens.first || c.books.settled() < len(c.books.order) {
		return
	}
	if !s.lastAudit.IsZero() && now.Sub(s.lastAudit) < c.cfg.AuditInterval && c.audited() {
		return
	}
	s.auditing = true
	for _, slot := range c.books.order {
		s.round[slot] = struct{}{}
	}
}

// endAudit closes a round when every unit of it was compared.
func (c *Core) endAudit(now time.Time) {
	s := &c.scans
	if !s.auditing || len(s.round) > 0 || s.running() > 0 {
		return
	}
	for _, u := range c.books.units {
		if !u.settled() || u.shadow != nil {
			return
		}
	}
	s.auditing = false
	if c.audited() {
		s.lastAudit = now
		c.totals.Audits++
	}
}

// audited reports whether every unit agreed with a scan since the last doubt about it.
func (c *Core) audited() bool { return len(c.scans.audited) == len(c.books.order) }

// maxScans is how many may be out at a time. awa up to 0.6.9 folds its ledger only while no client holds a
// snapshot, so beside a ledger they come one by one, with pauses.
func (c *Core) maxScans() int {
	if c.cfg.Shape.Ledger {
		return 1
	}
	return maxScans
}

// Scanned takes in the answer to a StartScan. When err is not nil something was locked for too long, and the
// scan is tried again.
func (c *Core) Scanned(now time.Time, unit int32, scan Scan, err error) {
	s := &c.scans
	took := now.Sub(s.out[unit])
	if c.cfg.Shape.Ledger {
		s.retryAt = now.Add(min(took, longestPause))
	}
	delete(s.out, unit)
	if err == nil {
		delete(s.failed, unit)
	}
	switch {
	case err != nil:
		if s.failed[unit]++; s.failed[unit] == patientScans {
			c.warn("a scan keeps finding its ring slot locked; still trying", "ring_slot", unit, "error", err.Error())
		}
		c.scanAgain(now, unit)
	case !c.books.completeScan(scan, c.journal):
		c.postponeScan(took, unit, scan)
		c.scanAgain(now, unit)
	default:
		c.totals.Scans++
	}
	c.forget()
	c.advance(now, 0)
}

// postponeScan says why a scan cannot be taken in.
func (c *Core) postponeScan(took time.Duration, unit int32, scan Scan) {
	if missing := c.journal.missing(scan.Snapshot); c.journal.pushed == 0 {
		c.info("a scan is postponed: some streamed commits are not visible yet", "ring_slot", unit, "transactions", missing)
		return
	}
	c.warn("a scan took so long that the daemon could not remember all writes meanwhile; trying again, which succeeds when less is written or the leaf is pruned",
		"ring_slot", unit, "took", round(took).String(), "memory", c.journal.size, "transactions_lost", c.journal.pushed)
}

func (c *Core) scanAgain(now time.Time, unit int32) {
	c.scans.retryAt = now.Add(retryPause)
	if c.books.units[unit].main != nil {
		c.scans.round[unit] = struct{}{}
	}
}
