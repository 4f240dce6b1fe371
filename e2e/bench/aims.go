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
	sign  string // atMost, atLeast, below or above the limit
	limit float64
	unit  string
	every bool // judged by the worst round, not by the median
}

// The signs of aims.
const (
	atMost  = "≤"
	atLeast = "≥"
	below   = "<"
	above   = ">"
)

func (a aim) wanted() string {
	text := strings.TrimSpace(fmt.Sprintf("%s %s %s", a.sign, number(a.limit), a.unit))
	if a.every {
		text += " in every round"
	}
	return text
}

// kept goes by the median, or by the worst round.
func (a aim) kept(s spread) bool {
	least, most := s.median, s.median
	if a.every {
		least, most = s.low, s.high
	}
	switch a.sign {
	case atLeast:
		return least >= a.limit
	case above:
		return least > a.limit
	case below:
		return most < a.limit
	}
	return most <= a.limit
}

// aims are those that the product is measured by, in the order of the parts.
func aims() (all []aim) {
	for _, some := range [][]aim{drainAims(), staleAims(), writersAims(), serverAims(), startAims(), sizeAims()} {
		all = append(all, some...)
	}
	return all
}

// figureOf is one's figure.
func figureOf(at, who, what string) func(*taken) spread {
	return func(t *taken) spread { return t.spread(at, who, what) }
}

// ratioOf is the daemon's figure by a peer's.
func ratioOf(at, peer, what string) func(*taken) spread {
	return func(t *taken) spread { return t.ratio(at, theDaemon, peer, what) }
}

func drainAims() (all []aim) {
	for _, k := range kinds() {
		at, part := backlogOf(k.name, fleet.Ledger), "rows"
		if k.name == kinds()[0].name {
			part = "drain"
		}
		all = append(all,
			aim{what: "draining, " + k.name + ": rate ÷ pg_recvlogical's", part: part, of: ratioOf(at, receiver, "changes/s"), sign: atLeast, limit: 1.1},
			aim{what: "draining, " + k.name + ": rate ÷ the plain loop's", part: part, of: ratioOf(at, theLoop, "changes/s"), sign: atLeast, limit: 1.1},
			aim{what: "draining, " + k.name + ": processor time ÷ pg_recvlogical's", part: part, of: ratioOf(at, receiver, "µs/change"), sign: atMost, limit: 0.5},
			aim{what: "draining, " + k.name + ": processor time ÷ the plain loop's", part: part, of: ratioOf(at, theLoop, "µs/change"), sign: atMost, limit: 1. / 3},
		)
	}
	narrow := kinds()[0].name
	return append(all, aim{what: "draining, " + narrow + ": rate on the ledger ÷ that on #306, by row change", part: "drain", of: func(t *taken) spread {
		return over(ratios(t.values(backlogOf(narrow, fleet.Ledger), theDaemon, "changes/s"), t.values(backlogOf(narrow, fleet.Direct), theDaemon, "changes/s")))
	}, sign: atLeast, limit: 1})
}

func staleAims() (all []aim) {
	for _, c := range paces() {
		a := aim{what: "staleness at " + c.String() + ", 99th percentile", part: "staleness", sign: atMost}
		switch {
		case c.who != theDaemon:
			continue
		case c.flush == usualFlush:
			a.of, a.limit, a.unit = figureOf(c.String(), theDaemon, "p99 intervals"), 2.2, "flush intervals"
		default:
			a.of, a.limit, a.unit = figureOf(c.String(), theDaemon, "p99 ms"), 25, "ms"
		}
		all = append(all, a)
	}
	return append(all,
		aim{what: "highest load ÷ pg_recvlogical's", part: "load", of: ratioOf("", receiver, "rows/s"), sign: atLeast, limit: 0.9})
}

func writersAims() []aim {
	all := []aim{{what: "writers' 95th percentile ÷ beside pg_recvlogical", part: "writers", of: ratioOf("half", receiver, "p95 ms"), sign: atMost, limit: 1.1}}
	counting := []string{inBand, perStmt, perRow}
	for _, other := range counting {
		all = append(all, aim{what: "writers' 95th percentile ÷ that with " + other, part: "writers", of: ratioOf("half", other, "p95 ms"), sign: below, limit: 1})
	}
	all = append(all, aim{what: "writers' throughput ÷ beside pg_recvlogical", part: "writers", of: ratioOf("saturation", receiver, "read rows/s"), sign: atLeast, limit: 1})
	for _, other := range counting {
		all = append(all, aim{what: "writers' throughput ÷ that with " + other, part: "writers", of: ratioOf("saturation", other, "read rows/s"), sign: above, limit: 1})
	}
	return all
}

// serverAims are what the daemon costs the server and awa.
func serverAims() []aim {
	return []aim{
		{what: "counter-row versions for 1,000,000 rows, as fast as they come", part: "bloat", of: figureOf(atRate(0), theDaemon, "versions/1M"), sign: atMost, limit: 1000},
		{what: "wait for a counter row, 99th percentile", part: "locks", of: figureOf("", theDaemon, "p99 ms"), sign: atMost, limit: 5, unit: "ms"},
		{what: "a transaction of corrections, 99th percentile", part: "locks", of: figureOf("", theDaemon, "own p99 ms"), sign: atMost, limit: 5, unit: "ms"},
		{what: "waits of more than 10 ms behind a session of the daemon", part: "locks", of: figureOf("", theDaemon, "behind the daemon"), sign: atMost, limit: 0, every: true},
		{what: "WAL of checkpoints ÷ the changes' own", part: "wal", of: func(t *taken) spread {
			return over(ratios(t.values("", classCheckpoint, "kB/1M"), t.values("", classRows, "kB/1M")))
		}, sign: atMost, limit: 1. / 20},
	}
}

// startAims are those of scans, of starts and of coming back.
func startAims() []aim {
	all := []aim{
		{what: "one-shot ÷ grouped count", part: "oneshot", of: func(t *taken) spread { return checkRatio(t, fleet.Ledger) }, sign: atMost, limit: 1.1},
		{what: "writers' waits of more than 50 ms behind the one-shot", part: "oneshot", of: figureOf("writers", besideReconcile, "behind it"), sign: atMost, limit: 0, every: true},
		{what: "a start until trusted ÷ the two scans in it", part: "start", of: scanBound, sign: atMost, limit: 1.25},
	}
	for _, n := range resumeBacklogs() {
		at := fmt.Sprint(n)
		all = append(all, aim{
			what: "coming back to " + number(float64(n)) + " changes: as the daemon decides ÷ the faster way", part: "resume",
			of: func(t *taken) spread { return over(byFaster(t, at)) }, sign: atMost, limit: 1.1,
		})
	}
	most := sizeWorlds()[len(sizeWorlds())-1]
	return append(all, aim{what: "resume at " + number(float64(most.groups())) + " groups", part: "size", of: figureOf(most.String(), theDaemon, "resumed s"), sign: atMost, limit: 2, unit: "s"})
}

// sizeAims are what a daemon takes for itself.
func sizeAims() []aim {
	all := []aim{
		{what: "idle: processor", part: "idle", of: figureOf("", theDaemon, "ms/s"), sign: atMost, limit: 1, unit: "ms/s"},
		{what: "idle: connections", part: "idle", of: figureOf("", theDaemon, "connections"), sign: atMost, limit: 4, every: true},
		{what: "idle: WAL with --max-staleness 1m", part: "idle", of: figureOf("", relaxed, "WAL KiB/min"), sign: atMost, limit: 4, unit: "KiB/min"},
	}
	all = append(all, aim{
		what: "a scrape each second: share of the daemon's processor time at 10,000 groups", part: "scrape",
		of: func(t *taken) spread { return over(share(t)) }, sign: below, limit: 1, unit: "%",
	})
	for i, w := range memoryWorlds() {
		all = append(all, aim{what: "memory: " + w.String(), part: "memory", of: figureOf(w.String(), theDaemon, "most MB"), sign: atMost, limit: []float64{24, 64, 256, 128}[i], unit: "MB"})
	}
	worlds := sizeWorlds()
	for _, some := range []struct {
		world
		seconds, megabytes float64
	}{{worlds[0], 10, 128}, {worlds[len(worlds)-1], 20, 400}} {
		at := some.String()
		all = append(all,
			aim{what: "many groups, until trusted: " + at, part: "size", of: figureOf(at, theDaemon, "trusted s"), sign: atMost, limit: some.seconds, unit: "s"},
			aim{what: "many groups, memory: " + at, part: "size", of: figureOf(at, theDaemon, "most MB"), sign: atMost, limit: some.megabytes, unit: "MB"})
	}
	for _, b := range []struct{ name, rows string }{{"HotPath", "100 a transaction"}, {"HotPathOfOne", "alone in its transaction"}} {
		all = append(all, aim{what: "allocations a row, " + b.rows, part: "allocs", of: figureOf("applier."+b.name, theDaemon, "allocs/row"), sign: atMost, limit: 0.05})
	}
	return all
}

// judge says of every aim whether it was kept, or that nothing was measured yet. A run at another size than the real one has nothing to
// judge.
func judge(l *lab) (string, error) {
	if l.scale != 1 {
		return "", nil
	}
	s := &section{}
	s.say("\n## Against the aims\n\nA median of the rounds is judged, and the worst round where every one has to keep the aim. 0.05 allocations a row are 0, amortised: one now\n" +
		"and then makes room for many rows. Each figure stands in the section of its part again, with what it is made of.")
	s.table("figure", "part", "aim", "measured", "verdict")
	for _, a := range aims() {
		t, err := recall(l.results, a.part)
		if err != nil {
			return "", err
		}
		got := a.of(t)
		if got.n == 0 || t.Origin.Scale != l.scale {
			s.row(a.what, inPart(a.part), a.wanted(), "–", "not measured yet")
			continue
		}
		measured := got.times()
		if got.n < len(t.Rounds) { // a round in which the marker was not set, say, has no figure
			measured += fmt.Sprintf(", in %d of %d rounds", got.n, len(t.Rounds))
		}
		s.row(a.what, inPart(a.part), a.wanted(), measured, map[bool]string{true: "kept", false: "**not kept**"}[a.kept(got)])
	}
	return s.text.String(), nil
}

// inPart names a part.
func inPart(name string) string { return "`" + name + "`" }
