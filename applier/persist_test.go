package applier

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
)

// A position is acknowledged once, after it was persisted, and Next is who says so.
func TestAcknowledgesWhatIsPersisted(t *testing.T) {
	b := newBench(t)
	b.core.books = filled(t, 0)
	b.core.tokens.first = true
	b.core.Transactions(b.now, []decoder.Tx{b.tx(101, decoder.Effect{Rows: []decoder.Change{{Group: g0, N: 9}}})})
	next := func() (persist *Persist, acknowledge *Acknowledge) {
		b.now = b.now.Add(10 * time.Second)
		for _, c := range b.core.Next(b.now) {
			switch c := c.(type) {
			case Persist:
				persist = &c
			case Acknowledge:
				acknowledge = &c
			}
		}
		return persist, acknowledge
	}
	persist, acknowledge := next()
	require.NotNil(t, persist)
	require.Nil(t, acknowledge, "before it was persisted")
	b.core.Persisted(b.now, errors.New("busy"))
	again, acknowledge := next()
	require.NotNil(t, again)
	require.Nil(t, acknowledge, "it was not persisted")
	b.core.Persisted(b.now, nil)
	_, acknowledge = next()
	require.Equal(t, &Acknowledge{Position: again.Checkpoint.Position}, acknowledge)
	_, acknowledge = next()
	require.Nil(t, acknowledge, "twice")
}

// A checkpoint of many groups waits for more WAL than a small one, but not for ever.
func TestLargeCheckpointsWaitForWAL(t *testing.T) {
	b := newBench(t)
	b.core.books = filled(t, 0)
	b.core.tokens.first = true
	b.core.checkpointing.position, b.core.checkpointing.last = 1000, b.now
	persists := func(after time.Duration) bool {
		b.now = b.now.Add(after)
		for _, c := range b.core.Next(b.now) {
			if _, ok := c.(Persist); ok {
				b.core.Persisted(b.now, nil)
				return true
			}
		}
		return false
	}
	xid := uint32(100)
	change := func(groups int) {
		xid++
		var e decoder.Effect
		for i := range groups {
			e.Rows = append(e.Rows, decoder.Change{Group: counter.Group{Queue: fmt.Sprintf("q%04d", i), Priority: 1}, N: 1})
		}
		b.core.Transactions(b.now, []decoder.Tx{b.tx(xid, e)})
	}
	change(500)
	require.True(t, persists(5*time.Second), "the one before was small")
	change(500)
	require.False(t, persists(19*time.Second), "hardly any WAL since the last one")
	require.True(t, persists(time.Second), "four intervals")
	b.lsn += 500 * 200 * largeCheckpointMoves
	change(1)
	require.False(t, persists(4*time.Second))
	require.True(t, persists(time.Second), "enough WAL")
	change(1)
	require.True(t, persists(5*time.Second), "the last one was small")
}
