package sim

import (
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/decoder"
)

// hold asks the daemon to keep its corrections back, as awa-counterd finish does, and waits until it says
// that it does.
func (s *sim) hold() {
	s.finishing = true
	s.core.HoldCorrections(true)
	s.until("the daemon does not hold", func() bool { return s.held })
}

func (s *sim) letGo() {
	s.finishing, s.held = false, false
	s.core.HoldCorrections(false)
}

// until lets the world go on until something is so.
func (s *sim) until(problem string, so func() bool) {
	for range 20_000 {
		if so() {
			return
		}
		s.step(false)
	}
	require.Fail(s.t, s.at("%s", problem))
}

// redistribute makes every counter row what awa itself would hold, and looks whether it is so. Without a
// ledger it need not be, and finish has to be run again: a decrement that found no counter row, since ours
// had what it was to be taken from, may commit after that row was made.
func (s *sim) redistribute() {
	s.rewriteAll()
	for len(s.drifts) > 0 {
		require.False(s.t, s.shape.HasLedger(), s.at("redistributed, and wrong"))
		s.rewriteAll()
	}
}

// rewriteAll goes slot by slot, while writers go on.
func (s *sim) rewriteAll() {
	for _, slot := range append([]int32{orphanSlot}, worldLeaves...) {
		var t *worldTx
		s.until("a slot stays locked", func() bool {
			t = s.rewrite(slot)
			return s.admit(t)
		})
		s.commit(t)
	}
	s.until("a stall", func() bool { return len(s.open) == 0 })
}

// rewrite is the one statement of a slot: what it reads, it reads under one snapshot, and what it writes it
// adds. Our row comes to 0 by that, and is swept.
func (w *world) rewrite(slot int32) *worldTx {
	t := w.begin()
	t.tokens = []decoder.Token{{Content: applier.Token("finish", 1)}}
	t.reads = []int32{slot}
	missing := w.byRow(slot, func(int64) bool { return true })
	for d := range missing {
		missing[d] = -missing[d]
	}
	for k, n := range w.rows {
		if k.Slot == slot {
			add(missing, k, n)
		}
	}
	for k, n := range w.counters {
		if k.Slot == slot {
			add(missing, k, -n)
		}
	}
	for k, n := range missing {
		if v := w.counters[k] + n; slot == orphanSlot || (v == 0 && k.bucket == ownBucket) {
			t.counters[k] = nil
		} else {
			t.counters[k] = new(v)
		}
	}
	return t
}
