package applier

import (
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// checkpointing follows the checkpoint (docs/design.md §6).
type checkpointing struct {
	busy     bool
	position pglogrepl.LSN // persisted
	unsaid   bool          // and not yet acknowledged
	pending  pglogrepl.LSN // of the one under way
	last     time.Time
	pruned   time.Time // the last prune of an old leader that was handed out
	retryAt  time.Time
	asked    time.Time      // somebody reads the checkpoint, and wants what was committed by then; zero for nobody
	answers  time.Time      // what the one under way answers of that
	groups   counter.Packed // handed out with the one under way, to be given back if it fails
	weight   pglogrepl.LSN  // about how much WAL the last one was
	sources  map[Source]Uncounted
}

func (c *Core) nextPersist(now time.Time, out []Command) []Command {
	p := &c.checkpointing
	if p.unsaid {
		p.unsaid = false
		out = append(out, Acknowledge{Position: p.position})
	}
	if !c.wantsPersist(now) {
		return out
	}
	cp := Checkpoint{
		Before:    p.position,
		Position:  c.books.position,
		Groups:    c.books.takeDirty(),
		Unseen:    c.journal.unseenIDs(),
		Uncounted: c.uncounted.takeChanged(now),
		Pruned:    c.uncounted.pruned,
		Quiet:     c.uncounted.watch.quiet,
		Token:     c.tokens.seen,
		Trusted:   c.marker.set && c.doubt(now) == "",
		Reason:    c.doubt(now),
		LastAudit: c.scans.lastAudit,
	}
	p.busy, p.pending, p.pruned, p.answers = true, cp.Position, cp.Pruned, time.Time{}
	if c.canAnswerRequest() {
		p.answers = p.asked
	}
	p.groups, p.sources = cp.Groups, cp.Uncounted
	return append(out, Persist{Checkpoint: cp})
}

// wantsPersist: only books of which every unit is settled can be resumed from. While nothing but the daemon's own tokens
// moves the position there is nothing worth persisting, and persisting would feed itself.
func (c *Core) wantsPersist(now time.Time) bool {
	p := &c.checkpointing
	if p.busy || now.Before(p.retryAt) || c.books.settled() < len(c.books.order) || !c.tokens.first {
		return false
	}
	if c.stopping {
		return c.wantsFinalPersist() && !c.tokens.busy() && !c.wantsFlush()
	}
	if c.canAnswerRequest() {
		return true
	}
	since := now.Sub(p.last)
	if p.position == 0 { // what a first flush is about to change need not be stored twice
		return c.books.drifting() < maxFlush || now.Sub(c.totals.Start) > 6*c.cfg.CheckpointInterval
	}
	if c.isDirty() && since >= c.checkpointPause() {
		return true
	}
	return since >= max(idlePersist, c.cfg.CheckpointInterval) && c.books.position-p.position > idlePersistMove
}

// After a large checkpoint the next one waits until there is many times as much WAL as that one was, but not for ever: it is to cost
// little beside what it is of. After a small one the interval alone decides.
const (
	largeCheckpoint       = 64 << 10 // bytes of WAL
	largeCheckpointMoves  = 32       // times as much WAL
	largeCheckpointPauses = 4        // intervals, at most
)

// checkpointPause is the least time from one checkpoint to the next.
func (c *Core) checkpointPause() time.Duration {
	p := &c.checkpointing
	if p.weight < largeCheckpoint || c.books.position-p.position >= largeCheckpointMoves*p.weight {
		return c.cfg.CheckpointInterval
	}
	return largeCheckpointPauses * c.cfg.CheckpointInterval
}

// weigh estimates the WAL of storing groups: a row each, in which buckets and their counts take half as much again as they do packed.
func weigh(groups *counter.Packed) pglogrepl.LSN {
	const row = 160
	return pglogrepl.LSN(row*groups.Len() + groups.Size()*3/2) //nolint:gosec // positive
}

// RequestCheckpoint asks for a checkpoint at once that has everything committed before now, for somebody who reads it: a token
// proves that it has.
func (c *Core) RequestCheckpoint(now time.Time) { c.checkpointing.asked = now }

// canAnswerRequest reports that a checkpoint now would be what somebody has asked for.
func (c *Core) canAnswerRequest() bool {
	return !c.checkpointing.asked.IsZero() && !c.tokens.provenAt.Before(c.checkpointing.asked)
}

// isDirty reports that something has changed that a checkpoint stores.
func (c *Core) isDirty() bool {
	return c.books.isDirty() || c.uncounted.pruned.After(c.checkpointing.pruned)
}

func (c *Core) wantsFinalPersist() bool {
	if c.books.settled() < len(c.books.order) || !c.tokens.first {
		return false // the books are not settled; the next start begins afresh or where the last one did
	}
	return c.isDirty() || c.books.position-c.checkpointing.position > idlePersistMove
}

func (c *Core) persistDeadline() time.Time {
	p := &c.checkpointing
	if p.busy || p.last.IsZero() {
		return p.retryAt
	}
	if c.isDirty() {
		return p.last.Add(c.checkpointPause())
	}
	return p.last.Add(max(idlePersist, c.cfg.CheckpointInterval))
}

// Persisted takes in the answer to a Persist. What is safe now is acknowledged next.
func (c *Core) Persisted(now time.Time, err error) {
	p := &c.checkpointing
	p.busy = false
	if err != nil {
		for h := range p.groups.All() {
			c.books.markDirty(h.Group)
		}
		p.groups, p.pruned = counter.Packed{}, time.Time{}
		c.uncounted.restore(p.sources)
		p.retryAt = now.Add(time.Second)
		c.warn("writing the checkpoint failed; trying again", "error", err.Error())
		return
	}
	p.position, p.last, p.unsaid, p.weight = p.pending, now, true, weigh(&p.groups)
	p.groups, p.sources = counter.Packed{}, nil
	if p.answers.Equal(p.asked) {
		p.asked = time.Time{}
	}
	c.totals.Checkpoints++
}
