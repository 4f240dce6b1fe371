package applier

import (
	"errors"
	"fmt"
	"time"

	"github.com/awa-counterd/awa-counterd/decoder"
)

// marker follows the trust marker: what it is, what we did to it and what others did
// (docs/design.md §7).
type marker struct {
	set     bool
	busy    bool   // a SetMarker is under way
	want    bool   // what it asks for
	seq     uint64 // its token; until it is back, what the stream says of the marker is old news
	behind  bool
	since   time.Time
	reason  string // why it is not set, or why it was cleared last
	retryAt time.Time
	foreign string // what somebody else did, for the reason of our answer
}

func (m *marker) returned(seq uint64) {
	if m.behind && seq == m.seq {
		m.behind = false
	}
}

// leaving says why the marker cannot be left as it is when nobody watches over it, or nothing. Where a group has a counter
// row a bucket, the books know that their sum is right, not that each is what awa would hold: what an old binary wrote of one
// job and took back of another cancels out, leaves no correction behind, and two buckets wrong. Whoever counts such a job
// away does so where there is no counter row, and a fold throws that away (docs/design.md §12, Leaving).
func (c *Core) leaving() Doubt {
	switch {
	case !c.touchesMarker() || !c.stopping:
	case c.uncountedWithin(c.cfg.QuietPeriod):
		return Doubt{DoubtStopping, "the daemon stops, and old binaries wrote recently"}
	case c.cfg.Shape.OwnBucket != 0:
		return Doubt{DoubtStopping, "the daemon stops, and without it awa's folds may make the counters wrong"}
	}
	return Doubt{}
}

func (c *Core) touchesMarker() bool {
	return c.cfg.HasMarker && c.cfg.Trust != TrustOff && !c.cfg.DryRun
}

// uncountedWithin reports whether an uncounted write was seen, and less than d has been watched since.
func (c *Core) uncountedWithin(d time.Duration) bool {
	return !c.uncounted.lastOldBinary().IsZero() && c.uncounted.watch.quiet < d
}

// serverNow is an upper bound of the server's clock: the last reading was taken after it was asked for.
func (c *Core) serverNow(now time.Time) time.Time {
	if c.serverAt.isZero() {
		return now
	}
	return c.serverAt.server.Add(now.Sub(c.serverAt.local))
}

// Lag is how far the books may be behind: the time since the newest token that came back was sent.
func (c *Core) Lag(now time.Time) time.Duration {
	if c.tokens.provenAt.IsZero() {
		return now.Sub(c.totals.Start)
	}
	return now.Sub(c.tokens.provenAt)
}

// doubt returns why the marker must not be set, or "" when the books can vouch for it.
func (c *Core) doubt(now time.Time) string { return c.why(now).Text }

func (c *Core) why(now time.Time) Doubt {
	switch {
	case c.cfg.DryRun:
		return Doubt{DoubtDryRun, "dry run: nothing is corrected, and the marker is neither set nor cleared"}
	case !c.cfg.HasMarker:
		return Doubt{DoubtNoMarker, "this awa has no trust marker"}
	case c.cfg.Trust == TrustOff:
		return Doubt{DoubtOff, TrustIsOff}
	case len(c.outside) > 0:
		return c.outside[0]
	case c.books.settled() == 0 && c.journal.missing(c.snapshot) > 0:
		return doubt(DoubtOpen, "waiting for %d transactions that were open when the replication slot was created; scanning begins when they have ended", c.journal.missing(c.snapshot))
	case c.books.settled() < len(c.books.order):
		return doubt(DoubtScanning, "scanning: %d of %d ring slots done", c.books.settled(), len(c.books.order))
	case !c.tokens.first:
		return Doubt{DoubtFirstToken, "waiting for the daemon's first message to come back through the stream"}
	case !c.audited():
		return doubt(DoubtAuditing, "auditing: the books agree with a second scan in %d of %d ring slots", len(c.scans.audited), len(c.books.order))
	}
	if lag := c.Lag(now); lag > c.cfg.doubtAfter() {
		return doubt(DoubtLag, "the stream is %s behind", round(lag))
	}
	if age := c.staleness.oldest(now, c.serverNow(now)); age > c.cfg.doubtAfter() {
		if age > 24*time.Hour {
			return Doubt{DoubtDrift, "a drift of unknown age is still to be corrected"}
		}
		return doubt(DoubtDrift, "an uncounted write has not been corrected for %s", round(age))
	}
	if hidden := c.longestInvisible(now); hidden > c.cfg.doubtAfter() {
		return doubt(DoubtHidden, "commits have been streamed but not visible for %s; does synchronous replication wait?", round(hidden))
	}
	if c.tokens.prompt < promptTokens {
		if c.marker.set && c.marker.reason == "" {
			return Doubt{} // hysteresis: one slow token within the bound does not end trust
		}
		return doubt(DoubtTokens, "proving that the stream is prompt: %d of %d tokens came back in time", c.tokens.prompt, promptTokens)
	}
	if c.cfg.Trust == TrustQuiet && c.uncountedWithin(c.cfg.QuietPeriod) {
		return doubt(DoubtUncounted, "%s, less than %s ago", c.uncounted.describe(), c.cfg.QuietPeriod)
	}
	return c.leaving()
}

// longestInvisible is how long the oldest streamed transaction has been invisible to readers. Its rows are in
// the books, and corrections for them are written, before anyone can see the rows.
func (c *Core) longestInvisible(now time.Time) time.Duration {
	if c.unseenAt.IsZero() {
		return 0
	}
	return now.Sub(c.unseenAt)
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

func (c *Core) nextMarker(now time.Time, out []Command) []Command {
	m := &c.marker
	if !c.touchesMarker() || m.busy {
		return out
	}
	doubt := c.doubt(now)
	want := doubt == ""
	if !want && m.set && m.reason == "" {
		m.reason = doubt // also ends the hysteresis: trust has to be earned again
	}
	if want && m.set {
		m.reason, m.foreign = "", ""
	}
	if want == m.set || now.Before(m.retryAt) || (c.stopping && want) {
		if !m.set && !want {
			m.reason = doubt
		}
		return out
	}
	reason := doubt
	if !want && m.foreign != "" {
		reason = m.foreign + "; " + doubt
	}
	c.tokens.seq++
	m.busy, m.want, m.seq, m.behind = true, want, c.tokens.seq, true
	m.reason = reason
	cmd := SetMarker{Seq: m.seq, Set: want, Reason: reason}
	if want { // what it rests on is worth no more than when it would be doubted
		cmd.Until = c.serverNow(c.tokens.provenAt).Add(c.cfg.doubtAfter())
	}
	return append(out, cmd)
}

// MarkerWritten takes in the answer to a SetMarker.
func (c *Core) MarkerWritten(now time.Time, err error) {
	m := &c.marker
	m.busy = false
	if err != nil {
		// Not known to be done. Clearing is tried again until it is; setting is decided again.
		m.behind = false
		m.retryAt = now.Add(retryPause)
		if errors.Is(err, ErrKept) { // until somebody does something about it
			m.retryAt = now.Add(keptPause)
			c.warn("trust: the marker cannot be cleared; trying again", "reason", m.reason, "error", err.Error())
			return
		}
		c.info("writing the trust marker failed; trying again", "set", m.want, "error", err.Error())
		if m.want && !errors.Is(err, ErrTooLate) {
			m.set, m.reason = true, "a command to set it failed, and may still take effect" // it may have been set: clear it
		}
		return
	}
	m.set, m.since, m.foreign = m.want, now, ""
	if m.set {
		m.reason = ""
		c.totals.Trusted++
		c.info("trust: marker set", "lag", round(c.Lag(now)).String(), "trust", string(c.cfg.Trust))
		return
	}
	c.totals.Distrusted++
	c.warn("trust: marker cleared", "reason", m.reason)
}

// takeMarker reads what a transaction of the stream left in the marker.
func (c *Core) takeMarker(now time.Time, tx *decoder.Tx, own bool) {
	m := &c.marker
	if tx.Effect.Marker.Seen && !own && !m.busy && !m.behind {
		c.compareMarker(now, tx.Effect.Marker.Set)
	}
}

// readMarker takes in what a write's transaction saw of the marker. The stream alone is not enough:
// what somebody wrote just before this session began may have been streamed to the one before it,
// and not yet have been visible when this one looked.
func (c *Core) readMarker(now time.Time, r WriteResult) {
	if m := &c.marker; !r.Blind && !m.busy && r.Sent.After(m.since) {
		c.compareMarker(now, r.Marker)
	}
}

// compareMarker compares the marker with what we left in it.
func (c *Core) compareMarker(now time.Time, set bool) {
	m := &c.marker
	if set == m.set || !c.cfg.HasMarker {
		return
	}
	m.set, m.since = set, now
	if !c.touchesMarker() {
		verb := "cleared"
		if set {
			verb = "set"
		}
		c.info(fmt.Sprintf("trust: the marker was %s by someone else", verb))
		return
	}
	if set {
		m.foreign, m.reason = "set by someone else", "set by someone else"
		c.info("trust: the marker was set by someone else")
		return
	}
	// Whoever cleared it had a reason; it is set again only after a fresh audit.
	clear(c.scans.audited)
	m.reason = "cleared by someone else"
	c.warn("trust: the marker was cleared by someone else; it is set again after a fresh audit")
}
