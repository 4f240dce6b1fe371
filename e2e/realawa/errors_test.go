package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Readers of the table are told which kind of errors rose most, and which are new.
func TestRisen(t *testing.T) {
	run := func(plan, locks, fresh int) *result {
		r := &result{Errors: map[string]int{"cached plan": plan, "lock timeout": locks}}
		if fresh > 0 {
			r.Errors["new kind"] = fresh
		}
		r.JobsOld.Made = map[string]int{"handled": 1000}
		return r
	}
	cells := func(fresh int) []cell {
		return []cell{{Control: run(10, 2, 0), With: run(14, 9, fresh)}, {Control: run(10, 2, 0), With: run(30, 0, 0)}, {Control: run(10, 2, 0), With: run(12, 1, 0)}}
	}
	kept := cells(0)
	require.Equal(t, "Of the kinds with 20 cases or more in either half, `cached plan` rose most, by 40 %. No kind came with awa-counterd only.", compare(kept, kept).String())
	require.Empty(t, beyond(kept, kept))
	require.Contains(t, compare(cells(1), kept).String(), "With awa-counterd only came: new kind (1).")
	require.Len(t, beyond(cells(1), kept), 1)
	fresh, elsewhere := cells(1), []cell{{Control: run(0, 0, 1), With: run(0, 0, 0)}}
	require.Contains(t, compare(fresh, append(elsewhere, fresh...)).String(), "No kind came with awa-counterd only. In these runs with it only, and elsewhere without it as well: new kind (1).")
	require.Empty(t, beyond(fresh, append(elsewhere, fresh...)))
	delete(elsewhere[0].Control.Errors, "new kind")
	elsewhere[0].Control.Errors["new: a kind"], fresh[0].With.Errors["old: a kind"] = 1, 1
	delete(fresh[0].With.Errors, "new kind")
	require.Len(t, beyond(fresh, append(elsewhere, fresh...)), 1, "of the others")
	elsewhere[0].Control.Errors["old: a kind"] = 1
	require.Empty(t, beyond(fresh, append(elsewhere, fresh...)))
	fresh[0].With.Errors["old: a kind"] = 25
	require.Len(t, beyond(fresh, append(elsewhere, fresh...)), 1, "too many for chance")
	fresh[1].Control.Errors["old: a kind"] = 1
	require.Len(t, beyond(fresh, append(elsewhere, fresh...)), 1, "medians of 0")
	kept[2].With.Errors["old: "+killedWorker] = 30
	require.Empty(t, beyond(kept, kept), "the test's own doing")
	kept[2].With = run(15, 1, 0)
	require.Len(t, beyond(kept, kept), 1, "up by half")
	kept[2].With = run(12, 1, 0)
	for i := range kept {
		kept[i].Control.Watch.Pending, kept[i].With.Watch.Pending = 100, 120
		kept[i].Control.Prunes.Looks, kept[i].With.Prunes.Looks = 100, 100
		kept[i].Control.Prunes.Horizon, kept[i].With.Prunes.Horizon = 10, 12
	}
	require.Empty(t, beyond(kept, kept))
	for i := range kept {
		kept[i].With.Watch.Pending, kept[i].With.Prunes.Horizon = 121, 13
	}
	require.Len(t, beyond(kept, kept), 2)
	for i := range kept { // the test's own sessions had a snapshot in most looks: without them there are three times as many
		kept[i].With.Watch.Pending = 120
		kept[i].Control.Prunes.Others, kept[i].With.Prunes.Others = new(int), new(int)
		kept[i].Control.Prunes.Horizon, kept[i].With.Prunes.Horizon = 90, 92
		*kept[i].Control.Prunes.Others, *kept[i].With.Prunes.Others = 1, 3
	}
	require.Len(t, beyond(kept, kept), 1)
}

// A handover's kind of errors is judged by all handovers of the same product.
func TestPrunesOfNewLeaders(t *testing.T) {
	trial := func(commit string, failed, made, failedWith, madeWith int) cell {
		of := func(failed, made int) *result {
			return &result{Commit: commit, Prunes: prunes{FailedNew: failed}, Stream: books{NewPrunes: int64(made)}}
		}
		return cell{Control: of(failed, made), With: of(failedWith, madeWith)}
	}
	runs := []cell{trial("a", 3, 27, 6, 24), trial("a", 3, 27, 6, 24), trial("a", 3, 27, 6, 24)}
	require.Equal(t, []string{"of the prunes that new leaders tried 10.0 % failed without awa-counterd, 20.0 % with it"}, beyond(runs, runs))
	require.Empty(t, beyond(runs, append(runs, trial("a", 30, 270, 31, 269))), "what others of this product say counts as well")
	require.Len(t, beyond(runs, append(runs, trial("b", 30, 270, 31, 269))), 1)
	few := []cell{trial("a", 3, 27, 6, 24)}
	require.Empty(t, beyond(few, few), "too few to tell")
}

// What is kept of paired runs is judged as a whole: of one product, as long as they are today, and complete.
func TestPairedRunsAreOfOneProduct(t *testing.T) {
	s := store(filepath.Join(t.TempDir(), "kept"))
	keep := func(seed uint64, commit string, mix time.Duration, at int64) {
		p := basic("errors", "0.6.0b1", "0.6.9", "old", turns, seed)
		p.Mix = mix
		half := func() *result { return &result{Commit: commit, At: time.Unix(at, 0), Daemon: &daemonResult{}} }
		require.NoError(t, s.save(p.name(), &cell{Plan: p, Control: half(), With: half()}))
	}
	keep(1, "b", pairedMix, 10)
	keep(2, "b", pairedMix, 11)
	keep(3, "a", pairedMix, 5)
	keep(4, "b", pairedMix/2, 12)
	require.ErrorContains(t, s.errorsKept([]string{turns}), "only 2 of 3 paired runs of one commit are kept")
	keep(3, "b", pairedMix, 13)
	require.NoError(t, s.errorsKept([]string{turns}))
	require.ErrorContains(t, s.errorsKept(nil), "a ring that stands: only 0 of 3")
}

// Of another product, or of another trial, nothing that depends on it is kept.
func TestKeptHalves(t *testing.T) {
	pair, run := basic("pairs", "0.6.0b1", "0.6.9", "old", turns, 1), basic("errors", "0.6.0b1", "0.6.9", "old", turns, 1)
	kept := func(p plan, asked plan, commit string) (control, with bool) {
		c := cell{Plan: p, Control: &result{}, With: &result{Commit: "a"}}
		c.keeps(&asked, commit)
		require.Equal(t, asked, c.Plan)
		return c.Control != nil, c.With != nil
	}
	for _, c := range []struct {
		kept, asked   plan
		commit        string
		control, with bool
	}{{pair, pair, "a", true, true}, {pair, pair, "b", true, false}, {run, run, "a", true, true}, {run, run, "b", false, false}, {pair, run, "a", false, false}} {
		control, with := kept(c.kept, c.asked, c.commit)
		require.Equal(t, []bool{c.control, c.with}, []bool{control, with})
	}
}
