package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dustin/go-humanize"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/process"
)

const sample = `2026-11-24 15:50:42.224 UTC [11443] old-first|ERROR:  column "available_count" does not exist at character 34
2026-11-24 15:50:42.224 UTC [11443] old-first|STATEMENT:  
	            SELECT COALESCE(sum(available_count), 0)::bigint
	            FROM awa.queue_lanes
2026-11-24 15:50:42.300 UTC [77] new-first|ERROR:  canceling statement due to lock timeout
2026-11-24 15:50:42.300 UTC [77] new-first|STATEMENT:  LOCK TABLE awa.ready_entries_0, awa.done_entries_0 IN ACCESS EXCLUSIVE MODE
2026-11-24 15:50:42.400 UTC [78] new-first|5/12|ERROR:  canceling statement due to lock timeout
2026-11-24 15:50:42.400 UTC [78] new-first|5/12|STATEMENT:  LOCK TABLE awa.lease_claims_3, awa.lease_claim_closures_3 IN ACCESS EXCLUSIVE MODE
2026-11-24 15:50:42.500 UTC [79] old-first|ERROR:  duplicate key value violates unique constraint "lease_claims_6_pkey"
2026-11-24 15:50:42.500 UTC [79] old-first|DETAIL:  Key (claim_slot)=(6) already exists.
2026-11-24 15:50:42.600 UTC [80] migrator||ERROR:  deadlock detected
2026-11-24 15:50:42.650 UTC [82] old-first|3/9|ERROR:  canceling statement due to lock timeout
2026-11-24 15:50:42.650 UTC [82] old-first|3/9|STATEMENT:  TRUNCATE TABLE awa.leases_2
2026-11-24 15:50:42.700 UTC [81] new-first|FATAL:  terminating connection due to administrator command
`

func TestReadLog(t *testing.T) {
	log := readLog(sample)
	require.Len(t, log, 7)
	require.Equal(t, `old: column "available_count" does not exist`, log[0].kind())
	require.Contains(t, log[0].statement, "FROM awa.queue_lanes")
	require.False(t, log[0].prune())
	require.True(t, log[1].prune())
	require.Equal(t, "77", log[1].pid)
	require.False(t, log[2].prune(), "another ring")
	require.Equal(t, "new: canceling statement due to lock timeout (lease_claims)", log[2].kind())
	require.Equal(t, `old: duplicate key value violates unique constraint "lease_claims_N_pkey"`, log[3].kind())
	require.False(t, log[4].ofWorker())
	require.Equal(t, "old: canceling statement due to lock timeout (leases)", log[5].kind())
	require.True(t, log[6].ours())
}

func TestStoreKeepsWholeCells(t *testing.T) {
	s := store(t.TempDir() + "/results")
	p := basic("pairs", "0.6.0b1", "0.6.9", "old", turns, 1)
	require.NoError(t, s.save(p.name(), &cell{Plan: p, Control: &result{Naive: 7}}))
	var c cell
	require.NoError(t, s.load(p.name(), &c))
	require.Equal(t, p, c.Plan)
	require.EqualValues(t, 7, c.Control.Naive)
	require.NoError(t, s.save(migrateName, &attempts{Control: []migration{{Attempts: 1}}}))
	cells, err := s.all()
	require.NoError(t, err)
	require.Empty(t, cells, "half a cell is no cell")
	require.NoError(t, s.load("nothing of that name", &c))
	require.NoError(t, os.WriteFile(s.file("broken"), []byte("{"), 0o600))
	require.Error(t, s.load("broken", &c))
}

func TestPlans(t *testing.T) {
	all, err := selection{part: "pairs", seed: 1}.plans()
	require.NoError(t, err)
	require.Len(t, all, 32)
	some, err := selection{part: "pairs", old: []string{"0.6.0b1"}, rings: []string{stands}, seed: 1}.plans()
	require.NoError(t, err)
	require.Len(t, some, 8)
	paired, err := selection{part: "errors", seed: 5}.plans()
	require.NoError(t, err)
	require.Len(t, paired, 2*pairedRuns)
	require.NotEqual(t, paired[0].name(), paired[1].name())
	require.NotEqual(t, paired[0].withFirst(), paired[1].withFirst())
	require.False(t, paired[0].logsStatements())
	require.False(t, all[0].withFirst())
	require.False(t, all[1].withFirst())
	require.True(t, all[0].logsStatements())
	_, err = selection{part: "nothing"}.plans()
	require.ErrorContains(t, err, "no part is called nothing")
}

func TestWeigh(t *testing.T) {
	p := basic("pairs", "0.6.0b1", "0.6.9", "old", turns, 1)
	control := result{Stream: books{RowsUncounted: 2500}, LedByOld: 1}
	control.weigh(&p, nil)
	require.Equal(t, []string{"the control was never wrong for long: this cell proves nothing"}, control.Problems)
	for text, problems := range map[string]int{"awa migrate fails: cannot change return type of existing function": 0, "awa migrate fails: canceling statement due to lock timeout": 1} {
		q := basic("pairs", "0.6.0a9", "0.6.0b2", "old", turns, 1)
		no := result{Impossible: text}
		no.weigh(&q, nil)
		require.Len(t, no.Problems, problems, text)
		no.weigh(&p, &control)
		require.Len(t, no.Problems, 1, "of other releases that is not known")
	}
	good := result{Stream: books{RowsUncounted: 2500}, LedByOld: 1, MixLaps: 1.5, Laps: 2, TwoLaps: comparison{Set: true}, Daemon: &daemonResult{Kills: 10, Named: []string{"email"}}}
	good.weigh(&p, &control)
	require.Empty(t, good.Problems)
	for leads, byOld := range map[string]float64{"old": 0.5, "new": 0.5, moves: 0.95} {
		q := p
		q.Leads, good.LedByOld = leads, byOld
		good.weigh(&q, &control)
		require.Len(t, good.Problems, 1, "the lead was not where the cell says")
	}
	good.LedByOld, good.MixLaps = 1, 0.5
	good.weigh(&p, &control)
	require.Len(t, good.Problems, 1, "its ring stood")
	good.MixLaps = 1.5
	q := p
	q.Jobs = 100
	good.JobsOld.Made, good.JobsNew.Made = map[string]int{"produced": 60}, map[string]int{"produced": 39}
	good.weigh(&q, &control)
	require.Equal(t, []string{"only 99 jobs were made"}, good.Problems)
	good.Watch.Judged = new(int)
	good.weigh(&p, &control)
	require.Len(t, good.Problems, 1, "who never sets the marker never lies")
	bad := result{
		LedByOld: 1, MixLaps: 1, Stopped: comparison{Apart: 3}, TwoLaps: comparison{Wrong: 1}, Watch: verdict{Dishonest: 2},
		Daemon: &daemonResult{Finish: 4, Left: []string{"slot x"}, Prunes: 1},
	}
	bad.weigh(&p, &control)
	require.Len(t, bad.Problems, 10)
	bad.Folds = new(int64)
	bad.weigh(&p, &control)
	require.Len(t, bad.Problems, 11, "what a fold would throw away is still there")
	p.Ring, bad.MixLaps = stands, 0
	bad.weigh(&p, &control)
	require.Len(t, bad.Problems, 9, "it makes no lap, and where it stands awa may fold nothing")
	control.Folds = new(int64)
	*control.Folds = 1
	bad.weigh(&p, &control)
	require.Len(t, bad.Problems, 10, "without the daemon it did")
	bad.Actions = map[string]int{"to_dlq": 1, "from_dlq": 1, "delete_rows": 3, ofBefore: 2}
	bad.weigh(&p, &control)
	require.Len(t, bad.Problems, 10, "nor did they without the daemon")
	control.Actions = map[string]int{"retry_one": 4}
	bad.weigh(&p, &control)
	require.Contains(t, bad.Problems, "operators did nothing of kind retry_one after finish, and without awa-counterd they did")
	asked := good
	asked.LedByOld, asked.Watch.Judged, asked.Daemon = 1, nil, &daemonResult{Kills: 10, Asked: []answer{}}
	p.Ring = turns
	asked.weigh(&p, &control)
	require.Equal(t, advised([]answer{}), asked.Problems, "the older results' names of queues are not enough")
}

// What the daemon says against its own books, or against a prune of awa's, is heard, in the words that it has for that.
func TestHear(t *testing.T) {
	d := &daemon{errs: make(map[string]int), vouched: make(chan struct{}, 1)}
	core, err := os.ReadFile("../../applier/core.go")
	require.NoError(t, err)
	for _, text := range append(booksWrong(), pruneWrong) {
		require.Contains(t, string(core), text)
		d.hear(text, process.Entry{"level": "warn", "msg": text + "; and so on"})
	}
	d.hear("", process.Entry{"msg": "leading"})
	kills, audits, prunes, _, _ := d.said()
	require.Zero(t, kills)
	require.Equal(t, 3, audits)
	require.Equal(t, 1, prunes)
}

// Under a load at which each call deadlocks, or none, nothing could be worse with us.
func TestVerdictOnMigrations(t *testing.T) {
	of := func(bad, n int) (all []migration) {
		for i := range n {
			m := migration{Attempts: 1, Fleet: live}
			if i < bad {
				m.Attempts, m.Deadlocks = 2, 1
			}
			all = append(all, m)
		}
		return all
	}
	require.NoError(t, (&attempts{Control: of(10, 20), With: of(11, 20)}).verdict())
	require.ErrorContains(t, (&attempts{Control: of(20, 20), With: of(20, 20)}).verdict(), "nothing is proved")
	require.ErrorContains(t, (&attempts{Control: of(0, 20), With: of(0, 20)}).verdict(), "nothing is proved")
	require.ErrorContains(t, (&attempts{Control: of(8, 20), With: of(16, 20)}).verdict(), "by chance in")
	require.InDelta(t, 0.5, byChance(0, 1, 1, 1), 1e-9)
	require.InDelta(t, 1, byChance(3, 5, 0, 5), 1e-9)

	few := attempts{Control: of(2, 4), With: of(2, 4)}
	require.NoError(t, few.verdict(), "too few to tell")
	few.With[1].Ours = []string{"awa-counterd control: Process 7 waits"}
	require.ErrorContains(t, few.verdict(), "a session of awa-counterd was in 1 deadlocks")
	require.Contains(t, few.lines()[2], "| without awa-counterd | 4 | 2 | 2 of 6 | 4 |")
	require.Contains(t, few.lines()[3], "| **1** |")
}

func TestDocument(t *testing.T) {
	p := basic("pairs", "0.6.0b1", "0.6.9", "old", turns, 1)
	half := func(wrong int) *result {
		return &result{Commit: "abc", Errors: map[string]int{"old: deadlock detected": 3}, Stopped: comparison{Groups: 40, Wrong: wrong, Jobs: int64(wrong), Apart: int64(wrong)}, Daemon: &daemonResult{Kills: 10}}
	}
	before := former("# With awa's own releases\n" + "\n## Not right\n\n- long-a-b-moves-turns-1: a prune failed (`again`)\n- pairs-a-b-old-turns-1: gone by now (`again`)\n" + "\n## Longer\n\n| old | new | jobs |\n|---|---|---|\n| a | b | 7 |\n\n" +
		"## Errors, in paired runs\n\nnine\n\n## Migrations beside live workers\n\ntwenty\n")
	text := document([]cell{{Plan: p, Control: half(12), With: half(0)}}, &attempts{}, before)
	require.Contains(t, text, "| 0.6.0b1 | 0.6.9 | old | turns |")
	require.Contains(t, text, "12 of 40 by 12, 0")
	require.Contains(t, text, "|\n| any | 0.7 | either | turns | *imitated*", "a row of the table")
	require.Contains(t, text, "by 12 to 12 jobs without awa-counterd, and not at all with it")
	require.Contains(t, text, "|\n| a | b | 7 |\n", "what this machine has not tried")
	require.Contains(t, text, "\n## Not right\n\n- long-a-b-moves-turns-1: a prune failed (`again`)\n", "what was against it")
	require.NotContains(t, text, "gone by now")
	require.Contains(t, text, "\n## Errors, in paired runs\n\nnine\n")
	require.Contains(t, text, "\n## Migrations beside live workers\n\ntwenty\n")
	require.Equal(t, text, document([]cell{{Plan: p, Control: half(12), With: half(0)}}, &attempts{}, former(text)), "written again")
}

// The README's one line on what a simple consumer would come to is the report's, whenever that was made last.
func TestReadmeSaysWhatTheReportSays(t *testing.T) {
	report, err := os.ReadFile("../../docs/reports/compatibility.md")
	require.NoError(t, err)
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	var alone []int64
	for _, row := range former(report).rows("What +1 and −1 would have come to") {
		n, err := strconv.ParseInt(strings.ReplaceAll(strings.TrimSpace(strings.Split(row, "|")[4]), ",", ""), 10, 64)
		require.NoError(t, err, row)
		alone = append(alone, n)
	}
	require.NotEmpty(t, alone)
	rows := basic("pairs", "0.6.0b1", "0.6.9", "old", turns, 1).Rows // that a cell without is not right
	want := fmt.Sprintf("wrong by %s to %s jobs, in the worst upgrade of each pair, when old binaries had written %s rows or more", humanize.Comma(slices.Min(alone)), humanize.Comma(slices.Max(alone)), humanize.Comma(rows))
	require.Contains(t, strings.Join(strings.Fields(string(readme)), " "), want)
}
