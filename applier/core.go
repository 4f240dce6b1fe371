package applier

import (
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pgsnap"
)

// Core is the protocol: events in, commands out. It is not safe for concurrent use.
type Core struct {
	cfg           Config
	books         *Books
	journal       *journal
	uncounted     *uncounted
	staleness     staleness
	effects       effects
	tokens        tokens
	scans         scans
	checkpointing checkpointing
	marker        marker
	totals        Totals
	notices       []Notice
	snapshot      pgsnap.Snapshot // the newest known
	insert        pglogrepl.LSN   // the server's WAL insert position at the last token
	serverAt      clocks          // a reading of the server's clock
	allSettled    bool            // every unit is settled
	turn          int             // which unit a flush begins with that cannot take all
	prunes        []prune         // that folded another number of jobs than the books held; not told yet
	holding       bool            // corrections are held back
	outside       []Doubt         // why our caller does not want the marker set
	unseenAt      time.Time       // when the oldest transaction was streamed that readers cannot see yet
	stopping      bool
	stopSince     time.Time
}

// New makes a Core at time now. It asks for nothing before the first call of Next.
func New(cfg Config, start Start, now time.Time) (*Core, error) {
	size := cfg.JournalSize
	if size == 0 {
		size = journalSize
	}
	c := &Core{
		cfg:       cfg,
		books:     newBooks(cfg.Leaves),
		journal:   newJournal(size, start.Unseen),
		uncounted: newUncounted(start.Uncounted, start.Pruned),
		snapshot:  start.Snapshot,
		effects:   newEffects(),
		scans:     newScans(),
		holding:   cfg.DryRun,
		marker:    marker{set: start.MarkerSet, since: now, foreign: "found set, and no daemon vouches for it"},
	}
	c.books.position = start.Position
	c.totals.Start = now
	c.uncounted.watch.quiet = start.Quiet
	if start.Resumes {
		c.books.load(&start.Groups)
		c.checkpointing.position, c.checkpointing.last, c.allSettled = start.Position, now, true
		c.checkpointing.pruned = start.Pruned
		if c.books.drifting() > 0 {
			c.staleness.noteDrift(unknownAge())
		}
	}
	return c, nil
}

// Transactions takes in transactions in the order of the stream.
func (c *Core) Transactions(now time.Time, txs []decoder.Tx) {
	room := driftRoom{block: len(txs)} // most change the drift of one group
	for i := range txs {
		c.transaction(now, &txs[i], &room)
	}
	c.advance(now, 0)
}

// Idle takes in a keepalive position: the server has nothing for us before it. It must come only
// after everything received before the keepalive was taken in, and never from inside a transaction.
func (c *Core) Idle(now time.Time, position pglogrepl.LSN) {
	c.advance(now, position)
}

// transaction takes in one. room is for what the journal keeps of it.
func (c *Core) transaction(now time.Time, tx *decoder.Tx, room *driftRoom) {
	if tx.End <= c.books.position {
		return // the server does send acknowledged transactions again after a restart
	}
	own, mine := c.readTokens(now, tx)
	c.totals.Transactions++
	if tx.Effect.Empty() {
		c.books.position = tx.End
		return
	}
	c.totals.count(&tx.Effect)
	xid := c.snapshot.Widen(tx.XID)
	checked, wrong := c.books.auditPrune(&tx.Effect, c.cfg.Shape.Receipts)
	c.totals.Prunes += int64(checked)
	for _, m := range wrong {
		c.prunes = append(c.prunes, prune{m, tx.End, now})
	}
	changes := c.books.apply(xid, &tx.Effect, tx.End)
	at := clocks{server: tx.CommitTime, local: now}
	c.journal.add(journalEntry{xid: xid, effect: tx.Effect, at: at, drifts: room.drifts(changes), partial: !c.allSettled})
	for _, ch := range changes {
		if ch.broken {
			c.rescan(ch)
			continue
		}
		if ch.after != 0 {
			c.staleness.noteDrift(at)
		}
	}
	if mine {
		c.effects.observe(changes)
	}
	if !own {
		c.uncounted.note(now, tx, changes, c.cfg.Shape)
	}
	if c.books.drifting() == 0 {
		c.staleness.noteNoDrift(now)
	}
	c.takeMarker(now, tx, own)
}

// rescan throws away the books of a unit that have been proven wrong.
func (c *Core) rescan(ch change) {
	slot := ch.Slot
	if c.books.unit(slot) == c.books.units[NoLeaf] {
		slot = NoLeaf
	}
	if c.books.units[slot].main == nil {
		return
	}
	c.warn("the books of this ring slot are wrong (rows below 0); scanning it again", "group", ch.String())
	c.books.empty(slot)
	c.allSettled = false
	c.uncounted.watch = watch{} // who writes there is not seen until it is done
	c.scans.distrust(slot)
	c.totals.Rescans++
}

// readTokens reads the messages of an awa-counterd in tx and reports whether it is one's: then
// the transaction was a correction, ours or another instance's, and no awa binary wrote it. mine is one of this
// very instance.
//
// Anybody may write such a message. So one that we have not sent says nothing, and none hides what an awa-counterd never does.
func (c *Core) readTokens(now time.Time, tx *decoder.Tx) (own, mine bool) {
	for _, t := range tx.Tokens {
		instance, seq, ok := ParseToken(t.Content)
		if !ok || (instance == c.cfg.Instance && seq > c.tokens.seq) {
			continue
		}
		own = true
		if instance != c.cfg.Instance {
			continue
		}
		mine = true
		c.tokens.returned(now, seq)
		c.endWrite(now)
		c.marker.returned(seq)
		c.uncounted.watch.proven(c.tokens.provenAt)
	}
	return own && tx.Effect.OnlyCorrects(), mine
}

// MessagePrefix is the prefix of our messages in the WAL.
const MessagePrefix = "awa-counterd"

// Token is the content of the message that marks a transaction of awa-counterd.
func Token(instance string, seq uint64) string {
	return instance + " " + strconv.FormatUint(seq, 10)
}

// ParseToken reads what Token made.
func ParseToken(content string) (instance string, seq uint64, ok bool) {
	instance, number, ok := strings.Cut(content, " ")
	if !ok {
		return "", 0, false
	}
	seq, err := strconv.ParseUint(number, 10, 64)
	return instance, seq, err == nil
}

// advance closes fences up to position and acts on what they decide.
func (c *Core) advance(now time.Time, position pglogrepl.LSN) {
	for _, v := range c.books.advance(position) {
		switch {
		case v.negative:
			c.warn("a scan found less than 0 rows; scanning the ring slot again", "ring_slot", v.unit)
			c.scans.distrust(v.unit)
			c.totals.Rescans++
		case v.filled:
			if c.books.drifting() > 0 {
				c.staleness.noteDrift(unknownAge())
			}
		case v.audited:
			c.scans.passed(v.unit)
			c.totals.AuditsAgreed++
		default:
			c.totals.AuditsDisagreed++
			c.totals.AuditMismatches += int64(len(v.mismatches))
			c.scans.distrust(v.unit)
			if c.books.drifting() > 0 {
				c.staleness.noteDrift(unknownAge())
			}
			m := v.mismatches[0]
			c.warn("audit: the books disagreed with a scan; the daemon uses the scan",
				"ring_slot", v.unit, "groups", len(v.mismatches), "first", m.String(),
				"books_rows", m.Books.Rows, "scan_rows", m.Scan.Rows,
				"books_counter", m.Books.Counter, "scan_counter", m.Scan.Counter)
		}
	}
	c.allSettled = c.books.settled() == len(c.books.order)
	c.uncounted.watch.look(now, c.allSettled)
	c.endAudit(now)
}

// Next returns what is to be done now. Call it after every event and when Deadline has come.
func (c *Core) Next(now time.Time) []Command {
	var out []Command
	out = c.nextMarker(now, out) // first: a marker in doubt is cleared before anything else
	out = c.nextWrite(now, out)
	out = c.nextScans(now, out)
	out = c.nextPersist(now, out)
	return out
}

// Deadline is when Next has to be called if nothing happens before.
func (c *Core) Deadline(now time.Time) time.Time {
	d := now.Add(min(c.cfg.tokenInterval(), time.Second))
	for _, t := range []time.Time{
		c.writeDeadline(now), c.scans.retryAt, c.marker.retryAt, c.persistDeadline(),
	} {
		if t.After(now) && t.Before(d) {
			d = t
		}
	}
	return d
}

// prune is one that disagreed with the books.
type prune struct {
	PruneMismatch
	end   pglogrepl.LSN
	heard time.Time
}

// TablesUnchanged says that a look at awa's tables, begun at that time, found them as they were when the session
// began. Only then can a prune before it be told to have folded wrong: awa's migrations change what prunes
// fold and where, and are noticed a moment later than what new binaries do then.
func (c *Core) TablesUnchanged(looked time.Time) {
	for len(c.prunes) > 0 && c.prunes[0].heard.Before(looked) {
		m := c.prunes[0]
		c.prunes = c.prunes[1:]
		c.totals.PruneMismatches++
		c.warn("a prune added a different number of jobs to awa's rollups than the books had; nothing was changed, since the rollups are awa's",
			"queue", m.Queue, "priority", m.Priority, "books", m.Books, "folded", m.Folded, "lsn", m.end.String())
	}
}

// HoldCorrections keeps corrections back while somebody else moves counters about (awa-counterd finish), or lets go
// again. Drift ages meanwhile, and ends trust as ever.
func (c *Core) HoldCorrections(on bool) { c.holding = on || c.cfg.DryRun }

// Stop begins a graceful end: the flush under way and one more are finished, the marker is cleared
// if uncounted writes are recent or groups have several counter rows, and the last position is persisted and acknowledged.
func (c *Core) Stop(now time.Time) {
	if !c.stopping {
		c.stopping, c.stopSince = true, now
	}
}

// Stopped reports whether everything that Stop began is done.
func (c *Core) Stopped(now time.Time) bool {
	return c.stopping && c.heardSinceStop() && !c.tokens.busy() && !c.checkpointing.busy && !c.marker.busy &&
		!c.wantsFlush() && !c.wantsFinalPersist() &&
		(!c.touchesMarker() || !c.marker.set || c.doubt(now) == "")
}

// LeavesMarker reports that a stop at this moment would leave the marker set, or perhaps so, and nobody to vouch for it.
func (c *Core) LeavesMarker(now time.Time) bool {
	return c.touchesMarker() && c.MarkerSet() && c.doubt(now) != ""
}

// heardSinceStop reports that a token written after Stop has come back: what was committed before
// Stop is in the books, and so is everything that the last flush has to cover.
func (c *Core) heardSinceStop() bool { return !c.tokens.provenAt.Before(c.stopSince) }

// Position is the commit-end LSN of the last transaction taken from the stream.
func (c *Core) Position() pglogrepl.LSN { return c.books.position }

// Cell is what the books hold for a group; false while they cannot be acted on.
func (c *Core) Cell(g counter.Group) (counter.Cell, bool) {
	cell := c.books.cell(g)
	return cell, c.books.unit(g.Slot).settled()
}

// Notices returns what happened since the last call.
func (c *Core) Notices() []Notice {
	n := c.notices
	c.notices = nil
	return n
}

func (c *Core) warn(message string, fields ...any) {
	c.notices = append(c.notices, Notice{Warn: true, Message: message, Fields: fields})
}

func (c *Core) info(message string, fields ...any) {
	c.notices = append(c.notices, Notice{Message: message, Fields: fields})
}
