package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/pgsnap"
	"github.com/awa-counterd/awa-counterd/internal/terminal"
)

// world is a database and its WAL, as much of them as the protocol can tell apart: transactions
// run, commit to the WAL, and become visible some time later; locks are kept until then. Everything
// it does is drawn from one seed.
type world struct {
	rng   *rand.Rand
	now   time.Time
	xid   uint64
	ended uint64 // the newest transaction that has
	rows  map[terminal.Group]int64
	count map[terminal.Group]int64 // counter rows
	mark  bool
	open  []*worldTx // running, or committed and not yet visible
	wal   []record
	lsn   pglogrepl.LSN
	skew  time.Duration // of the server's clock against ours

	viaRoot  bool // the publication publishes via the root: truncates of leaves are not sent
	altered  int  // how often the publication was
	honest   bool // nobody but pruners touches the marker, nobody poisons
	stalled  bool // nothing becomes visible
	counting bool // writers all count; only rebuilds disturb them, often

	shrinking bool // more is deleted than inserted

	// For honesty: when a group's visible drift last changed, and who may have caused it.
	driftAt map[terminal.Group]time.Time
}

// record is a committed transaction in the WAL.
type record struct {
	decoder.Tx
	viaRoot bool   // as the publication was then
	noise   uint64 // decides what else of it is sent: rolled back savepoints, rows that come and go
}

type worldTx struct {
	xid       uint64
	rows      map[terminal.Group]int64
	truncated map[int32]bool
	counters  map[terminal.Group]*int64 // nil: row deleted
	reset     bool
	mark      *bool
	tokens    []decoder.Token
	committed bool
}

var worldLeaves = []int32{0, 1, 2, 3}

const orphanSlot = 9

func newWorld(seed uint64) *world {
	return &world{
		rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_000_000, 0), xid: 100, ended: 100, lsn: 1000,
		rows: make(map[terminal.Group]int64), count: make(map[terminal.Group]int64),
		driftAt: make(map[terminal.Group]time.Time),
	}
}

func (w *world) group() terminal.Group {
	return terminal.Group{
		Slot: worldLeaves[w.rng.IntN(len(worldLeaves))], Queue: string(rune('a' + w.rng.IntN(2))),
		Priority: int16(1 + w.rng.IntN(2)),
	}
}

// begin opens a transaction, or returns nil when a lock it needs is held.
func (w *world) begin() *worldTx {
	w.xid++
	return &worldTx{
		xid: w.xid, rows: make(map[terminal.Group]int64),
		truncated: make(map[int32]bool), counters: make(map[terminal.Group]*int64),
	}
}

// admit takes the transaction's locks: counter rows and truncated leaves against everybody.
func (w *world) admit(t *worldTx) bool {
	for _, o := range w.open {
		if (t.reset && (o.reset || len(o.counters) > 0)) || (o.reset && len(t.counters) > 0) {
			return false
		}
		if (t.reset && len(o.truncated) > 0) || (o.reset && len(t.truncated) > 0) {
			return false // a rebuild reads every leaf
		}
		for g := range t.counters {
			if _, locked := o.counters[g]; locked {
				return false
			}
		}
		for s := range t.truncated {
			if o.truncated[s] || o.usesLeaf(s) {
				return false
			}
		}
		for s := range o.truncated {
			if t.usesLeaf(s) {
				return false
			}
		}
		if t.mark != nil && o.mark != nil {
			return false
		}
	}
	w.open = append(w.open, t)
	return true
}

func (t *worldTx) usesLeaf(s int32) bool {
	for g := range t.rows {
		if g.Slot == s {
			return true
		}
	}
	return false
}

func (w *world) commit(t *worldTx) {
	t.committed = true
	w.lsn += 10
	tx := decoder.Tx{XID: uint32(t.xid), Commit: w.lsn - 5, End: w.lsn, CommitTime: w.now.Add(w.skew), Tokens: t.tokens}
	for _, s := range worldLeaves {
		if t.truncated[s] {
			tx.Effect.Truncated = append(tx.Effect.Truncated, s)
		}
	}
	for _, g := range sorted(t.rows) {
		tx.Effect.Rows = append(tx.Effect.Rows, decoder.RowsChange{Group: g, N: t.rows[g]})
	}
	tx.Effect.CountersReset = t.reset
	for _, g := range sorted(t.counters) {
		c := decoder.CounterChange{Group: g, Gone: t.counters[g] == nil}
		if !c.Gone {
			c.Value = *t.counters[g]
		}
		tx.Effect.Counters = append(tx.Effect.Counters, c)
	}
	if t.mark != nil {
		tx.Effect.Marker = decoder.MarkerChange{Seen: true, Set: *t.mark}
	}
	w.wal = append(w.wal, record{Tx: tx, viaRoot: w.viaRoot, noise: w.rng.Uint64()})
}

// show makes a committed transaction visible and lets go of its locks.
func (w *world) show(t *worldTx) {
	before := w.drifts()
	for s := range t.truncated {
		maps.DeleteFunc(w.rows, func(g terminal.Group, _ int64) bool { return g.Slot == s })
	}
	for g, n := range t.rows {
		w.rows[g] += n
	}
	if t.reset {
		clear(w.count)
	}
	for g, v := range t.counters {
		if v == nil {
			delete(w.count, g)
		} else {
			w.count[g] = *v
		}
	}
	if t.mark != nil {
		w.mark = *t.mark
	}
	w.drop(t)
	after := w.drifts()
	for g := range after {
		if after[g] != before[g] {
			w.driftAt[g] = w.now
		}
	}
}

func (w *world) drop(t *worldTx) {
	w.ended = max(w.ended, t.xid)
	w.open = slices.DeleteFunc(w.open, func(o *worldTx) bool { return o == t })
}

func (w *world) drifts() map[terminal.Group]int64 {
	d := make(map[terminal.Group]int64)
	for g, n := range w.rows {
		d[g] += n
	}
	for g, n := range w.count {
		d[g] -= n
	}
	return d
}

func (w *world) snapshot() pgsnap.Snapshot {
	var text string
	lowest := w.ended + 1 // as PostgreSQL has it: what is past the newest that has ended is in no list
	for _, t := range w.open {
		if t.xid <= w.ended {
			lowest = min(lowest, t.xid)
			text += fmt.Sprint(",", t.xid)
		}
	}
	s, err := pgsnap.Parse(fmt.Sprintf("%d:%d:%s", lowest, w.ended+1, strings.TrimPrefix(text, ",")))
	if err != nil {
		panic(err)
	}
	return s
}

// scan reads one unit as a fenced scan does: everything visible, under one snapshot. It fails while
// a truncate of the leaf is under way, which holds its lock until it is visible.
func (w *world) scan(unit int32) (applier.Scan, bool) {
	for _, t := range w.open {
		if t.truncated[unit] {
			return applier.Scan{}, false
		}
	}
	s := applier.Scan{Unit: unit, Cells: make(applier.Cells), Snapshot: w.snapshot()}
	mine := func(g terminal.Group) bool { return g.Slot == unit || (unit == applier.NoLeaf && g.Slot == orphanSlot) }
	for g, n := range w.rows {
		if c := s.Cells[g]; mine(g) && n != 0 {
			c.Rows = n
			s.Cells[g] = c
		}
	}
	for g, n := range w.count {
		if c := s.Cells[g]; mine(g) {
			c.Counter, c.HasRow = n, true
			s.Cells[g] = c
		}
	}
	return s, true
}

// A writer's transaction, as awa's binaries and its operators do them.
func (w *world) writer(uncounted bool) *worldTx {
	t := w.begin()
	g := w.group()
	counted := !uncounted || w.rng.IntN(2) == 0
	did := false
	switch k := w.rng.IntN(20); {
	case w.shrinking && k < 14 || k >= 10 && k < 13:
		did = w.remove(t, g, counted)
	case k < 10: // completions
		n := int64(1 + w.rng.IntN(3))
		t.rows[g] = n
		if counted {
			t.counters[g] = new(w.count[g] + n)
		}
		did = true
	case k < 17 && !w.counting: // one that meets a correction leaves a counter behind, whoever prunes
		w.prune(t, g.Slot, counted)
		did = true
	case k < 18 && (uncounted || w.counting) && !w.honest:
		w.rebuild(t)
		did = true
	case uncounted && !w.honest:
		w.meddle(t, g, k)
		did = true
	}
	if !did || !w.admit(t) {
		return nil
	}
	return t
}

// remove is a retry, a discard, a move to the DLQ; awa clamps and never creates a row.
func (w *world) remove(t *worldTx, g terminal.Group, counted bool) bool {
	n := min(int64(1+w.rng.IntN(3)), w.free(g))
	if n <= 0 || w.counting { // a decrement that finds no row does leave a counter wrong
		return false
	}
	t.rows[g] = -n
	if c, ok := w.count[g]; ok && counted {
		t.counters[g] = new(max(0, c-n))
	}
	return true
}

func (w *world) prune(t *worldTx, slot int32, counted bool) {
	t.truncated[slot] = true
	t.mark = new(w.mark)
	if !counted {
		return
	}
	for _, o := range sorted(w.count) {
		if o.Slot == slot {
			t.counters[o] = nil
		}
	}
}

// rebuild truncates the counters, counts what is visible, and trusts.
func (w *world) rebuild(t *worldTx) {
	t.reset = true
	for o, rows := range w.rows {
		if rows != 0 {
			t.counters[o] = new(rows)
		}
	}
	t.mark = new(true)
}

// meddle poisons a counter, on a leaf or beside all of them, or is the installer, who trusts.
func (w *world) meddle(t *worldTx, g terminal.Group, k int) {
	if k == 19 {
		t.mark = new(w.rng.IntN(2) == 0)
		return
	}
	if w.rng.IntN(3) == 0 {
		g.Slot = orphanSlot
	}
	t.counters[g] = new(int64(w.rng.IntN(9) - 2))
}

// free is how many rows of g a writer may delete: rows that a running transaction deletes are locked.
func (w *world) free(g terminal.Group) int64 {
	n := w.rows[g]
	for _, t := range w.open {
		if d := t.rows[g]; d < 0 {
			n += d
		}
		if t.truncated[g.Slot] {
			return 0
		}
	}
	return n
}

// step lets time pass and one thing happen to the writers.
func (w *world) step(uncounted bool) {
	w.now = w.now.Add(time.Duration(w.rng.IntN(10)) * time.Millisecond)
	if len(w.open) > 0 && w.rng.IntN(3) > 0 {
		t := w.open[w.rng.IntN(len(w.open))]
		switch {
		case t.committed:
			if !w.stalled {
				w.show(t)
			}
		case w.rng.IntN(8) == 0:
			w.drop(t) // rolled back
		default:
			w.commit(t)
		}
		return
	}
	if len(w.open) < 6 {
		w.writer(uncounted)
	}
}

// rest lets everything that runs commit and become visible.
func (w *world) rest() {
	for len(w.open) > 0 {
		t := w.open[0]
		if !t.committed {
			w.commit(t)
		}
		w.show(t)
	}
}

func sorted[V any](m map[terminal.Group]V) []terminal.Group {
	return slices.SortedFunc(maps.Keys(m), terminal.Group.Compare)
}
