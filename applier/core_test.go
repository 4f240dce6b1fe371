package applier

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/decoder"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pgsnap"
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

var g0 = counter.Group{Slot: 0, Queue: "q", Priority: 1}

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

// A correction may leave a drift behind (writes went on meanwhile). It is ours all the same.
func TestOwnWritesAreNotUncounted(t *testing.T) {
	b := newBench(t)
	b.core.books = filled(t, 0)
	rows := decoder.Effect{Rows: []decoder.Change{{Group: g0, N: 9}}}
	half := decoder.Effect{Counters: []decoder.CounterChange{{Group: g0, Value: 4}}}
	b.core.Transactions(b.now, []decoder.Tx{b.tx(101, rows)})
	require.EqualValues(t, 9, b.core.uncounted.total)
	b.core.Transactions(b.now, []decoder.Tx{b.tx(102, half, Token("me", 1))})
	b.core.Transactions(b.now, []decoder.Tx{b.tx(103, decoder.Effect{Counters: []decoder.CounterChange{{Group: g0, Value: 5}}}, Token("another instance", 8))})
	require.EqualValues(t, 9, b.core.uncounted.total)
	require.EqualValues(t, 4, driftOf(b.core.books, g0))
}

// Anybody may write a message under our prefix. It hides nothing of what a daemon never does, nor is a token ours that we have not sent.
func TestATokenHidesNoOldBinary(t *testing.T) {
	rows := decoder.Effect{Rows: []decoder.Change{{Group: g0, N: 9}}}
	for name, token := range map[string]string{
		"no token of anybody's": "hello", "of another instance": Token("another instance", 8), "of reconcile": Token("reconcile", 0),
		"of a chunk of this instance": Token("me", 0), "that this instance has not sent": Token("me", 99),
	} {
		b := newBench(t)
		b.core.books = filled(t, 0)
		b.core.Transactions(b.now, []decoder.Tx{b.tx(101, rows, token)})
		require.EqualValues(t, 9, b.core.uncounted.total, "%s: rows", name)
		require.Equal(t, b.now, b.core.uncounted.lastOldBinary(), name)

		b = newBench(t)
		b.core.books = filled(t, 0)
		b.core.cfg.Shape.Ledger = true
		b.now = b.now.Add(time.Second)
		b.core.Transactions(b.now, []decoder.Tx{b.tx(101, decoder.Effect{Truncated: []int32{0}}, token)})
		require.Equal(t, b.now, b.core.uncounted.lastOldBinary(), "%s: a prune", name)
	}
	half := decoder.Effect{Counters: []decoder.CounterChange{{Group: g0, Value: 4}}}
	for _, token := range []string{"hello", Token("me", 99)} {
		b := newBench(t)
		b.core.books = filled(t, 0)
		b.core.Transactions(b.now, []decoder.Tx{b.tx(101, half, token)})
		require.EqualValues(t, 1, b.core.uncounted.sources[Source{Queue: "q", Kind: KindCounter}].Transactions, token)
	}
}

// The server does send acknowledged transactions again after a restart.
func TestTransactionsAreCountedOnce(t *testing.T) {
	b := newBench(t)
	b.core.books = filled(t, 0)
	tx := b.tx(101, decoder.Effect{Rows: []decoder.Change{{Group: g0, N: 9}}})
	b.core.Transactions(b.now, []decoder.Tx{tx, tx})
	b.core.Transactions(b.now, []decoder.Tx{tx})
	require.EqualValues(t, 9, b.core.books.cell(g0).Rows)
}

// A slot that stays locked keeps no other from its scan, where one scan is out at a time.
func TestALockedSlotIsScannedLast(t *testing.T) {
	b := newBench(t)
	core, err := New(Config{
		Instance: "me", Leaves: []int32{0, 1, 2}, Shape: Shape{Ledger: true, OwnBucket: 300}, FlushInterval: 100 * time.Millisecond,
		CheckpointInterval: 5 * time.Second, AuditInterval: time.Hour, MaxStaleness: 2 * time.Second,
	}, Start{Position: 1000, Snapshot: snap(t, "100:100:")}, b.now)
	require.NoError(t, err)
	locked := []int32{0, 2}
	var order []int32
	for len(order) < 6 {
		b.now = b.now.Add(time.Second)
		for _, cmd := range core.Next(b.now) {
			scan, ok := cmd.(StartScan)
			if !ok {
				continue
			}
			order = append(order, scan.Unit)
			if slices.Contains(locked, scan.Unit) {
				core.Scanned(b.now, scan.Unit, Scan{}, errors.New("locked"))
			} else {
				core.Scanned(b.now, scan.Unit, Scan{Unit: scan.Unit, Snapshot: snap(t, "100:100:")}, nil)
			}
		}
	}
	require.Equal(t, []int32{0, 1, 2, NoLeaf}, order[:4])
	require.ElementsMatch(t, locked, order[4:], "in turn")
}

// The age of a drift never hides behind a server clock that was set back.
func TestAgesSurviveClockJumps(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	var a staleness
	a.noteDrift(clocks{server: now.Add(time.Hour), local: now})
	require.Equal(t, 3*time.Second, a.oldest(now.Add(3*time.Second), now.Add(3*time.Second)))
	a.noteDrift(clocks{server: now.Add(-time.Minute), local: now})
	require.Equal(t, time.Minute, a.oldest(now, now))
}

// A stop must not leave with the marker set over a write that was committed before it.
func TestStopHearsOfEverythingBefore(t *testing.T) {
	b := newBench(t)
	b.core.books = filled(t, 0)
	b.core.tokens.first, b.core.tokens.provenAt = true, b.now
	b.now = b.now.Add(time.Millisecond)
	b.core.Stop(b.now)
	require.False(t, b.core.Stopped(b.now))
	var token *Write
	for _, c := range b.core.Next(b.now) {
		if w, ok := c.(Write); ok {
			token = &w
		}
	}
	require.NotNil(t, token, "no token was asked for")
	b.now = b.now.Add(time.Millisecond)
	b.core.Written(b.now, WriteResult{Seq: token.Seq, Sent: b.now, Server: b.now, Snapshot: snap(t, "100:100:")})
	b.core.Transactions(b.now, []decoder.Tx{b.tx(101, decoder.Effect{}, Token("me", token.Seq))})
	b.core.Next(b.now)
	require.True(t, b.core.heardSinceStop())
}

// A prune of a new binary, under way while a correction makes a counter row, leaves that row behind. It
// took others away, so it counts, and is not blamed; one that took none may be an old binary's.
func TestCountingPruneIsNotBlamed(t *testing.T) {
	b := newBench(t)
	b.core.books = filled(t, 0)
	other := g0
	other.Queue = "r"
	fill := decoder.Effect{
		Rows:     []decoder.Change{{Group: g0, N: 9}, {Group: other, N: 4}},
		Counters: []decoder.CounterChange{{Group: g0, Value: 9}, {Group: other, Value: 4}},
	}
	b.core.Transactions(b.now, []decoder.Tx{b.tx(101, fill)})
	b.core.Transactions(b.now, []decoder.Tx{b.tx(102, decoder.Effect{Truncated: []int32{0}, Counters: []decoder.CounterChange{{Group: other, Gone: true}}})})
	require.EqualValues(t, -9, driftOf(b.core.books, g0))
	require.Zero(t, b.core.uncounted.total)
	b.core.Transactions(b.now, []decoder.Tx{b.tx(103, decoder.Effect{Counters: []decoder.CounterChange{{Group: g0, Gone: true}}}), b.tx(104, fill)})
	b.core.Transactions(b.now, []decoder.Tx{b.tx(105, decoder.Effect{Truncated: []int32{0}})})
	require.EqualValues(t, 13, b.core.uncounted.total)
}

// What readers cannot see yet is no part of a correction, and keeps its age.
func TestPlanStopsAtTheVeil(t *testing.T) {
	b := newBench(t)
	b.core.books = filled(t, 0)
	b.core.allSettled = true
	add := func(n int64) decoder.Effect { return decoder.Effect{Rows: []decoder.Change{{Group: g0, N: n}}} }
	b.core.Transactions(b.now, []decoder.Tx{b.tx(101, add(5))})
	hidden := b.now.Add(time.Second)
	b.core.Transactions(hidden, []decoder.Tx{b.tx(102, add(7))})
	b.core.snapshot = snap(t, "102:102:")
	chunks, rest, all := b.core.plan()
	require.True(t, all)
	require.Equal(t, []Correction{{Group: g0, Delta: 5}}, chunks[0].Corrections)
	require.Equal(t, hidden, rest.local)
	b.core.snapshot = snap(t, "101:102:101") // the other way round: the older one is not visible
	chunks, _, _ = b.core.plan()
	require.Empty(t, chunks, "102 is past xmax")
	b.core.snapshot = snap(t, "101:103:101")
	chunks, _, _ = b.core.plan()
	require.Equal(t, []Correction{{Group: g0, Delta: 7}}, chunks[0].Corrections)
}

// A flush puts off what it finds locked, and leaves what is not visible yet its age. When that is lifted
// and everything balances by itself, no transaction comes to say so.
func TestAgesEndWithoutATransaction(t *testing.T) {
	b := newBench(t)
	b.core.books = filled(t, 0)
	b.core.allSettled = true
	b.core.tokens.first = true
	add := func(n int64) decoder.Effect { return decoder.Effect{Rows: []decoder.Change{{Group: g0, N: n}}} }
	b.core.Transactions(b.now, []decoder.Tx{b.tx(101, add(5)), b.tx(102, add(-5))})
	answer := func(seen string, deferred ...counter.Group) {
		w, ok := b.core.Next(b.now)[0].(Write)
		require.True(t, ok)
		b.now = b.now.Add(200 * time.Millisecond)
		b.core.Written(b.now, WriteResult{Seq: w.Seq, Sent: b.now, Server: b.now, Snapshot: snap(t, seen), Deferred: deferred})
		b.core.Transactions(b.now, []decoder.Tx{b.tx(200+uint32(w.Seq), decoder.Effect{}, Token("me", w.Seq))})
		b.now = b.now.Add(time.Second)
	}
	b.core.tokens.first = false
	answer("102:103:102") // readers see 101 only
	require.True(t, b.core.stalled())
	answer("102:103:102", g0)
	require.NotZero(t, b.core.staleness.oldest(b.now, b.now))
	answer("150:150:")
	answer("150:150:")
	answer("150:150:")
	require.Zero(t, b.core.staleness.oldest(b.now, b.now))
}

// An old leader that empties slots is an old binary at work, whatever it does to the drifts.
func TestOldPrunesAreAnOldBinary(t *testing.T) {
	b := newBench(t)
	b.core.books = filled(t, 0)
	b.core.cfg.Shape.Ledger = true
	b.core.Transactions(b.now, []decoder.Tx{b.tx(101, decoder.Effect{Truncated: []int32{0}, LedgerEmptied: []int32{0}, CountingPrunes: []int32{0}})})
	require.False(t, b.core.uncountedWithin(time.Minute), "a leader that counts")
	b.core.Transactions(b.now, []decoder.Tx{b.tx(102, decoder.Effect{Truncated: []int32{0}})})
	require.True(t, b.core.uncountedWithin(time.Minute))
	require.Zero(t, b.core.uncounted.total)
}

// Quiet is time that a daemon watched: not what the server's clock says, which may be set, nor time in which nothing was streamed.
func TestQuietIsWatched(t *testing.T) {
	b := newBench(t)
	b.core.cfg.Trust = TrustQuiet
	b.core.books = filled(t, 0)
	rows := func(at time.Time) decoder.Tx {
		tx := b.tx(101, decoder.Effect{Rows: []decoder.Change{{Group: g0, N: 9}}})
		tx.CommitTime = at
		return tx
	}
	pass := func(d time.Duration) { // with a token at its end
		b.now = b.now.Add(d)
		b.core.tokens.seq++
		b.core.tokens.awaited, b.core.tokens.sent = b.core.tokens.seq, b.now
		b.core.Transactions(b.now, []decoder.Tx{b.tx(102, decoder.Effect{}, Token("me", b.core.tokens.seq))})
	}
	pass(0)
	b.core.Transactions(b.now, []decoder.Tx{rows(b.now)})
	pass(3 * time.Second)
	require.Equal(t, 3*time.Second, b.core.Status(b.now).Quiet)

	b.core.serverAt = clocks{server: b.now.Add(time.Hour), local: b.now} // it was set forward
	require.True(t, b.core.uncountedWithin(time.Minute), "an hour that nobody has watched")

	b.core.Transactions(b.now, []decoder.Tx{rows(b.now.Add(time.Hour))})
	require.Zero(t, b.core.Status(b.now).Quiet)
	b.core.serverAt = clocks{server: b.now.Add(-time.Hour), local: b.now} // and back
	b.now = b.now.Add(time.Minute)
	require.True(t, b.core.uncountedWithin(time.Minute), "nothing proves that something was streamed since")
	pass(time.Second)
	require.False(t, b.core.uncountedWithin(time.Minute), "it would be so for two hours")

	b.core.checkpointing.asked = b.now
	require.Equal(t, 61*time.Second, b.core.nextPersist(b.now, nil)[0].(Persist).Checkpoint.Quiet)
	next, err := New(b.core.cfg, Start{Position: 1000, Resumes: true, Quiet: 61 * time.Second, Snapshot: b.core.snapshot}, b.now.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, 61*time.Second, next.Status(b.now).Quiet, "in the hour between, nothing was streamed")

	b.core.rescan(change{Group: g0})
	pass(time.Hour)
	require.Zero(t, b.core.Status(b.now).Quiet, "of a ring slot whose books are not known, nobody sees who writes")
}

// Each counter is in the sum over several Cores; a field that is added must be added there as well.
func TestTotalsAddTakesEveryCounter(t *testing.T) {
	var now, before, want Totals
	for i := range reflect.TypeFor[Totals]().NumField() {
		if f := reflect.ValueOf(&now).Elem().Field(i); f.Kind() == reflect.Int64 {
			f.SetInt(int64(100 + i))
			reflect.ValueOf(&before).Elem().Field(i).SetInt(40)
			reflect.ValueOf(&want).Elem().Field(i).SetInt(int64(60 + i))
		}
	}
	var sum Totals
	sum.Add(&now, &before)
	require.Equal(t, want, sum)
	sum.Add(&now, &before)
	require.Equal(t, 2*want.Audits, sum.Audits)
}

// Every doubt has a kind that programs can tell it by, and is known by it.
func TestDoubtsHaveKinds(t *testing.T) {
	b := newBench(t)
	st := b.core.Status(b.now)
	require.Equal(t, DoubtScanning, st.Doubt)
	require.Contains(t, st.Reason, "scanning: 0 of 2")
	outside := func(kind DoubtKind, text string) {
		t.Helper()
		st = b.core.Status(b.now)
		require.Equal(t, kind, st.Doubt)
		require.Equal(t, text, st.Reason)
		require.Contains(t, DoubtKinds(), st.Doubt)
	}
	b.core.SetOutsideDoubt(DoubtRetained, "the slot keeps a lot")
	b.core.SetOutsideDoubt(DoubtUnlooked, "")
	outside(DoubtRetained, "the slot keeps a lot")
	b.core.SetOutsideDoubt(DoubtUnlooked, "nobody looks") // one of another kind takes nothing back
	b.core.SetOutsideDoubt(DoubtUnlooked, "nobody looks for long")
	outside(DoubtRetained, "the slot keeps a lot")
	b.core.SetOutsideDoubt(DoubtRetained, "")
	outside(DoubtUnlooked, "nobody looks for long")
	b.core.SetOutsideDoubt(DoubtUnlooked, "")
	require.Equal(t, DoubtScanning, b.core.Status(b.now).Doubt)
	seen := map[DoubtKind]bool{DoubtNone: true}
	for _, k := range DoubtKinds() {
		require.False(t, seen[k], k)
		seen[k] = true
	}
}

// A dry run asks for tokens, scans and checkpoints, and never for a correction or for the marker: not when it is set, not at the
// end, not after finish has let go.
func TestDryRunAsksForNothing(t *testing.T) {
	b := newBench(t)
	b.core.cfg.DryRun, b.core.holding = true, true
	b.core.books = filled(t, 0)
	b.core.marker.set = true
	b.core.tokens.first, b.core.tokens.provenAt = true, b.now
	b.core.Transactions(b.now, []decoder.Tx{b.tx(101, decoder.Effect{Rows: []decoder.Change{{Group: g0, N: 9}}})})
	b.core.HoldCorrections(true)
	b.core.HoldCorrections(false)
	tokens := 0
	for i := range 100 {
		if i == 80 {
			b.core.Stop(b.now)
		}
		for _, c := range b.core.Next(b.now) {
			switch c := c.(type) {
			case SetMarker:
				require.Fail(t, "a dry run touches the marker")
			case Write:
				require.Empty(t, c.Chunks, "a dry run corrects")
				tokens++
				b.core.Written(b.now, WriteResult{Seq: c.Seq, Sent: b.now, Server: b.now, Snapshot: snap(t, "200:200:"), Marker: true})
				b.core.Transactions(b.now, []decoder.Tx{b.tx(uint32(110+i), decoder.Effect{}, Token("me", c.Seq))})
			case Persist:
				b.core.Persisted(b.now, nil)
			}
		}
		b.now = b.now.Add(200 * time.Millisecond)
	}
	require.Greater(t, tokens, 10)
	st := b.core.Status(b.now)
	require.EqualValues(t, 9, st.Drift)
	require.Equal(t, DoubtDryRun, st.Doubt)
	require.True(t, b.core.MarkerSet())
	require.True(t, b.core.Stopped(b.now))
}
