package applier

import (
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/internal/terminal"
)

// persists follows the checkpoint (docs/design.md §6).
type persists struct {
	busy     bool
	position pglogrepl.LSN // persisted
	pending  pglogrepl.LSN // of the one under way
	last     time.Time
	retryAt  time.Time
	cells    Cells // handed out with the one under way, to be given back if it fails
	queues   map[string]Uncounted
}

func (c *Core) nextPersist(now time.Time, out []Command) []Command {
	if !c.wantsPersist(now) {
		return out
	}
	p := &c.persists
	cp := Checkpoint{
		Before:    p.position,
		Position:  c.books.position,
		Cells:     make(Cells, len(c.books.dirty)),
		Unseen:    c.journal.ids(),
		Uncounted: c.uncounted.changed(now),
		Token:     c.tokens.seen,
		Trusted:   c.marker.set && c.doubt(now) == "",
		Reason:    c.doubt(now),
		LastAudit: c.scans.lastAudit,
	}
	for g := range c.books.dirty {
		cp.Cells[g] = c.books.cell(g)
	}
	p.busy, p.pending = true, cp.Position
	p.cells, p.queues = cp.Cells, cp.Uncounted
	c.books.dirty = make(map[terminal.Group]struct{})
	return append(out, Persist{Checkpoint: cp})
}

// wantsPersist: only books that are whole can be resumed from. While nothing but our own tokens
// moves the position there is nothing worth persisting, and persisting would feed itself.
func (c *Core) wantsPersist(now time.Time) bool {
	p := &c.persists
	if p.busy || now.Before(p.retryAt) || c.books.settled() < len(c.books.order) || !c.tokens.first {
		return false
	}
	if c.stopping {
		return c.wantsFinalPersist() && !c.tokens.busy() && !c.wantsFlush()
	}
	since := now.Sub(p.last)
	if p.position == 0 || (len(c.books.dirty) > 0 && since >= c.cfg.CheckpointInterval) {
		return true
	}
	return since >= max(idlePersist, c.cfg.CheckpointInterval) && c.books.position-p.position > idlePersistMove
}

func (c *Core) wantsFinalPersist() bool {
	if c.books.settled() < len(c.books.order) || !c.tokens.first {
		return false // nothing whole to persist; the next start begins afresh or where the last one did
	}
	return len(c.books.dirty) > 0 || c.books.position-c.persists.position > idlePersistMove
}

func (c *Core) persistDeadline() time.Time {
	p := &c.persists
	if p.busy || p.last.IsZero() {
		return p.retryAt
	}
	if len(c.books.dirty) > 0 {
		return p.last.Add(c.cfg.CheckpointInterval)
	}
	return p.last.Add(max(idlePersist, c.cfg.CheckpointInterval))
}

// Persisted takes in the answer to a Persist, and acknowledges what is now safe.
func (c *Core) Persisted(now time.Time, err error) []Command {
	p := &c.persists
	p.busy = false
	if err != nil {
		for g := range p.cells {
			c.books.dirty[g] = struct{}{}
		}
		c.uncounted.restore(p.queues)
		p.retryAt = now.Add(time.Second)
		c.warn("writing the checkpoint failed; trying again", "error", err.Error())
		return nil
	}
	p.position, p.last = p.pending, now
	p.cells, p.queues = nil, nil
	c.totals.Checkpoints++
	return []Command{Acknowledge{Position: p.position}}
}
