package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Part drain: how fast the daemon drains a backlog, against pg_recvlogical writing to nowhere and a plain Go loop:
// the same publications, the same backlog, the same transport. Part cpu: what processor time each takes for it.

// Part rows: other rows and transactions than the narrow ones.

func drainPart() part {
	return part{
		name: "drain", title: "Draining a backlog", rounds: 5, about: 10 * time.Minute, show: showDrain, page: "benchmark.md", print: printDrain,
		begin: func(ctx context.Context, b *bed) (round, error) {
			return beginDrain(ctx, b, kinds()[:1], fleet.Direct, fleet.Ledger)
		},
	}
}

func rowsPart() part {
	return part{
		name: "rows", title: "Draining other rows", rounds: 5, about: 8 * time.Minute, show: showDrain,
		begin: func(ctx context.Context, b *bed) (round, error) { return beginDrain(ctx, b, kinds()[1:], fleet.Ledger) },
	}
}

func cpuPart() part {
	return part{name: "cpu", title: "Processor time of draining", from: []string{"drain", "rows"}, show: showCPU}
}

// drain is what is measured on one shape of awa's counters, in a database of its own.
type drain struct {
	*base
	own string // the daemon's replication slot
}

const (
	peerSlot = "bench_peer"
	loopSlot = "bench_loop"
)

func beginDrain(ctx context.Context, b *bed, kinds []kind, shapes ...string) (round, error) {
	if err := b.start(ctx, map[string]string{"max_wal_size": "8GB"}); err != nil {
		return nil, err
	}
	var all []*drain
	for _, shape := range shapes {
		name := map[string]string{fleet.Direct: "direct", fleet.Ledger: "ledger"}[shape]
		base, err := b.base(ctx, name, shape, 2)
		if err != nil {
			return nil, err
		}
		b.later(func() error { base.pool.Close(); return nil })
		d := &drain{base: base}
		if err := d.visit(ctx); err != nil {
			return nil, err
		}
		if d.own, err = d.slot(ctx); err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return func(ctx context.Context, n int, p *roundResult) error {
		order := slices.Clone(all)
		if n%2 == 1 {
			slices.Reverse(order)
		}
		for _, d := range order {
			for _, k := range kinds {
				if err := d.round(ctx, n, k, p); err != nil {
					return fmt.Errorf("%s rows, %s: %w", k.name, d.Shape, err)
				}
			}
		}
		return nil
	}, nil
}

// backlogOf names a kind on a shape.
func backlogOf(kind, shape string) string { return kind + ", " + shape }

func (d *drain) round(ctx context.Context, n int, k kind, p *roundResult) error {
	for _, slot := range []string{peerSlot, loopSlot} {
		if err := d.exec(ctx, fmt.Sprintf(`select pg_copy_logical_replication_slot('%s', '%s')`, d.own, slot)); err != nil {
			return err
		}
	}
	fill := d.backlog
	if k.name == "narrow" {
		fill = d.narrow
	}
	changes, err := fill(ctx, k, d.scaled(k.rows, 10*min(k.batch, 100)))
	if err != nil {
		return err
	}
	end, err := one[string](ctx, d.pool, `select pg_current_wal_flush_lsn()::text`)
	if err != nil {
		return err
	}
	measures := []struct {
		who, slot string
		run       func() (used, error)
	}{
		{receiver, peerSlot, func() (used, error) { return drained(d.receive(ctx, peerSlot, end)) }},
		{theDaemon, d.own, func() (used, error) { return d.settled(ctx, end) }},
		{theLoop, loopSlot, func() (used, error) { return drained(d.loop(ctx, loopSlot, end)) }},
	}
	if n%2 == 1 {
		slices.Reverse(measures)
	}
	at := backlogOf(k.name, d.Shape)
	rate := make(map[string]float64)
	for _, m := range measures {
		sender := d.senders(ctx, m.slot)
		u, err := m.run()
		u.sender = sender()
		if err != nil {
			return err
		}
		rate[m.who] = float64(changes) / u.wall.Seconds()
		p.note(at, m.who, "changes/s", rate[m.who])
		p.note(at, m.who, "µs/change", u.cpu.Seconds()*1e6/float64(changes))
		p.note(at, m.who, "sender µs/change", u.sender.Seconds()*1e6/float64(changes))
		p.note(at, m.who, "peak kB", float64(u.peak))
		if m.who == theDaemon {
			p.note(at, m.who, "taken in changes/s", float64(changes)/u.read.Seconds())
		}
	}
	if err := d.right(ctx); err != nil {
		return err
	}
	d.tell("round %d, %s: daemon %.0f changes/s, pg_recvlogical %.0f changes/s, plain loop %.0f changes/s, ratio %.2f", n+1, at,
		rate[theDaemon], rate[receiver], rate[theLoop], rate[theDaemon]/rate[receiver])
	return d.exec(ctx, fmt.Sprintf(`select pg_drop_replication_slot('%s')`, peerSlot), fmt.Sprintf(`select pg_drop_replication_slot('%s')`, loopSlot))
}

func showDrain(s *section, t *taken) {
	s.say("A stopped daemon leaves a backlog. Then the daemon is started, and two others read copies of its replication slot, with the same publications and\n" +
		"options: `pg_recvlogical`, which writes to /dev/null, and the loop of pglogrepl's own example, which parses every message and keeps nothing.\n" +
		"Each has the time from the start of its process until that is gone. The daemon's includes a correction of all of it and a checkpoint, which its graceful end waits\n" +
		"for; \"taken in\" is when its position had passed the end of the backlog. Every counter was right after it.")
	s.table("backlog, shape", "daemon, changes/s", "taken in, changes/s", "pg_recvlogical, changes/s", "plain loop, changes/s", "**daemon ÷ pg_recvlogical**", "**daemon ÷ plain loop**")
	picture := dots{title: "The daemon's rate ÷ its peer's", axis: "ratio; more is better", mark: 1}
	for _, c := range t.cases() {
		const what = "changes/s"
		s.row(c, t.spread(c, theDaemon, what).in(""), t.spread(c, theDaemon, "taken in changes/s").in(""), t.spread(c, receiver, what).in(""), t.spread(c, theLoop, what).in(""),
			bold(t.ratio(c, theDaemon, receiver, what)), bold(t.ratio(c, theDaemon, theLoop, what)))
		picture.add(c+" ÷ pg_recvlogical", t.ratio(c, theDaemon, receiver, what), 0)
		picture.add(c+" ÷ plain loop", t.ratio(c, theDaemon, theLoop, what), 1)
	}
	s.say("")
	for _, k := range kinds() {
		if slices.Contains(t.cases(), backlogOf(k.name, fleet.Ledger)) {
			s.say("- %s: %s, %s row changes", k.name, k.about, number(float64(k.rows)*t.Origin.Scale))
		}
	}
	s.picture(t.Part, "Rates of draining against two peers", picture.svg())
}

func showCPU(s *section, t *taken) {
	s.say("Of the same backlogs: the processor time of each process, for its whole life, by decoded row change; and of the walsender that served it.")
	s.table("backlog, shape", "daemon, µs", "pg_recvlogical, µs", "plain loop, µs", "walsender of the daemon, µs", "of pg_recvlogical, µs", "**daemon ÷ pg_recvlogical**", "**daemon ÷ plain loop**")
	picture := dots{title: "The daemon's processor time ÷ its peer's", axis: "ratio; less is better", mark: 1}
	for _, c := range t.cases() {
		const what, sender = "µs/change", "sender µs/change"
		s.row(c, t.spread(c, theDaemon, what).in(""), t.spread(c, receiver, what).in(""), t.spread(c, theLoop, what).in(""),
			t.spread(c, theDaemon, sender).in(""), t.spread(c, receiver, sender).in(""),
			bold(t.ratio(c, theDaemon, receiver, what)), bold(t.ratio(c, theDaemon, theLoop, what)))
		picture.add(c+" ÷ pg_recvlogical", t.ratio(c, theDaemon, receiver, what), 0)
		picture.add(c+" ÷ plain loop", t.ratio(c, theDaemon, theLoop, what), 1)
	}
	s.picture("cpu", "Processor time of draining against two peers", picture.svg())
}

func bold(s spread) string {
	if s.n == 0 {
		return s.times()
	}
	return "**" + s.times() + "**"
}

// printDrain is the report of the narrow backlog, on both shapes.
func printDrain(t *taken) string {
	var s strings.Builder
	s.WriteString(head(t, "Benchmark: draining a backlog", "bench"))
	transport := "Unix socket"
	if strings.HasPrefix(t.Origin.Options, "tcp") {
		transport = "loopback TCP"
	}
	narrow := kinds()[0]
	fmt.Fprintf(&s, "A stopped daemon leaves a backlog of %.0f row changes in transactions of %d rows, every other one counted as binaries of that\n"+
		"shape count: one counter row in #306, a row of the ledger for each bucket in the ledger shape. Then the daemon is started, and\n"+
		"`pg_recvlogical` writing to /dev/null reads a copy of the same slot: same publications, same options, same %s,\n"+
		"in turn, the order alternating. Each has the time from the start of its process until that is gone. The daemon's includes\n"+
		"connecting, the checks, loading the checkpoint, a correction of all of the backlog, and a checkpoint at its end.\n\n", float64(narrow.rows)*t.Origin.Scale, narrow.batch, transport)
	s.WriteString("| round | shape | daemon, changes/s | pg_recvlogical, changes/s | ratio |\n|---|---|---|---|---|\n")
	shapes := []string{fleet.Direct, fleet.Ledger}
	const rate = "changes/s"
	for i := range t.Rounds {
		for _, shape := range shapes {
			at := backlogOf("narrow", shape)
			ours, theirs := t.values(at, theDaemon, rate)[i], t.values(at, receiver, rate)[i]
			fmt.Fprintf(&s, "| %d | %s | %.0f | %.0f | %.2f |\n", i+1, shape, ours, theirs, ours/theirs)
		}
	}
	direct, ledger := backlogOf("narrow", fleet.Direct), backlogOf("narrow", fleet.Ledger)
	across := over(ratios(t.values(ledger, theDaemon, rate), t.values(direct, theDaemon, rate)))
	beside := over(ratios(ratios(t.values(ledger, theDaemon, rate), t.values(ledger, receiver, rate)), ratios(t.values(direct, theDaemon, rate), t.values(direct, receiver, rate))))
	const cost = "µs/change"
	work := over(ratios(t.values(ledger, theDaemon, cost), t.values(direct, theDaemon, cost)))
	peak := max(t.spread(direct, theDaemon, "peak kB").high, t.spread(ledger, theDaemon, "peak kB").high)
	fmt.Fprintf(&s, "\nMedian ratio to the peer: %.2f in #306, %.2f in the ledger shape. The daemon on the ledger against #306, by decoded row change: %s\n"+
		"by its rate, which goes with the machine's mood from one minute to the next; %s by its rate as a share of pg_recvlogical's on the same backlog;\n"+
		"%s by its processor time. Medians of %d rounds, lowest and highest. The daemon's peak memory was %.0f MB.\n",
		t.ratio(direct, theDaemon, receiver, rate).median, t.ratio(ledger, theDaemon, receiver, rate).median, across.times(), beside.times(), work.times(), len(t.Rounds), peak/1024)
	return s.String()
}
