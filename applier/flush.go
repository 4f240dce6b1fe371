package applier

import (
	"time"

	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pgsnap"
)

// tokens follows the one write that may be under way (docs/design.md §5).
type tokens struct {
	seq      uint64    // the last number given out, to writes and to markers alike
	open     bool      // a write is under way: not yet answered, or its token not yet back
	writing  bool      // the writer has not answered yet
	awaited  uint64    // the token that has to come back; 0 none
	sent     time.Time // when the awaited one was asked for
	all      bool      // the write under way covers every drift that could be acted on
	flushing bool      // the write under way has corrections
	failed   bool      // some of its corrections could not be written

	first     bool // one has come back: what an earlier run had on its way is in the books
	seen      uint64
	provenAt  time.Time     // when the newest token that came back was sent: all commits before are in the books
	roundTrip time.Duration // of that one
	prompt    int           // how many in a row came back in time
	lastFlush time.Time
	lastSent  time.Time
	pause     time.Time // after a failed write
	again     bool      // the last write failed

	locked lockedGroups // counter rows that were found so
}

func (t *tokens) busy() bool { return t.writing || t.awaited != 0 }

func (t *tokens) returned(now time.Time, seq uint64) {
	if t.awaited == 0 || seq != t.awaited {
		return
	}
	t.awaited = 0
	t.first = true
	t.seen = seq
	t.provenAt = t.sent
	t.roundTrip = now.Sub(t.sent)
}

func (c *Core) wantsFlush() bool {
	return c.tokens.first && !c.holding && c.settledDrift()
}

// stalled reports that readers could not see everything at the last look. What they do see may be off
// although the books balance.
func (c *Core) stalled() bool { return c.tokens.first && !c.unseenAt.IsZero() }

// settledDrift reports whether any drift lies in a unit that can be acted on.
func (c *Core) settledDrift() bool {
	for _, u := range c.books.units {
		if u.settled() && u.wrong > 0 {
			return true
		}
	}
	return false
}

func (c *Core) nextWrite(now time.Time, out []Command) []Command {
	t := &c.tokens
	if t.busy() || now.Before(t.pause) {
		return out
	}
	if (c.wantsFlush() || (c.stalled() && !c.holding)) && !now.Before(t.lastFlush.Add(c.cfg.FlushInterval)) {
		chunks, rest, all := c.plan()
		if len(chunks) > 0 {
			c.begin(now, true, all)
			c.effects.plan(chunks)
			c.staleness.flushing(now, rest)
			t.lastFlush = now
			c.totals.Flushes++
			return append(out, Write{Seq: t.seq, Chunks: chunks})
		}
		// Readers cannot see yet what there is to correct. A token tells when they can: at once when
		// something has been streamed since the last one, else in its turn.
		if rest.local.After(c.serverAt.local) || now.Sub(t.lastSent) >= c.cfg.FlushInterval {
			c.begin(now, false, true)
			return append(out, Write{Seq: t.seq})
		}
	}
	if c.wantsToken(now) {
		c.begin(now, false, true)
		return append(out, Write{Seq: t.seq, Holds: c.holding})
	}
	return out
}

func (c *Core) begin(now time.Time, flushing, all bool) {
	t := &c.tokens
	t.seq++
	t.open, t.writing, t.awaited, t.sent, t.lastSent = true, true, t.seq, now, now
	t.flushing, t.all, t.failed = flushing, all, false
}

// wantsToken: the first of a run, one at least every quarter of the staleness bound, and more often
// while something waits for them.
func (c *Core) wantsToken(now time.Time) bool {
	t := &c.tokens
	if !t.first || now.Sub(t.lastSent) >= c.cfg.tokenInterval() || t.lastSent.Before(c.checkpointing.asked) {
		return true
	}
	return c.needsPromptToken() && now.Sub(t.lastSent) >= c.cfg.FlushInterval
}

// needsPromptToken reports that something waits for tokens: a fence for the position, scans for a snapshot that
// sees what the journal lacks, trust for enough of them in a row, or the end for one that covers
// everything before it.
func (c *Core) needsPromptToken() bool {
	return c.fencesOpen() || len(c.journal.lost) > 0 || c.tokens.prompt < promptTokens || (c.stopping && !c.heardSinceStop())
}

func (c *Core) fencesOpen() bool {
	for _, u := range c.books.units {
		if (u.main != nil && u.main.open) || u.shadow != nil {
			return true
		}
	}
	return false
}

// writeDeadline is when nextWrite may have something to do without a further event.
func (c *Core) writeDeadline(now time.Time) time.Time {
	t := &c.tokens
	if t.busy() {
		return time.Time{}
	}
	if now.Before(t.pause) {
		return t.pause
	}
	if d := t.lastFlush.Add(c.cfg.FlushInterval); d.After(now) && (c.wantsFlush() || c.stalled()) {
		return d
	}
	if c.wantsFlush() || c.stalled() || c.needsPromptToken() {
		return t.lastSent.Add(c.cfg.FlushInterval)
	}
	return t.lastSent.Add(c.cfg.tokenInterval())
}

// plan cuts the due corrections into chunks, in key order. A correction is due when its unit is
// settled and the drift that readers can see is not 0. It returns since when there is drift that they
// cannot see, and whether the chunks cover all of the rest.
//
// Of a great many it takes a part, from the unit next in turn: what drifts is not sorted as a whole for
// each part of it.
func (c *Core) plan() (chunks []Chunk, rest clocks, all bool) {
	var due []Correction
	v := c.journal.invisible(c.snapshot)
	all = true
	own := c.cfg.Shape.OwnBucket
	take := func(g counter.Group, drift int64, has int64) { // has: the daemon's own counter row
		behind, known := v.partOf(g)
		if !known {
			all = false
		} else if delta := drift - behind; delta != 0 {
			due = append(due, Correction{Group: g, Delta: delta, Ends: own != 0 && has+delta == 0})
		}
	}
	for g := range v.drifts { // right in the books, but not for readers
		if c.books.balanced(g) && c.books.unit(g.Slot).settled() {
			cell := c.books.cell(g)
			has, _ := cell.Bucket(own)
			take(g, 0, has)
		}
	}
	for groups, id := range c.books.due(c.turn) {
		if len(due) >= maxFlush {
			all, c.turn = false, c.turn+1
			break
		}
		e := groups.At(id)
		has, _ := groups.Bucket(id, own)
		take(groups.Group(e), e.Drift(), has)
	}
	return c.tokens.locked.orderByPatience(SplitIntoChunks(due, c.tokens.locked.contains)), v.oldest, all
}

// Written takes in the answer to a Write.
func (c *Core) Written(now time.Time, r WriteResult) {
	t := &c.tokens
	t.writing = false
	c.totals.Corrections += int64(r.Written)
	c.effects.takeBack(r.Deferred)
	if t.flushing {
		t.failed = len(r.Deferred) > 0
		c.totals.Deferred += int64(len(r.Deferred))
		t.locked.record(r.Deferred, r.Passed)
	}
	if r.Err != nil {
		// The outcome is unknown. No inquiry is needed: the next token, when it is back, has the
		// books hold whatever happened. Until then no correction is written.
		t.open, t.first, t.awaited, t.prompt = false, false, 0, 0
		t.pause = now.Add(retryPause)
		say := c.info // once is nothing: awa's migrations lock what a token reads
		if t.again {
			say = c.warn
		}
		say("writing a token failed; trying again", "error", r.Err.Error())
		t.again = true
		return
	}
	t.again = false
	c.snapshot, c.insert = r.Snapshot, r.Insert
	c.serverAt = clocks{server: r.Server, local: r.Sent}
	c.unseenAt = c.journal.oldestUnseen(r.Snapshot)
	c.readMarker(now, r)
	c.scans.latest = r.Snapshot
	c.forget()
	c.endWrite(now)
}

// endWrite settles a write once the writer has answered and the token is back, in either order.
func (c *Core) endWrite(now time.Time) {
	t := &c.tokens
	if t.busy() || !t.open {
		return
	}
	t.open = false
	if t.roundTrip <= c.cfg.promptWithin() {
		t.prompt++
	} else {
		t.prompt = 0
	}
	if t.flushing {
		effective := c.judgeEffects()
		c.staleness.flushed(t.all && !t.failed && effective)
	}
	if c.books.drifting() == 0 { // also when what the flush was to correct has been undone meanwhile
		c.staleness.noteNoDrift(now)
	}
	c.staleness.confirm(c.serverAt.local, c.unseenAt)
}

// judgeEffects looks whether the corrections that are back did what they were written for. What they did not mend keeps
// its age.
func (c *Core) judgeEffects() bool {
	all, vain := c.effects.judge(func(slot int32) bool { return c.books.unit(slot).settled() })
	if vain != nil {
		c.warn("corrections do not have the effect that they should: look for a trigger or a rule on awa's counter table "+
			"(awa-counterd doctor names them), or for somebody who keeps overwriting it", "group", vain.String())
	}
	return all
}

// forget prunes the journal by the newest snapshot, but not while a scan is out: its snapshot may
// be older, and everything it does not see is still needed.
func (c *Core) forget() {
	if c.scans.running() == 0 && !c.scans.latest.IsZero() {
		c.journal.forget(c.scans.latest)
		c.scans.latest = pgsnap.Snapshot{}
	}
}
