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
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pgsnap"
)

// world is a database and its WAL, as much of them as the protocol can tell apart: transactions
// run, commit to the WAL, and become visible some time later; locks are kept until then. Everything
// it does is drawn from one seed.
type world struct {
	tables // as readers see them

	shape      shape
	sql        *dialect
	rng        *rand.Rand
	now        time.Time
	xid        uint64
	ended      uint64 // the newest transaction that has
	mark       bool
	generation map[int32]int64 // of each slot
	open       []*worldTx      // running, or committed and not yet visible
	wal        []record
	lsn        pglogrepl.LSN
	skew       time.Duration // of the server's clock against ours

	viaRoot viaRoot // publications that publish via the root: truncates of leaves are not sent
	altered int     // how often a publication was

	fleet   fleet
	stalled bool // nothing becomes visible
	done    tally

	// For honesty: when a group's visible drift last changed, and who may have caused it.
	driftAt map[counter.Group]time.Time
}

// viaRoot says which of the publications.
type viaRoot struct{ rows, ledger bool }

func (v viaRoot) any() bool { return v.rows || v.ledger }

// record is a committed transaction in the WAL.
type record struct {
	*worldTx

	commit, end pglogrepl.LSN
	at          time.Time
	viaRoot     viaRoot // as the publications were then
	noise       uint64  // decides what else of it is sent, and in which order
}

// worldTx is a transaction. What it empties it does not fill again.
type worldTx struct {
	xid       uint64
	rows      map[key]int64
	truncated []int32 // leaves of done_entries
	pending   map[delta]int64
	emptied   []int32        // leaves of the ledger
	counters  map[key]*int64 // nil: row deleted
	reset     bool           // the counters were truncated
	totals    map[rollup]total
	folded    map[rollup]jobs
	forgets   bool // the rollups were truncated
	mark      *bool
	tokens    []decoder.Token

	turns []int32 // slots that get a new generation
	reads []int32 // slots that it holds against whoever empties them
	holds bool    // every leaf, against everybody
	ring  bool    // the row of the ring's state, without writing it

	old       bool  // by a leader that does not count
	short     int64 // jobs that a prune keeps to itself
	lost      bool  // a clamp, or deltas thrown away
	committed bool
}

// total is a rollup's new value.
type total struct {
	jobs

	fresh bool // there was none
}

var worldLeaves = []int32{0, 1, 2, 3}

const orphanSlot = 9

func newWorld(seed uint64, s shape) *world {
	w := &world{
		tables: newTables(), shape: s, sql: newDialect(s),
		rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_000_000, 0), xid: 100, ended: 100, lsn: 1000,
		generation: make(map[int32]int64), driftAt: make(map[counter.Group]time.Time),
		done: tally{bare: make(map[string]int64)},
	}
	w.fleet.rarely = seed%3 == 0
	for _, slot := range worldLeaves {
		w.generation[slot] = int64(slot) + int64(len(worldLeaves))
	}
	return w
}

func (w *world) group() counter.Group {
	return counter.Group{
		Slot: worldLeaves[w.rng.IntN(len(worldLeaves))], Queue: string(rune('a' + w.rng.IntN(2))),
		Priority: int16(1 + w.rng.IntN(2)),
	}
}

func (w *world) begin() *worldTx {
	w.xid++
	return &worldTx{
		xid: w.xid, rows: make(map[key]int64), pending: make(map[delta]int64), counters: make(map[key]*int64),
	}
}

// admit takes the transaction's locks; false when one is held.
func (w *world) admit(t *worldTx) bool {
	for _, o := range w.open {
		if t.bars(o) || o.bars(t) {
			return false
		}
	}
	w.open = append(w.open, t)
	return true
}

// bars reports that t holds a lock that o needs. Counter rows, what is truncated and the ring's row are
// held against everybody.
func (t *worldTx) bars(o *worldTx) bool {
	if t.reset && (o.reset || len(o.counters) > 0 || len(o.truncated) > 0) { // who counts again reads every leaf
		return true
	}
	if t.holds && (o.holds || len(o.rows) > 0 || len(o.truncated) > 0 || len(o.reads) > 0) {
		return true
	}
	if (t.ring || t.mark != nil) && (o.ring || o.mark != nil) {
		return true
	}
	for k := range t.counters {
		if _, locked := o.counters[k]; locked {
			return true
		}
	}
	for _, s := range t.truncated {
		if slices.Contains(o.truncated, s) || slices.Contains(o.reads, s) || o.usesLeaf(s) {
			return true
		}
	}
	for _, s := range t.emptied {
		if slices.Contains(o.emptied, s) || slices.Contains(o.reads, s) || o.usesLedger(s) {
			return true
		}
	}
	return false
}

func (t *worldTx) usesLeaf(s int32) bool {
	for k := range t.rows {
		if k.Slot == s {
			return true
		}
	}
	return false
}

func (t *worldTx) usesLedger(s int32) bool {
	for d := range t.pending {
		if d.Slot == s {
			return true
		}
	}
	return false
}

// empties reports that the transaction holds a slot against scans.
func (t *worldTx) empties(s int32) bool {
	return t.reset || t.holds || slices.Contains(t.truncated, s) || slices.Contains(t.emptied, s)
}

func (w *world) commit(t *worldTx) {
	t.committed = true
	w.lsn += 10
	w.wal = append(w.wal, record{
		worldTx: t, commit: w.lsn - 5, end: w.lsn, at: w.now.Add(w.skew), viaRoot: w.viaRoot, noise: w.rng.Uint64(),
	})
	w.done.note(t)
}

// show makes a committed transaction visible and lets go of its locks.
func (w *world) show(t *worldTx) {
	before := maps.Clone(w.drifts)
	w.apply(t)
	if t.mark != nil {
		w.mark = *t.mark
	}
	for _, s := range t.turns {
		w.generation[s] += int64(len(worldLeaves))
	}
	w.drop(t)
	for g, d := range w.drifts {
		if d != before[g] {
			w.driftAt[g] = w.now
		}
	}
}

func (w *world) drop(t *worldTx) {
	w.ended = max(w.ended, t.xid)
	w.open = slices.DeleteFunc(w.open, func(o *worldTx) bool { return o == t })
}

func (w *world) snapshot() pgsnap.Snapshot {
	var text strings.Builder
	lowest := w.ended + 1 // as PostgreSQL has it: what is past the newest that has ended is in no list
	for _, t := range w.open {
		if t.xid <= w.ended {
			lowest = min(lowest, t.xid)
			fmt.Fprint(&text, ",", t.xid)
		}
	}
	s, err := pgsnap.Parse(fmt.Sprintf("%d:%d:%s", lowest, w.ended+1, strings.TrimPrefix(text.String(), ",")))
	if err != nil {
		panic(err)
	}
	return s
}

// scan reads one unit as a fenced scan does: everything visible, under one snapshot. It fails while
// something that it reads is being truncated: such a lock is held until the truncate is visible.
func (w *world) scan(unit int32) (applier.Scan, bool) {
	for _, t := range w.open {
		if t.empties(unit) {
			return applier.Scan{}, false
		}
	}
	s := applier.Scan{Unit: unit, Snapshot: w.snapshot(), Groups: counter.NewTable(counter.NewNames(), 0)}
	for _, g := range w.groups(func(slot int32) bool { return slot == unit || (unit == applier.NoLeaf && slot == orphanSlot) }) {
		cell := w.cell(g)
		s.Groups.Set(g, &cell)
	}
	return s, true
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
