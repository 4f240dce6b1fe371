package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// writeReport makes the document from all cells that are kept.
func writeReport(s store, file string) error {
	cells, err := s.all()
	if err != nil {
		return err
	}
	var tries attempts
	if err := s.load(migrateName, &tries); err != nil {
		return err
	}
	before, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(file, []byte(document(cells, &tries, former(before))), 0o644)
}

// former is the document as it was. What this machine has not tried stays as it is there: results are kept nowhere else.
type former string

// section is one with its title; "" when there is none.
func (f former) section(title string) string {
	_, rest, ok := strings.Cut(string(f), "\n## "+title+"\n")
	if !ok {
		return ""
	}
	text, _, _ := strings.Cut(rest, "\n## ")
	return "\n## " + title + "\n" + strings.TrimRight(text, "\n")
}

// rows are the rows of a section's table.
func (f former) rows(title string) (out []string) {
	_, table, _ := strings.Cut(f.section(title), "|---|")
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, "| ") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

// among puts fresh rows in the place of those that begin with the same two columns.
func among(old, fresh []string) []string {
	key := func(row string) string { return strings.Join(strings.SplitN(row, "|", 4)[:3], "|") }
	for _, row := range fresh {
		if i := slices.IndexFunc(old, func(o string) bool { return key(o) == key(row) }); i >= 0 {
			old[i] = row
		} else {
			old = append(old, row)
		}
	}
	return old
}

// all loads every cell of which both halves were tried.
func (s store) all() (cells []cell, err error) {
	files, err := filepath.Glob(s.file("*"))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".json")
		if name == migrateName {
			continue
		}
		var c cell
		if err := s.load(name, &c); err != nil {
			return nil, err
		}
		if c.Control == nil || c.Plan.name() != name {
			continue
		}
		if c.Control.Impossible != "" || c.With != nil && c.With.Daemon != nil {
			c.Control.weigh(&c.Plan, nil)
			if c.With != nil {
				c.With.weigh(&c.Plan, c.Control)
			}
			cells = append(cells, c)
		}
	}
	slices.SortFunc(cells, func(a, b cell) int {
		return cmp.Or(cmp.Compare(place(oldReleases, a.Plan.Old), place(oldReleases, b.Plan.Old)),
			cmp.Compare(place(newReleases, a.Plan.New), place(newReleases, b.Plan.New)),
			strings.Compare(b.Plan.Leads, a.Plan.Leads), strings.Compare(b.Plan.Ring, a.Plan.Ring), cmp.Compare(a.Plan.Seed, b.Plan.Seed))
	})
	return cells, nil
}

func place(releases []string, release string) int {
	if i := slices.Index(releases, release); i >= 0 {
		return i
	}
	return len(releases)
}

func document(cells []cell, tries *attempts, before former) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	of := func(parts ...string) (some []cell) {
		for _, c := range cells {
			if slices.Contains(parts, c.Plan.Part) {
				some = append(some, c)
			}
		}
		return some
	}
	p("# With awa's own releases\n")
	server := "PostgreSQL"
	if len(cells) > 0 {
		server = cells[0].Control.Server
	}
	p("Made by `make e2e-awa`, %d cores, %s, %s.", runtime.NumCPU(), runtime.Version(), server)
	p("Each row is one upgrade, run twice with the same seed and schedule: without awa-counterd, and with it. An old fleet is at work;")
	p("`doctor` and `run` are started; the new release's `awa migrate` runs; new workers join the old ones, and one of each is killed;")
	p("the daemon is killed with SIGKILL again and again; the old workers leave, and all is quiet; `status`, then `finish`; the new fleet")
	p("works alone, with operators for some 15 s, and where the ring turns until it has turned twice, for %s at most. *Wrong* is what a scan finds: rows − counter − pending.\n", longestLaps)
	p("Before the migration `doctor` has to name awa's tables, and nothing else; side by side it must have nothing to name. `status` has to name queues that old")
	p("workers write, or a prune of theirs, while both are at work and when one old worker is left, and then that it is safe to finish. awa keeps the rows that its")
	p("workers have in `awa.runtime_instances` when they have gone: so that nobody has to wait until these look dead, the test makes them a minute older, unless `-patient`.\n")
	p("| column | meaning |\n|---|---|")
	p("| awa itself | errors of awa's workers per 1,000 jobs without awa-counterd, failed prunes left out: `runs` below %d, otherwise the most frequent kind |", fewErrors)
	p("| wrong | how many groups were wrong, of how many, and by how many jobs, when the old workers had left and all was quiet; `then`: once the new fleet had worked alone |")
	p("| laps | turns of the ring side by side, without awa-counterd and with it; then after `finish`, likewise. A new leader prunes away in them most of what was wrong. Where the ring is one that stands, nobody waits for them: the new fleet works some 15 s. One that is to turn may stand only where the same error of awa's workers (a duplicate key, a column or a constraint that is not there) comes without awa-counterd as well, and with it again and again, to within %s of the end of the wait. Side by side the same goes for a ring that is to turn, and has not turned once |", lately)
	p("| lying | seconds for which the marker was set although a group had been wrong for longer than %s, sampled five times a second |", bound+follow)
	p("| dishonest | samples, while the daemon was not dead or just coming back, in which the marker was set although a drift was older than that; of all samples judged, which are those with the marker set in that time |")
	p("| errors | of awa's workers per 1,000 jobs: without awa-counterd, with it; failed prunes are in the second table. With it the server logs the daemon's statements, and two cells run at once: what the daemon does to errors is measured elsewhere (Errors, in paired runs) |")
	p("| uncounted | rows of `done_entries` written beside the new schema without a ledger row, as a logical replication slot of the test shows them |")
	p("\n| old | new | leads | ring | awa itself | without: wrong, then | lying | with: wrong, then | lying | dishonest | laps | errors | kills | uncounted | made |")
	p("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
	for _, c := range of("pairs") {
		p("%s", c.row())
	}
	p("| any | 0.7 | either | turns | *imitated*: no wheel of it is published | | | | | | | | | | |")
	p("\n*Imitated*: no binary of 0.7 took part. Its tables, made from its source, are among those on which the tests' own fleet works: `TestRingTurns`,")
	p("`TestShapeChangesUnderARunningDaemon`, `TestLeastRightsWaitForSetup`, `TestNoTrustOverAStaleLedgerWhereTheRingIsElsewhere`, and the simulation.")
	readings(p, of("pairs"))
	afterFinish(p, of("pairs"))
	ghostsIn(p, of("pairs"))
	again(p, of("pairs", "pair20000", "long"))
	openTable(p, cells, before)
	prunesTable(p, of("pairs"))
	naiveTable(p, of("pairs"))
	kindsTable(p, of("pairs"))
	var longer []string
	for _, c := range of("pair20000", "long") {
		longer = append(longer, fmt.Sprintf("| %s | %s | %s | %d | %s | %s | %s | %d of %d | %s | %s |", c.Plan.Old, c.Plan.New, humanize.Comma(int64(c.With.jobs())), c.With.Daemon.Kills,
			humanize.Comma(c.With.Stream.RowsUncounted), c.Control.wrong(), c.With.wrong(), c.With.Watch.Dishonest, c.With.Watch.judged(), c.With.Took.Round(time.Second), c.made()))
	}
	if longer = among(before.rows("Longer"), longer); len(longer) > 0 {
		p("\n## Longer\n\nEvery few seconds the test takes awa's lead away from the worker that has it.\n")
		p("| old | new | jobs | kills | uncounted | without: wrong, then | with: wrong, then | dishonest samples | took | made |\n|---|---|---|---|---|---|---|---|---|---|")
		p("%s", strings.Join(longer, "\n"))
	}
	if some := of("errors"); len(some) > 0 {
		errorsTable(p, some, cells)
	} else if kept := before.section("Errors, in paired runs"); kept != "" {
		p("%s", kept)
	}
	if kept := before.section("Migrations beside live workers"); (len(tries.With) == 0 || tries.Pace == 0) && kept != "" {
		p("%s", kept)
	} else if len(tries.With) > 0 {
		p("\n## Migrations beside live workers\n\n0.6.0b1 to 0.6.9 beside two old workers that do everything %g times less often than in the table above, and write a job every %s on the\nmean: under the table's load each call deadlocks, with awa-counterd and without. It waits beside. The call is made again after a deadlock, and\nafter the third without workers. Whose sessions were in a deadlock's cycle is what the server's log says.\n", tries.Pace, time.Duration(tries.Pace*float64(calmEvery)))
		p("%s\n\nMade %s, %s.", strings.Join(tries.lines(), "\n"), tries.At.Format(time.DateOnly), tries.Commit)
	}
	return b.String()
}

// readings compares what awa tells readers while the marker is set with what it tells them otherwise.
func readings(p printer, all []cell) {
	lowest, highest, most, seen := int64(math.MaxInt64), int64(0), int64(0), false
	for _, c := range all {
		if c.With == nil {
			continue
		}
		lowest, highest = min(lowest, c.Control.Stopped.Apart), max(highest, c.Control.Stopped.Apart)
		most, seen = max(most, c.With.Stopped.Apart, c.With.TwoLaps.Apart), true
	}
	if seen {
		with := "not at all"
		if most > 0 {
			with = "by up to " + humanize.Comma(most)
		}
		p("\nawa tells a reader a queue's total by the counters while the marker is set, and by a scan otherwise. When all was quiet the two differed, over all\nqueues, by %s to %s jobs without awa-counterd, and %s with it, before `finish` and after.",
			humanize.Comma(lowest), humanize.Comma(highest), with)
	}
}

// afterFinish says what operators did with failed jobs then.
func afterFinish(p printer, all []cell) {
	jobs, cells, folded, least := make(map[string]int), 0, 0, math.MaxInt
	for _, c := range all {
		if c.With == nil || c.With.Actions == nil {
			continue
		}
		cells++
		sum(jobs, c.With.Actions)
		least = min(least, c.With.Actions[ofBefore])
		if c.With.Folds != nil && *c.With.Folds > 0 {
			folded++
		}
	}
	if cells == 0 {
		return
	}
	var did []string
	for _, what := range mostOf(jobs, len(jobs)) {
		if what != ofBefore {
			did = append(did, fmt.Sprintf("`%s` %s", what, humanize.Comma(int64(jobs[what]))))
		}
	}
	p("\nAfter `finish`, operators of the new fleet did something with jobs that had failed, before the last look: %s, in %d cells; %s of those that they\ntook one by one had failed before, in each cell %d at least. In %d of the cells awa folded its ledger after that.",
		strings.Join(did, ", "), cells, humanize.Comma(int64(jobs[ofBefore])), least, folded)
}

// again says where finish had to be run again, and why.
func again(p printer, all []cell) {
	for _, c := range all {
		if c.With != nil && c.With.Daemon != nil {
			for _, said := range c.With.Daemon.Refused {
				said, _, _ = strings.Cut(said, ";")
				p("\n`finish` had to be run again beside %s and %s, %s leads, ring %s: %s.", c.Plan.Old, c.Plan.New, c.Plan.Leads, c.Plan.Ring, said)
			}
		}
	}
}

// ghostsIn says where ghosts were laid.
func ghostsIn(p printer, all []cell) {
	var said []string
	for _, release := range newReleases {
		cells, without, with := 0, 0, 0
		for _, c := range all {
			if c.With != nil && c.Plan.New == release && c.Control.Ghosts+c.With.Ghosts > 0 {
				cells, without, with = cells+1, without+c.Control.Ghosts, with+c.With.Ghosts
			}
		}
		if cells > 0 {
			said = append(said, fmt.Sprintf("%s %d and %d in %d cells", release, without, with, cells))
		}
	}
	if len(said) > 0 {
		p("\nA job that is tried again, as those of a worker that was killed are, can leave a ready row in the ring slot that it was in first, which nothing takes out\nany more, and a ring can stand for it, with awa alone as well. Where a ring that is to turn stood after `finish`, the test deleted such rows, which are\ncounted nowhere; without awa-counterd and with it, by new release: %s.", strings.Join(said, "; "))
	}
}

const fewErrors = 10

// row is a line of the table.
func (c *cell) row() string {
	a, w := c.Control, c.With
	if a.Impossible != "" {
		return fmt.Sprintf("| %s | %s | %s | %s | no: %s | | | | | | | | | | %s, %s |", c.Plan.Old, c.Plan.New, c.Plan.Leads, c.Plan.Ring, a.Impossible, a.At.Format(time.DateOnly), a.Commit)
	}
	itself := "runs"
	if a.per1000(a.failures()) >= fewErrors {
		itself = "partly: " + kinds(a.Errors, 1)[0]
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %.0f s | **%s** | %.1f s | **%d** of %d | %.1f, %.1f; %.1f, %.1f | %.1f, %.1f | %d | %s | %s |",
		c.Plan.Old, c.Plan.New, c.Plan.Leads, c.Plan.Ring, itself, a.wrong(), a.Watch.Lying, w.wrong(), w.Watch.Lying, w.Watch.Dishonest, w.Watch.judged(),
		a.MixLaps, w.MixLaps, a.Laps, w.Laps, a.per1000(a.failures()), w.per1000(w.failures()), w.Daemon.Kills, humanize.Comma(w.Stream.RowsUncounted), c.made())
}

func (r *result) wrong() string {
	if r.Stopped.Wrong == 0 && r.TwoLaps.Wrong == 0 {
		return "0, 0"
	}
	return fmt.Sprintf("%d of %d by %s, %d", r.Stopped.Wrong, r.Stopped.Groups, humanize.Comma(r.Stopped.Jobs), r.TwoLaps.Wrong)
}

func (c *cell) made() string {
	return c.With.At.Format(time.DateOnly) + ", " + c.With.Commit
}
