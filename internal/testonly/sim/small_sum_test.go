package sim

import (
	"reflect"
	"slices"
	"time"
	"unsafe"

	"github.com/awa-counterd/awa-counterd/applier"
)

// sum tells states apart.
func (s *small) sum() [16]byte {
	c := s.script.begin(s.now, s.leader)
	write(c, &s.left)
	c.int(int64(s.phase))
	c.yes(s.finishing)
	c.yes(s.held)
	c.yes(s.eaten)
	if write(c, &s.stop); s.stop.asked && s.core != nil {
		c.int(int64(s.core.Lag(s.now))) // the rules let go of this otherwise
	}
	for _, n := range s.place {
		c.int(int64(n))
	}
	s.writeDatabase(c)
	s.writeStream(c)
	s.writeStored(c)
	c.yes(s.core != nil)
	if s.core != nil {
		write(c, s.core)
		write(c, &s.truth.tables)
		c.time(s.truth.pruned)
		write(c, &s.poison)
		c.yes(s.resumed)
		c.seq(s.awaited)
		c.seq(s.seen)
		for _, unit := range append(slices.Clone(s.plan.leaves), applier.NoLeaf) {
			c.int(int64(min(s.scanned[unit], 2)))
		}
		c.time(latest(s.markerAt, s.now.Add(-2*quantum)))
	}
	write(c, &s.flight)
	if s.plan.late {
		write(c, &s.ghost)
		c.time(latest(s.died, s.now.Add(-bound)))
	}
	return c.sum()
}

func (s *small) writeDatabase(c *canon) {
	write(c, &s.tables)
	c.yes(s.mark)
	write(c, &s.generation)
	c.int(int64(len(s.open)))
	for i := range s.open {
		write(c, s.open[i])
	}
	for _, g := range s.plan.groups {
		if s.drifts[g] != 0 {
			c.time(latest(s.driftAt[g], s.now.Add(-bound-quantum)))
		}
	}
	c.int(int64(len(s.waits)))
	for _, x := range s.waits {
		c.xid(x)
	}
	// Ids that nobody has and that have not ended count as running for whoever waits for them, and only for these.
	if s.phase != up || lost(s.core) > 0 {
		c.xid(s.ended)
		c.xid(s.xid)
	}
}

// writeStream writes what of the WAL may yet be delivered: what is next, and what would come again after a crash.
func (s *small) writeStream(c *canon) {
	from := len(s.wal)
	if s.core != nil {
		from = s.next
	}
	if s.mayResume() {
		for from > 0 && s.wal[from-1].end > s.confirmed {
			from--
		}
		c.lsn(s.confirmed)
	}
	c.lsn(s.lsn)
	if s.core != nil {
		c.int(int64(s.next - from))
	}
	c.int(int64(len(s.wal) - from))
	for i := from; i < len(s.wal); i++ {
		write(c, &s.wal[i])
	}
}

// writeStored writes the checkpoint. Its books are what the WAL says at its position: checkCheckpoint.
func (s *small) writeStored(c *canon) {
	c.yes(s.mayResume())
	if s.mayResume() {
		c.lsn(s.stored.Position)
		xids(unsafe.Pointer(&s.stored.Unseen), c)
		c.time(s.stored.Pruned)
		write(c, &s.books)
		write(c, &s.history)
	}
}

// mayResume says that what is stored may be asked for.
func (s *small) mayResume() bool { return s.stored != nil && (s.core == nil || s.mayDie()) }

// lost is how many transactions the Core's journal waits for.
func lost(core *applier.Core) int {
	return reflect.ValueOf(core).Elem().FieldByName("journal").Elem().FieldByName("lost").Len()
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
