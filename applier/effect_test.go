package applier

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/decoder"
)

// A correction that was written and had no effect, or another one, mends nothing: the drift ages, trust ends, and
// somebody is told. What others write meanwhile is no part of that.
func TestCorrectionsWithoutEffectAge(t *testing.T) {
	for name, value := range map[string]int64{"none": 0, "another": 3, "its own": 5} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.core.books = filled(t, 0)
			b.core.allSettled = true
			b.core.tokens.first = true
			flush := func() {
				var w Write
				for _, c := range b.core.Next(b.now) {
					if c, ok := c.(Write); ok {
						w = c
					}
				}
				xid := uint32(200 + 10*w.Seq)
				others := b.tx(xid, decoder.Effect{Rows: []decoder.Change{{Group: g0, N: 2}}})
				back := decoder.Effect{}
				if value != 0 && len(w.Chunks) > 0 {
					require.EqualValues(t, 5, w.Chunks[0].Corrections[0].Delta)
					back.Counters = []decoder.CounterChange{{Group: g0, Value: value}}
				}
				b.core.Transactions(b.now, []decoder.Tx{others, b.tx(xid+1, back, Token("me", 0))})
				b.core.Transactions(b.now, []decoder.Tx{b.tx(xid+2, decoder.Effect{Rows: []decoder.Change{{Group: g0, N: -2}}}), b.tx(xid+3, decoder.Effect{}, Token("me", w.Seq))})
				b.now = b.now.Add(200 * time.Millisecond)
				b.core.Written(b.now, WriteResult{Seq: w.Seq, Sent: b.now, Server: b.now, Snapshot: snap(t, "999:999:")})
			}
			b.core.snapshot = snap(t, "150:150:")
			b.core.Transactions(b.now, []decoder.Tx{b.tx(101, decoder.Effect{Rows: []decoder.Change{{Group: g0, N: 5}}})})
			b.now = b.now.Add(time.Second) // what others do later is younger
			flush()
			if name == "its own" {
				require.Zero(t, b.core.staleness.oldest(b.now, b.now))
				return
			}
			require.GreaterOrEqual(t, b.core.staleness.oldest(b.now, b.now), time.Second, "settled because it was written")
			for range 3 {
				b.core.effects.plan([]Chunk{{Corrections: []Correction{{Group: g0, Delta: 5}}}})
				b.core.tokens.open, b.core.tokens.awaited, b.core.tokens.writing, b.core.tokens.flushing, b.core.tokens.all = true, 0, false, true, true
				b.core.endWrite(b.now)
			}
			require.GreaterOrEqual(t, b.core.staleness.oldest(b.now, b.now), time.Second)
			told := 0
			for _, n := range b.core.Notices() {
				if n.Warn {
					require.Contains(t, n.Message, "look for a trigger or a rule")
					told++
				}
			}
			require.Equal(t, 1, told)
		})
	}
}
