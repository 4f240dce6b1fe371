package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/reconcile"
)

// What reconcile says is to be done next hangs on what it was asked and what it found.
func TestReconcileSaysWhatIsNext(t *testing.T) {
	marked, unmarked := &awa.Layout{HasMarker: true}, &awa.Layout{}
	for _, c := range []struct {
		r    reconcileReport
		l    *awa.Layout
		want string
	}{
		{reconcileReport{Mode: "trust", MarkerSet: true}, marked, "nothing to do: the counters are right, and readers use them"},
		{reconcileReport{Mode: "trust", MarkerSet: true, remains: true}, marked, "readers use them; what a daemon has left is still here"},
		{reconcileReport{Mode: "trust"}, marked, "see the reason below"},
		{reconcileReport{Mode: "trust", Left: 1}, marked, "old binaries still write"},
		{reconcileReport{Mode: "check", Wrong: 1}, marked, "run awa-counterd reconcile to correct this"},
		{reconcileReport{Mode: "check"}, marked, "reconcile --trust lets readers use them"},
		{reconcileReport{Mode: "correct", Wrong: 5}, marked, "reconcile --trust lets readers use them"},
		{reconcileReport{Mode: "correct", Wrong: 5, Left: 1}, marked, "awa-counterd reconcile again"},
		{reconcileReport{Mode: "check", marked: true}, marked, "the marker is set: readers use them"},
		{reconcileReport{Mode: "correct", Wrong: 5, marked: true}, marked, "the marker is set: readers use them"},
		{reconcileReport{Mode: "check", Wrong: 1, marked: true}, marked, "run awa-counterd reconcile to correct this"},
		{reconcileReport{Mode: "trust", marked: true}, marked, "see the reason below"},
		{reconcileReport{Mode: "correct"}, unmarked, "this awa has no trust marker"},
	} {
		require.Contains(t, c.r.next(c.l), c.want, "%+v", c.r)
	}
	require.Equal(t, "check", (&reconcileCmd{Check: true}).mode())
	require.Equal(t, "trust", (&reconcileCmd{Trust: true}).mode())
	require.Equal(t, "correct", (&reconcileCmd{}).mode())
}

// Of every old version that is live one runtime is named, in a fleet of any size.
func TestOldRuntimesAreNamedByVersion(t *testing.T) {
	all := []awa.Runtime{{ID: "a", Version: "0.6.0-alpha.1", Old: true}, {ID: "n", Version: "0.6.1"}}
	require.Equal(t, []string{"a (0.6.0-alpha.1)"}, oldRuntimes(all))
	for i := range 200 {
		all = append(all, awa.Runtime{ID: fmt.Sprintf("b%d", i), Version: "0.6.0-beta.1", Old: true})
	}
	require.Equal(t, []string{"a (0.6.0-alpha.1)", "b0 and 199 more (0.6.0-beta.1)"}, oldRuntimes(all))
	for i := range 6 {
		all = append(all, awa.Runtime{ID: "c", Version: fmt.Sprintf("later %d", i), Old: true})
	}
	require.Equal(t, []string{
		"a (0.6.0-alpha.1)", "b0 and 199 more (0.6.0-beta.1)", "c (later 0)", "c (later 1)", "c (later 2)", "and 3 of other versions",
	}, oldRuntimes(all))
}

// Every wrong group counts for its queue; only so many are named.
func TestReportSumsByQueue(t *testing.T) {
	var res reconcile.Result
	for i := range int64(12) {
		res.Drifts = append(res.Drifts, reconcile.Drift{Group: counter.Group{Queue: "b"}, Rows: 10, Counter: 10 - i})
	}
	res.Drifts = append(res.Drifts, reconcile.Drift{Group: counter.Group{Queue: "a", Slot: 9}, Counter: 3})
	var r reconcileReport
	r.fill(res)
	require.Equal(t, []queueDrift{{"a", 1, -3}, {"b", 12, 66}}, r.Queues)
	require.Equal(t, 13, r.Wrong)
	require.Len(t, r.Worst, worstGroups)
	require.Equal(t, []string{"a", "b"}, queuesOf(res.Drifts))
	r.fill(reconcile.Result{})
	require.NotNil(t, r.Queues, "an empty list in JSON, not null")
	require.NotNil(t, r.Worst)
}

// A ledger that was left as it is says who may mend it.
func TestUntouchedLedger(t *testing.T) {
	c, u := &reconcileCmd{}, &reconcile.StaleLedgers{Ledger: "awa.deltas_3", Role: `o"neil`, Denied: []string{"awa.deltas_3", "awa.deltas_4"}}
	require.Contains(t, c.staleLedgerNote(u, false), "teardown removes it")
	require.Contains(t, c.staleLedgerNote(u, true), `if you run: GRANT DELETE ON awa.deltas_3, awa.deltas_4 TO "o""neil"`)
	u.Denied = nil
	require.Contains(t, c.staleLedgerNote(u, true), "run it again")
}

func TestDistrustSaysWhatItDid(t *testing.T) {
	for want, r := range map[string]distrustReport{
		"the marker was not set; readers scan\n":                           {},
		"the marker was cleared; readers scan\n":                           {Cleared: true},
		"the marker was left as it is: awa-counterd is not installed here": {Finished: true},
		"a daemon is running (db1 pid 7): it sets the m":                   {Cleared: true, Leader: "db1 pid 7"},
	} {
		var b bytes.Buffer
		require.NoError(t, (&distrustCmd{}).print(streams{out: &b}, r))
		require.Contains(t, b.String(), want)
	}
	var b bytes.Buffer
	require.NoError(t, (&distrustCmd{}).print(streams{out: &b}, distrustReport{Finished: true, Leader: "db1 pid 7"}))
	require.NotContains(t, b.String(), "a daemon is running", "it leaves")
	b.Reset()
	require.NoError(t, (&distrustCmd{JSON: true}).print(streams{out: &b}, distrustReport{Schema: "awa"}))
	require.JSONEq(t, `{"schema":"awa","cleared":false}`, b.String())
}

func TestRetainedWALIsASize(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "16GiB": 16 << 30, "512MB": 512e6, "64MiB": 64 << 20, "1 TiB": 1 << 40} {
		got, err := (&runCmd{MaxRetainedWAL: text}).maxRetained()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "much", "-1GB", "63MiB", "1", "9EiB"} {
		_, err := (&runCmd{MaxRetainedWAL: text}).maxRetained()
		require.ErrorContains(t, err, "--max-retained-wal", text)
	}
}

func TestSlotNames(t *testing.T) {
	for _, name := range []string{"", "a", "awa_counterd_1", strings.Repeat("x", 63)} {
		require.NoError(t, checkSlotName(name))
	}
	for _, name := range []string{"A", "a-b", "a'b", "a b", strings.Repeat("x", 64), "ä"} {
		require.ErrorContains(t, checkSlotName(name), "--slot", name)
	}
}

// A value that would break the line, or hide where it ends, is quoted.
func TestConsoleQuotes(t *testing.T) {
	var b bytes.Buffer
	log, err := newLogger("console", "debug", &b)
	require.NoError(t, err)
	log.With(zap.String("schema", "awa")).Debug("x", zap.String("a", ""), zap.String("b", "c=d"), zap.String("e", "f\ng"), zap.Duration("h", time.Second), zap.Error(errors.New("no way")))
	require.True(t, strings.HasSuffix(b.String(), ` DEBUG x schema=awa a="" b="c=d" e="f\ng" h=1s error="no way"`+"\n"), b.String())
}

// What is no terminal gets JSON, one object a line.
func TestLogIsJSONElsewhere(t *testing.T) {
	var b bytes.Buffer
	log, err := newLogger("auto", "warn", &b)
	require.NoError(t, err)
	log.Info("not this")
	log.Warn("line\nbreak", zap.Duration("in", 1500*time.Millisecond))
	require.Regexp(t, `^\{"level":"warn","ts":"[^"]+","msg":"line\\nbreak","in":"1\.5s"\}\n$`, b.String())
	_, err = newLogger("auto", "loud", &b)
	require.ErrorContains(t, err, "loud")
}

// A state that does not come is a refusal after a while; what goes wrong meanwhile is said at once.
func TestPoll(t *testing.T) {
	never := func() (bool, error) { return false, nil }
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var refusal *pg.Refusal
		require.ErrorAs(t, poll(t.Context(), answerWithin, never, hangs("one still has it after %s")), &refusal)
		require.Equal(t, "not finished: one still has it after 20s", refusal.Problem)
		require.Equal(t, answerWithin, time.Since(began))

		began, n := time.Now(), 0
		require.NoError(t, poll(t.Context(), answerWithin, func() (bool, error) { n++; return n == 4, nil }, hangs("%s")))
		require.Equal(t, 600*time.Millisecond, time.Since(began))

		broken := fmt.Errorf("no more")
		require.Same(t, broken, poll(t.Context(), answerWithin, func() (bool, error) { return true, broken }, hangs("%s")))

		locked := &pgconn.PgError{Code: "55P03"}
		began, n = time.Now(), 0
		held := func() (bool, error) {
			if n++; time.Since(began) < answerWithin+5*time.Second {
				return false, locked
			}
			return true, nil
		}
		require.NoError(t, poll(t.Context(), answerWithin, held, hangs("%s")), "a lock passes")
		began = time.Now()
		require.ErrorIs(t, poll(t.Context(), answerWithin, func() (bool, error) { return false, locked }, hangs("%s")), error(locked))
		require.Equal(t, atWork, time.Since(began))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, poll(ctx, answerWithin, never, hangs("%s")), context.DeadlineExceeded)
	})
}
