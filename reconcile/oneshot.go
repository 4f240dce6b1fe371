package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/corrections"
)

// OneShot compares, and if asked corrects, all counters of a schema without a stream: no replication
// slot, no wal_level, no ACCESS EXCLUSIVE, no quiesced fleet (docs/design.md §11).
type OneShot struct {
	layout  *awa.Layout
	scanner *Scanner
	holder  *pgx.Conn // keeps prunes and rebuilds out of the leaf that is being corrected
	writes  *pgx.Conn
	writer  *corrections.Writer // corrects, while the holder keeps others out
	marker  *corrections.Writer
	seq     uint64
	patience
	// Waiting is told once of a unit that is locked for long; nil for nobody.
	Waiting func(unit string)
	// Alone says that nobody follows the stream, and that nobody will go on from where somebody did: then what
	// is of another generation leaves the ledger, which no stream would tell of.
	Alone bool
	// StillAlone is asked in each transaction that rests on Alone, before it changes anything.
	StillAlone func(ctx context.Context, tx pgx.Tx) error
}

// Progress is called after each leaf.
type Progress func(leaf string, leaves, of int, rows int64)

// tokenName is whose tokens mark the corrections, for a daemon beside us: they are no uncounted writes.
const tokenName = "reconcile"

// NewOneShot opens what a run needs. Close ends it. A pg.Refusal is an awa that spreads its jobs over buckets that
// this build does not know: Redistribute would empty those.
func NewOneShot(ctx context.Context, src *pg.Source, l *awa.Layout) (*OneShot, error) {
	o := &OneShot{layout: l}
	var err error
	if o.scanner, err = NewScanner(ctx, src, l, 1, ScanTimeout); err != nil {
		return nil, err
	}
	if o.holder, err = src.Connect(ctx, pg.Settings{Role: "reconcile", Holds: true, LockTimeout: scanLockWait, StatementTimeout: ScanTimeout}); err != nil {
		o.scanner.Close()
		return nil, err
	}
	o.writes, err = src.Connect(ctx, pg.Settings{Role: "reconcile corrections", Async: true})
	if err != nil {
		o.Close() //nolint:contextcheck // has to work after ctx has ended
		return nil, err
	}
	o.Patient(openWithin)
	if err := o.waits(ctx, "awa's counter table", awa.Leaf{}, func() error { return l.CheckBucket(ctx, o.holder) }); err != nil {
		o.Close() //nolint:contextcheck // has to work after ctx has ended
		if shape, ok := errors.AsType[*awa.ShapeError](err); ok {
			err = &pg.Refusal{Problem: shape.Error(), Err: shape}
		}
		return nil, err
	}
	o.patience = patience{}
	o.writer = corrections.NewWriter(o.writes, corrections.OfOneShot(l, holds(o.holder)), tokenName)
	o.marker = corrections.NewWriter(o.writes, corrections.OfOneShot(l, "true"), tokenName)
	return o, nil
}

// openWithin bounds the waits of NewOneShot.
const openWithin = 10 * time.Second

// Close ends the connections.
func (o *OneShot) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), pg.CloseWithin)
	defer cancel()
	o.scanner.Close()
	for _, c := range []*pgx.Conn{o.writes, o.holder} {
		if c != nil {
			_ = c.Close(ctx)
		}
	}
}

// Drift is a group whose counter is wrong.
type Drift struct {
	counter.Group
	Rows, Counter int64
}

// Off is what has to be added to the counter.
func (d Drift) Off() int64 { return d.Rows - d.Counter }

// Result of a look at all leaves.
type Result struct {
	Leaves    int
	Groups    int
	Rows      int64
	Drifts    []Drift  // as found, worst first
	Corrected int      // groups
	Uneven    []Uneven // groups that were right as a sum only, as found
	Dropped   int      // changes of another generation that left the ledger; the counters made up for them, and that is no drift
	Locked    []counter.Group
}

// Uneven is a group whose counter rows add up to what is right, and are not what awa itself would hold.
type Uneven struct {
	counter.Group
	Rows int // counter rows that are wrong
}

// UnevenRows is how many counter rows are wrong in groups that are right as a sum.
func (r *Result) UnevenRows() (n int) {
	for _, u := range r.Uneven {
		n += u.Rows
	}
	return n
}

// Run compares every group, and corrects what is wrong when correct is set. It is a pg.Refusal if awa's tables are not those any more
// with which the OneShot was made: what it has corrected is right, but there may be more to look at.
func (o *OneShot) Run(ctx context.Context, correct bool, progress Progress) (Result, error) {
	return o.each(ctx, func(ctx context.Context, leaf awa.Leaf) (Result, error) { return o.leaf(ctx, leaf, correct) }, progress)
}

// each does something to every unit.
func (o *OneShot) each(ctx context.Context, do func(context.Context, awa.Leaf) (Result, error), progress Progress) (Result, error) {
	r := Result{Leaves: len(o.layout.Leaves)}
	units := append(slices.Clone(o.layout.Leaves), elsewhere())
	for i, leaf := range units {
		began := time.Now()
		one, err := do(ctx, leaf)
		if err != nil {
			return r, err
		}
		r.add(one)
		if progress != nil {
			progress(leaf.Name, i+1, len(units), r.Rows)
		}
		if i+1 < len(units) {
			if err := o.pause(ctx, time.Since(began)); err != nil {
				return r, err
			}
		}
	}
	if err := o.sameTables(ctx); err != nil {
		return r, err
	}
	slices.SortFunc(r.Drifts, func(a, b Drift) int {
		if d := size(b.Off()) - size(a.Off()); d != 0 {
			return int(max(min(d, 1), -1))
		}
		return a.Compare(b.Group)
	})
	return r, nil
}

// sameTables refuses tables that a migration, or a person, has changed since this OneShot was made.
func (o *OneShot) sameTables(ctx context.Context) error {
	var now *awa.Layout
	err := o.waits(ctx, "one of awa's tables", awa.Leaf{}, func() (err error) {
		now, err = awa.Discover(ctx, o.holder, o.layout.Schema)
		return err
	})
	_, shape := errors.AsType[*awa.ShapeError](err)
	switch {
	case err == nil && now.Equivalent(o.layout):
		return nil
	case err != nil && !shape && !errors.Is(err, awa.ErrNotYet):
		return fmt.Errorf("look at awa's tables again: %w", err)
	}
	r := pg.Refuse("run it again", "awa's tables have changed meanwhile")
	r.Err = err
	return r
}

func elsewhere() awa.Leaf {
	return awa.Leaf{Slot: applier.NoLeaf, Partition: awa.Partition{Name: "counters of no leaf"}}
}

// longestPause bounds the rest that a look takes between two leaves.
const longestPause = time.Second

// pause rests as long as the last leaf took: awa up to 0.6.9 folds its ledger only while no client holds a
// snapshot.
func (o *OneShot) pause(ctx context.Context, took time.Duration) error {
	if !o.layout.Shape.HasLedger() {
		return ctx.Err()
	}
	return o.rest(ctx, min(took, longestPause))
}

func (r *Result) add(o Result) {
	r.Groups += o.Groups
	r.Rows += o.Rows
	r.Corrected += o.Corrected
	r.Uneven = append(r.Uneven, o.Uneven...)
	r.Dropped += o.Dropped
	r.Drifts = append(r.Drifts, o.Drifts...)
	r.Locked = append(r.Locked, o.Locked...)
}

func size(n int64) int64 { return max(n, -n) }

func (o *OneShot) leaf(ctx context.Context, leaf awa.Leaf, correct bool) (Result, error) {
	switch {
	case !correct:
		r, _, err := o.compare(ctx, leaf)
		return r, err
	case o.layout.Shape.HasBuckets():
		return o.Redistribute(ctx, leaf)
	}
	return o.correctSharedRows(ctx, leaf)
}

// correctSharedRows corrects a unit whose counter rows awa's writers share with us: one row of theirs that is locked must
// not keep all others locked. So the drift is read in one statement, true under one snapshot, and added as a
// delta in small transactions: who counts keeps the drift, so it is right however many commit meanwhile.
func (o *OneShot) correctSharedRows(ctx context.Context, leaf awa.Leaf) (r Result, err error) {
	err = o.waits(ctx, ringSlot(leaf), leaf, func() error {
		return o.held(ctx, leaf, func(ctx context.Context) (err error) {
			var due []applier.Correction
			if r, due, err = o.compare(ctx, leaf); err != nil {
				return err
			}
			return o.correct(ctx, due, &r)
		})
	})
	return r, err
}

func (o *OneShot) lockRebuild(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended($1, 0))`, o.layout.Schema.RebuildLock()); err != nil {
		return fmt.Errorf("wait for a rebuild to end: %w", err)
	}
	return nil
}

func (o *OneShot) compare(ctx context.Context, leaf awa.Leaf) (r Result, due []applier.Correction, err error) {
	scan, err := o.scan(ctx, leaf.Slot)
	if err != nil {
		return r, nil, err
	}
	r.Groups = scan.Groups.Len()
	for id := range scan.Groups.All() {
		e := scan.Groups.At(id)
		r.Rows += e.Rows
		if e.Drift() != 0 {
			g := scan.Groups.Group(e)
			r.Drifts = append(r.Drifts, Drift{Group: g, Rows: e.Rows, Counter: e.Counter()})
			due = append(due, applier.Correction{Group: g, Delta: e.Drift()})
		}
	}
	return r, due, nil
}

// scan waits while a rebuild or a migration holds the counters.
func (o *OneShot) scan(ctx context.Context, unit int32) (s applier.Scan, err error) {
	leaf := elsewhere()
	for _, l := range o.layout.Leaves {
		if l.Slot == unit {
			leaf = l
		}
	}
	err = o.waits(ctx, ringSlot(leaf), leaf, func() (err error) {
		s, err = o.scanner.Scan(ctx, unit)
		return err
	})
	return s, err
}

// correct writes corrections in small transactions. What is locked is tried again, alone.
func (o *OneShot) correct(ctx context.Context, due []applier.Correction, r *Result) error {
	var locked []applier.Correction
	for _, chunk := range applier.SplitIntoChunks(due, func(counter.Group) bool { return false }) {
		if err := o.write(ctx, chunk); err != nil {
			if !pg.IsBusy(err) {
				return err
			}
			locked = append(locked, chunk.Corrections...)
			continue
		}
		r.Corrected += len(chunk.Corrections)
	}
	for _, c := range locked {
		var err error
		for range 4 {
			if err = o.write(ctx, applier.Chunk{Corrections: []applier.Correction{c}, Patient: true}); !pg.IsBusy(err) {
				break
			}
		}
		switch {
		case pg.IsBusy(err):
			r.Locked = append(r.Locked, c.Group)
		case err != nil:
			return err
		default:
			r.Corrected++
		}
	}
	return nil
}

func (o *OneShot) write(ctx context.Context, chunk applier.Chunk) error {
	if err := o.writer.Correct(ctx, chunk); err != nil {
		return fmt.Errorf("correct: %w", err)
	}
	return nil
}

// Trust sets the marker.
func (o *OneShot) Trust(ctx context.Context) error {
	return o.waits(ctx, "the marker", awa.Leaf{}, func() error {
		o.seq++
		return o.marker.SetMarker(ctx, applier.SetMarker{Seq: o.seq, Set: true})
	})
}
