package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/report"
)

// tally is what a run adds up to.
type tally struct {
	began     time.Time
	kills     atomic.Int64
	restarts  atomic.Int64
	mu        *sync.Mutex
	faults    map[string]int
	handovers []time.Duration
	recovery  []time.Duration
	held      []int64 // counter rows that a foreign transaction held at once

	verdicts, groups, wrong int
	slowest                 time.Duration // from the writers' end to every counter right
	operations, prunes      int64
	folds, stoodDown        int64
	starved                 int64 // prunes that a locked counter row made fail
	tolerated               int64
	calm                    []int64
}

func newTally() tally {
	return tally{began: time.Now(), mu: &sync.Mutex{}, faults: make(map[string]int)}
}

func (t *tally) injected(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults[name]++
}

func (t *tally) handover(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.handovers = append(t.handovers, d)
}

func (t *tally) recovered(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recovery = append(t.recovery, d)
}

func (t *tally) holds(rows int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held = append(t.held, rows)
}

func (t *tally) absorb(f *fleet.Fleet) {
	t.operations += f.Ops.Load()
	t.prunes += f.Prunes.Load()
	t.folds += f.Folds.Load()
	t.stoodDown += f.Skipped.Load()
	t.starved += f.Failed.Load()
	t.tolerated += f.Tolerated.Load()
}

// report writes what was measured.
func (a *env) report(ctx context.Context) error {
	name, file, _ := strings.Cut(a.o.report, "=")
	text, err := a.text(ctx, name)
	if err != nil {
		return err
	}
	fmt.Println(text)
	if file == "" {
		return nil
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(b), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has no place for the report of %s", file, name)
	}
	return os.WriteFile(file, []byte(before+begin+text+end+after), 0o644)
}

func (a *env) text(ctx context.Context, target string) (string, error) {
	commit, server, err := report.Origin(ctx, a.pool)
	if err != nil {
		return "", err
	}
	var rows int64
	if err := a.pool.QueryRow(ctx, `select last_value from awa.job_id_seq`).Scan(&rows); err != nil {
		return "", err
	}
	t, w := &a.tally, &a.observer.watch
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	command := a.o.replay()
	if target != "" {
		command = "make " + target
		if target == "soak" {
			command += fmt.Sprintf(" KILLS=%d MINUTES=%g", a.o.kills, a.o.minutes)
		}
		command += " SHAPE=" + a.o.shape
		command += fmt.Sprintf(" SEED=%d", a.o.seed)
	}
	p("`%s` on %s, commit %s, %s, %s.\n", command, time.Now().UTC().Format(time.DateOnly), commit, server, time.Since(t.began).Round(time.Second))
	p("| measured | |\n|---|---|")
	p("| `--max-staleness` of the daemons | %s, and %s of each second one |", maxStaleness, otherStaleness)
	p("| daemons killed with SIGKILL | %d |", t.kills.Load())
	p("| samples, each of one snapshot; with the marker set | %s; %s |", humanize.Comma(int64(w.Samples)), humanize.Comma(int64(w.Trusted)))
	p("| samples more than 250ms after the one before (outages of the server are among them) | %s |", humanize.Comma(int64(w.Sparse)))
	p("| samples with the marker set and a drift older than %s | **%d** |", maxStaleness, w.Dishonest)
	p("| the same while nobody could clear the marker: in a crash window, or while a stalled transaction of awa's locked its row | %d |", w.Excused)
	p("| longest time that a drift can have lasted in the other samples with the marker set | %s |", w.Oldest.Round(time.Millisecond))
	p("| the writers stopped, and every counter was compared with a scan | %d times, %s groups |", t.verdicts, humanize.Comma(int64(t.groups)))
	p("| groups that were wrong then | **%d**; every counter was right %s after the last write at the latest |", t.wrong, t.slowest.Round(10*time.Millisecond))
	p("| transactions of the writers; prunes; rows inserted since awa's schema was last created | %s; %s; %s |", humanize.Comma(t.operations), humanize.Comma(t.prunes), humanize.Comma(rows))
	if a.o.shape == fleet.Ledger {
		p("| ring slots folded; times that a fold gave way to a snapshot; prunes that failed on a locked counter row | %s; %s; %d |", humanize.Comma(t.folds), humanize.Comma(t.stoodDown), t.starved)
	}
	p("| errors of writers that no fault explains; errors that a fault at the server explains | **0**; %s |", humanize.Comma(t.tolerated))
	if len(t.handovers) > 0 {
		p("| from a leader's death until a standby leads: median, worst of %d | %s, %s |", len(t.handovers), median(t.handovers), slices.Max(t.handovers).Round(10*time.Millisecond))
	}
	p("| from the end of a fault until the marker is set again: median, worst of %d | %s, %s |", len(t.recovery), median(t.recovery), slices.Max(t.recovery).Round(10*time.Millisecond))
	if n := len(t.held); n > 0 {
		sorted := slices.Sorted(slices.Values(t.held))
		p("| counter rows that a foreign transaction held at once: median, most of %d times | %d, %d |", n, sorted[n/2], sorted[n-1])
	}
	p("| left behind after `teardown`: slots, connections, locks, temporary objects, schema | **0** |")
	if n := len(t.calm); n >= 6 {
		p("| memory of a daemon left in peace, median in the first and in the last third of %d s | %s, %s |", n,
			size(t.calm[:n/3]), size(t.calm[2*n/3:]))
	}
	p("| most memory of any daemon | %s |", humanize.IBytes(uint64(a.highest())))
	p("\nHow long the marker stayed set while nobody could clear it:\n\n| crash window | times | mean | worst |\n|---|---|---|---|")
	for _, kind := range sortedKeys(a.observer.closed) {
		s := a.observer.closed[kind]
		p("| %s | %d | %s | %s |", kind, s.n, (s.total / time.Duration(s.n)).Round(10*time.Millisecond), s.worst.Round(10*time.Millisecond))
	}
	p("\nFaults injected:\n\n| fault | times |\n|---|---|")
	for _, name := range sortedKeys(t.faults) {
		p("| %s | %d |", name, t.faults[name])
	}
	return b.String(), nil
}

func (a *env) highest() (most int64) {
	for _, m := range a.observer.memory {
		most = max(most, slices.Max(m))
	}
	return most
}

func size(bytes []int64) string {
	s := slices.Sorted(slices.Values(bytes))
	return humanize.IBytes(uint64(s[len(s)/2]))
}

func median(ds []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(ds))
	return s[len(s)/2].Round(10 * time.Millisecond)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
