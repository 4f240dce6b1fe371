package fleet

import (
	"context"
	"errors"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"
)

// lead is one tick of a leader; leadership bounces between old and new binaries. It rotates right after
// it pruned: these writers, unlike awa's, write to any slot, and soon to the one that was emptied.
func (f *Fleet) lead(ctx context.Context, r *rand.Rand) {
	counted := r.IntN(2) == 0
	if f.cfg.OldLeads != 0 {
		counted = r.Float64() >= f.cfg.OldLeads
	}
	w := f.cfg.writer(counted)
	err := Do(ctx, f.pool, func(tx pgx.Tx) error { return w.Prune(ctx, tx, -1) })
	switch {
	case errors.Is(err, ErrBlocked):
		f.Blocks.Add(1)
		if errors.Is(err, ErrCounterLocked) {
			f.Failed.Add(1)
		}
	case err != nil:
		f.note(ctx, err)
	default:
		f.Prunes.Add(1)
	}
	err = Do(ctx, f.pool, func(tx pgx.Tx) error { return w.Rotate(ctx, tx) })
	if errors.Is(err, ErrBlocked) {
		f.Blocks.Add(1)
		return
	}
	f.note(ctx, err)
}

// foldsATick is how many slots awa's leader folds at a time.
const foldsATick = 4

// fold is one tick of a new leader that folds.
func (f *Fleet) fold(ctx context.Context) {
	w := f.cfg.writer(true)
	slots, err := w.FoldCandidates(ctx, f.pool)
	f.note(ctx, err)
	for folded := 0; len(slots) > 0 && folded < foldsATick; slots = slots[1:] {
		var got Outcome
		err := Do(ctx, f.pool, func(tx pgx.Tx) (err error) {
			got, err = w.Fold(ctx, tx, slots[0])
			return err
		})
		switch {
		case errors.Is(err, ErrBlocked):
			f.FoldsBlocked.Add(1)
		case err != nil:
			f.note(ctx, err)
		case got == StoodDown:
			f.Skipped.Add(1)
			return
		case got == Folded:
			f.Folds.Add(1)
			folded++
		}
	}
	if w.form().deferred() {
		f.note(ctx, Do(ctx, f.pool, func(tx pgx.Tx) error { return w.FoldRollups(ctx, tx) }))
	}
}

func (f *Fleet) disturb(ctx context.Context, p Pick) {
	w := f.cfg.writer(true)
	f.note(ctx, Do(ctx, f.pool, func(tx pgx.Tx) error {
		if p.Rand.IntN(3) == 0 {
			return w.Rebuild(ctx, tx)
		}
		k := p.Key()
		if w.form().ledger() && p.Rand.IntN(4) == 0 {
			return w.LateDelta(ctx, tx, k, 1+int64(p.Rand.IntN(9)))
		}
		if p.Rand.IntN(4) == 0 {
			k.Slot = int32(f.cfg.Slots) + 3
		}
		return w.Poison(ctx, tx, k, int64(p.Rand.IntN(1000)-5))
	}))
}
