package applier

import (
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/pgsnap"
	"github.com/awa-counterd/awa-counterd/internal/terminal"
)

// bench is a Core with one leaf, driven by hand.
type bench struct {
	t    *testing.T
	core *Core
	now  time.Time
	lsn  uint64
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, now: time.Unix(1_000_000, 0), lsn: 1000}
	core, err := New(Config{
		Instance: "me", Leaves: []int32{0}, HasMarker: true, Trust: TrustLive, QuietPeriod: time.Minute,
		MaxStaleness: 2 * time.Second, FlushInterval: 100 * time.Millisecond, CheckpointInterval: 5 * time.Second, AuditInterval: time.Hour,
	}, Start{Position: 1000, Snapshot: snap(t, "100:100:")}, b.now)
	require.NoError(t, err)
	b.core = core
	return b
}

func snap(t *testing.T, text string) pgsnap.Snapshot {
	t.Helper()
	s, err := pgsnap.Parse(text)
	require.NoError(t, err)
	return s
}

var g0 = terminal.Group{Slot: 0, Queue: "q", Priority: 1}

func (b *bench) tx(xid uint32, e decoder.Effect, tokens ...string) decoder.Tx {
	b.lsn += 10
	tx := decoder.Tx{XID: xid, CommitTime: b.now, Effect: e, End: pglogrepl.LSN(b.lsn)}
	for _, tok := range tokens {
		tx.Tokens = append(tx.Tokens, decoder.Token{Content: tok})
	}
	return tx
}

// A session clears a marker before it has a Core, under token 0. That token coming back must not
// pass for the first answer: corrections of an earlier run may still be on their way.
func TestTokenZeroIsNoAnswer(t *testing.T) {
	b := newBench(t)
	b.core.Transactions(b.now, []decoder.Tx{b.tx(101, decoder.Effect{Marker: decoder.MarkerChange{Seen: true}}, Token("me", 0))})
	require.False(t, b.core.tokens.first)
}

func TestTokens(t *testing.T) {
	instance, seq, ok := ParseToken(Token("abc", 42))
	require.True(t, ok)
	require.Equal(t, "abc", instance)
	require.EqualValues(t, 42, seq)
	for _, bad := range []string{"", "abc", "abc x", "abc -1"} {
		_, _, ok := ParseToken(bad)
		require.False(t, ok, bad)
	}
}
