package main

import (
	"fmt"
	"strings"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// aim is what a figure is to come to.
type aim struct {
	what  string
	part  string
	of    func(t *taken) spread
	limit float64
	least bool // the figure is to be no less than the limit; else no more
	unit  string
}

func (a aim) wanted() string {
	sign := "≤"
	if a.least {
		sign = "≥"
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", sign, number(a.limit), a.unit))
}

// reached goes by the median.
func (a aim) reached(s spread) bool {
	if a.least {
		return s.median >= a.limit
	}
	return s.median <= a.limit
}

// aims are those that the product is measured by, in the order of the parts.
func aims() (all []aim) {
	of := func(at, who, what string) func(*taken) spread {
		return func(t *taken) spread { return t.spread(at, who, what) }
	}
	ratio := func(at, who, peer, what string) func(*taken) spread {
		return func(t *taken) spread { return t.ratio(at, who, peer, what) }
	}
	partOf := map[string]string{"narrow": "drain"}
	for _, k := range kinds() {
		at, part := backlogOf(k.name, fleet.Ledger), partOf[k.name]
		if part == "" {
			part = "rows"
		}
		all = append(all,
			aim{"draining, " + k.name + ": rate ÷ pg_recvlogical's", part, ratio(at, theDaemon, receiver, "changes/s"), 1.1, true, ""},
			aim{"draining, " + k.name + ": rate ÷ the plain loop's", part, ratio(at, theDaemon, theLoop, "changes/s"), 1.1, true, ""},
			aim{"draining, " + k.name + ": processor time ÷ pg_recvlogical's", part, ratio(at, theDaemon, receiver, "µs/change"), 0.5, false, ""},
			aim{"draining, " + k.name + ": processor time ÷ the plain loop's", part, ratio(at, theDaemon, theLoop, "µs/change"), 1. / 3, false, ""},
		)
	}
	for _, c := range paces() {
		switch {
		case c.who != theDaemon:
		case c.flush == usualFlush:
			all = append(all, aim{"staleness at " + c.String() + ", 99th percentile", "staleness", of(c.String(), theDaemon, "p99 intervals"), 2.2, false, "flush intervals"})
		default:
			all = append(all, aim{"staleness at " + c.String() + ", 99th percentile", "staleness", of(c.String(), theDaemon, "p99 ms"), 25, false, "ms"})
		}
	}
	peak := func(w world) func(*taken) spread { return of(w.String(), theDaemon, "peak MB") }
	few, more, most, wide := memoryWorlds()[0], memoryWorlds()[1], memoryWorlds()[2], memoryWorlds()[3]
	return append(all,
		aim{"highest load ÷ pg_recvlogical's", "load", ratio("", theDaemon, receiver, "rows/s"), 0.9, true, ""},
		aim{"writers' 95th percentile ÷ beside pg_recvlogical", "writers", ratio("half", theDaemon, receiver, "p95 ms"), 1.1, false, ""},
		aim{"writers' throughput ÷ beside pg_recvlogical", "writers", ratio("saturation", theDaemon, receiver, "read rows/s"), 1, true, ""},
		aim{"counter-row versions for 1,000,000 rows, as fast as they come", "bloat", of(atRate(0), theDaemon, "versions/1M"), 1000, false, ""},
		aim{"wait for a counter row, 99th percentile", "locks", of("", theDaemon, "p99 ms"), 5, false, "ms"},
		aim{"waits of more than 10 ms behind a session of the daemon", "locks", of("", theDaemon, "behind the daemon"), 0, false, ""},
		aim{"WAL of checkpoints ÷ the changes' own", "wal", func(t *taken) spread {
			return over(ratios(t.values("", classCheckpoint, "kB/1M"), t.values("", classRows, "kB/1M")))
		}, 1. / 20, false, ""},
		aim{"one-shot ÷ grouped count", "oneshot", func(t *taken) spread { return checkRatio(t, fleet.Ledger) }, 1.1, false, ""},
		aim{"resume at " + number(float64(most.groups())) + " groups", "memory", of(most.String(), theDaemon, "resumed s"), 2, false, "s"},
		aim{"idle: processor", "idle", of("", theDaemon, "ms/s"), 1, false, "ms/s"},
		aim{"idle: connections", "idle", of("", theDaemon, "connections"), 4, false, ""},
		aim{"idle: WAL with --max-staleness 1m", "idle", of("", relaxed, "WAL KiB/min"), 4, false, "KiB/min"},
		aim{"memory: " + few.String(), "memory", peak(few), 24, false, "MB"},
		aim{"memory: " + more.String(), "memory", peak(more), 64, false, "MB"},
		aim{"memory: " + most.String(), "memory", peak(most), 256, false, "MB"},
		aim{"memory: " + wide.String(), "memory", peak(wide), 128, false, "MB"},
		aim{"allocations a row, alone in its transaction", "allocs", of("applier.HotPathOfOne", theDaemon, "allocs/row"), 0.05, false, ""},
	)
}

// judge lists the aims of which something is kept. A run at another size than the real one has nothing to judge.
func judge(l *lab) (string, error) {
	if l.scale != 1 {
		return "", nil
	}
	s := &section{}
	known := 0
	s.say("\n## Against the aims\n\nMedians of the rounds. What they are measured by stands in the sections below.")
	s.table("figure", "aim", "measured", "reached")
	for _, a := range aims() {
		t, err := recall(l.results, a.part)
		if err != nil {
			return "", err
		}
		got := a.of(t)
		if got.n == 0 || t.Origin.Scale != l.scale {
			continue
		}
		known++
		s.row(a.what, a.wanted(), got.times(), map[bool]string{true: "yes", false: "**no**"}[a.reached(got)])
	}
	if known == 0 {
		return "", nil
	}
	return s.text.String(), nil
}
