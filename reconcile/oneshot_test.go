package reconcile

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// As long as work goes on in other sessions, the one that keeps others out says a word more often than the server waits for one.
func TestWordsAreSaidWhileOthersWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tx := &script{}
		ctx, end := context.WithCancel(t.Context())
		said := make(chan error)
		go func() { said <- sayWords(ctx, tx) }()
		<-time.After(10 * idleWithLocks)
		synctest.Wait()
		require.GreaterOrEqual(t, len(tx.sent), 20, "twice as often at least")
		end()
		require.NoError(t, <-said)
	})
}

// When the server has ended that transaction, what rests on it ends as well.
func TestWordsThatAreNotHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := sayWords(t.Context(), &script{broken: errGone})
		require.ErrorIs(t, err, errLetGo)
		require.ErrorIs(t, err, errGone)
	})
}

// Beside a ledger a look rests between two leaves, for as long as the last one took and no longer than a second: awa folds in between.
func TestRestBetweenTwoLeaves(t *testing.T) {
	for _, c := range []struct {
		shape      string
		took, rest time.Duration
	}{
		{"ledger", 300 * time.Millisecond, 300 * time.Millisecond},
		{"ledger", time.Minute, time.Second},
		{"striped", time.Minute, 0},
		{"#306", time.Minute, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := &OneShot{layout: layoutOf(c.shape)}
			began := time.Now()
			require.NoError(t, o.pause(t.Context(), c.took))
			require.Equal(t, c.rest, time.Since(began), "%+v", c)
			ctx, end := context.WithCancel(t.Context())
			end()
			require.ErrorIs(t, o.pause(ctx, c.took), context.Canceled)
		})
	}
}

// Changes of another generation leave the ledger only while nobody can go on from a checkpoint, which is asked before anything is
// locked, and only if the role may delete them.
func TestStaleChangesAreDroppedAlone(t *testing.T) {
	l := layoutOf("ledger")
	leaf := l.Leaves[1]
	on := func(n int64, may bool, publications ...string) *script {
		return &script{tables: map[string][]row{l.DropStale(leaf): {{"email", int16(1), int16(0), int16(9), int64(-1), int64(2)}, {"sms", int16(1), int16(0), int16(9), int64(4), int64(1)}}}, answers: map[string][]any{l.StaleLedger(leaf): {n}, l.MayDropStale(leaf): {may, publications, []string(nil)}}}
	}

	tx := on(3, true)
	asked := -1
	o := &OneShot{layout: l, Alone: true, StillAlone: func(context.Context, pgx.Tx) error { asked = len(tx.sent); return nil }}
	dropped, by, err := o.dropStale(t.Context(), tx, leaf)
	require.NoError(t, err)
	require.Equal(t, 3, dropped)
	require.Equal(t, byBucket{{Slot: 7, Queue: "email", Priority: 1}: {9: -1}, {Slot: 7, Queue: "sms", Priority: 1}: {9: 4}}, by)
	require.Zero(t, asked, "before the first statement")
	require.Equal(t, []string{l.LockLeaf(leaf), l.StaleLedger(leaf), l.MayDropStale(leaf), l.DropStale(leaf)}, tx.sent)

	for name, tx := range map[string]*script{"none are there": on(0, true), "the role may not": on(3, false), "nobody may": on(3, true, "theirs")} {
		o.StillAlone = nil
		dropped, _, err = o.dropStale(t.Context(), tx, leaf)
		require.NoError(t, err, name)
		require.Zero(t, dropped, name)
		require.NotContains(t, tx.sent, l.DropStale(leaf), name)
	}

	tx = on(3, true)
	o.StillAlone = func(context.Context, pgx.Tx) error { return errGone }
	_, _, err = o.dropStale(t.Context(), tx, leaf)
	require.ErrorIs(t, err, errGone)
	require.Empty(t, tx.sent, "somebody may follow")

	tx, o.StillAlone = on(3, true), nil
	tx.refused = &pgconn.PgError{Code: "55000", Message: "does not have a replica identity"}
	_, _, err = o.dropStale(t.Context(), tx, leaf)
	refusal, ok := errors.AsType[*pg.Refusal](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, "run: ALTER TABLE awa.deltas_7 REPLICA IDENTITY FULL; then run it again", refusal.Remedy, "published since it was looked at")

	_, err = stale(t.Context(), &script{answers: map[string][]any{l.StaleLedger(leaf): {errGone}}}, l, leaf)
	require.ErrorIs(t, err, errGone)
	require.ErrorContains(t, err, "ledger of ring slot 7")
}

func TestAStaleLedgerIsNamed(t *testing.T) {
	u := &StaleLedgers{Units: 1, Slot: 7, Changes: 3, Ledger: "awa.deltas_7"}
	require.Equal(t, "the ledger of ring slot 7 (awa.deltas_7) has 3 changes of another generation, which awa's next fold or prune would drop", u.String())
	u.Units = 4
	require.Equal(t, "the ledger of ring slot 7 (awa.deltas_7) and 3 more have 3 changes of another generation, which awa's next fold or prune would drop", u.String())
}

// All that a role may not mend is in one statement, and what it may is not; the one that is named is one that it may not.
func TestStaleLedgersAreFound(t *testing.T) {
	l := layoutOf("ledger")
	publications, mends := make([][]string, 2), make([][]string, 2)
	in := func(n []int64, may []bool) *script {
		answers := map[string][]any{`select current_user::text`: {"operator"}}
		for i, leaf := range l.Leaves {
			answers[l.StaleLedger(leaf)], answers[l.MayDropStale(leaf)] = []any{n[i]}, []any{may[i], publications[i], mends[i]}
		}
		return &script{answers: answers}
	}
	require.Len(t, l.Leaves, 2)
	first, second := l.LedgerOf(l.Leaves[0]), l.LedgerOf(l.Leaves[1])
	for name, c := range map[string]struct {
		n    []int64
		may  []bool
		want *StaleLedgers
	}{
		"none":           {[]int64{0, 0}, []bool{false, false}, nil},
		"both":           {[]int64{3, 4}, []bool{false, false}, &StaleLedgers{Units: 2, Changes: 7, Slot: l.Leaves[0].Slot, Ledger: first, Role: "operator", Denied: []string{first, second}}},
		"the second one": {[]int64{3, 4}, []bool{true, false}, &StaleLedgers{Units: 2, Changes: 7, Slot: l.Leaves[1].Slot, Ledger: second, Role: "operator", Denied: []string{second}}},
		"neither":        {[]int64{3, 4}, []bool{true, true}, &StaleLedgers{Units: 2, Changes: 7, Slot: l.Leaves[0].Slot, Ledger: first, Role: "operator"}},
	} {
		got, err := StaleNow(t.Context(), in(c.n, c.may), l)
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
	}
	publications[1], mends[1] = []string{"theirs"}, []string{"ALTER a"}
	publications[0], mends[0] = []string{"all", "theirs"}, []string{"ALTER a", "ALTER b"}
	got, err := StaleNow(t.Context(), in([]int64{3, 4}, []bool{false, true}), l)
	require.NoError(t, err)
	require.Equal(t, got.String()+"; publication all, theirs publishes deletes, and the server refuses a DELETE on a table that has no replica identity; "+
		`finish can move them to the counters if you run: ALTER a; ALTER b; GRANT DELETE ON awa.deltas_0 TO "operator"`, got.Barred("finish"))
	got, err = StaleNow(t.Context(), in([]int64{0, 4}, []bool{false, true}), l)
	require.NoError(t, err)
	require.False(t, got.May(), "the right to is not all it takes")
	for _, lost := range []string{l.StaleLedger(l.Leaves[0]), l.MayDropStale(l.Leaves[1]), `select current_user::text`} {
		q := in([]int64{3, 4}, []bool{true, true})
		q.answers[lost] = slices.Repeat([]any{errGone}, len(q.answers[lost]))
		_, err := StaleNow(t.Context(), q, l)
		require.ErrorIs(t, err, errGone)
	}
}

func TestResultsAddUp(t *testing.T) {
	g := counter.Group{Slot: 7, Queue: "email"}
	var r Result
	for range 2 {
		r.add(Result{Groups: 2, Rows: 30, Corrected: 1, Uneven: []Uneven{{g, 4}}, Dropped: 5, Drifts: []Drift{{Group: g, Rows: 9, Counter: 11}}, Locked: []counter.Group{g}})
	}
	require.Equal(t, Result{
		Groups: 4, Rows: 60, Corrected: 2, Uneven: []Uneven{{g, 4}, {g, 4}}, Dropped: 10,
		Drifts: []Drift{{g, 9, 11}, {g, 9, 11}}, Locked: []counter.Group{g, g},
	}, r)
	require.EqualValues(t, -2, r.Drifts[0].Off())
	require.Equal(t, 8, r.UnevenRows())
}

// Which counter rows were wrong is told apart from those that are because changes of another generation have just left the ledger.
func TestUneven(t *testing.T) {
	g := counter.Group{Slot: 7, Queue: "email"}
	for name, c := range map[string]struct {
		dropped map[int16]int64
		buckets []int16
		off     []int64
		want    int
	}{
		"nothing":               {},
		"an exchange":           {nil, []int16{3, 9}, []int64{1, -1}, 2},
		"dropped":               {map[int16]int64{3: 2}, []int16{3}, []int64{2}, 0},
		"dropped, and exchange": {map[int16]int64{3: 2}, []int16{3, 9}, []int64{3, -1}, 2},
		"right without them":    {map[int16]int64{3: 2, 9: -2}, nil, nil, 2},
		"they come to nothing":  {map[int16]int64{3: 0}, nil, nil, 0},
	} {
		require.Equal(t, c.want, byBucket{g: c.dropped}.uneven(g, c.buckets, c.off), name)
	}
	require.Zero(t, byBucket(nil).uneven(g, nil, nil))
}
