package applier

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/decoder"
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
