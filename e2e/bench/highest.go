package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Part load: the highest load beside which the marker stays set for a minute, against the highest with which
// pg_recvlogical on the same publications just keeps up.

func loadPart() part {
	return part{name: "load", title: "The highest load", rounds: 3, begin: beginLoad, show: showLoad}
}

const (
	loadBatch   = 100 // rows a transaction
	loadWriters = 4
	loadFirst   = 10_000 // rows a second, of the first try
	loadStep    = 1.5
	loadHalves  = 3               // how often the last step is halved
	keepingUp   = time.Second     // a reader further behind does not: half of the daemon's bound, at which it doubts
	loadGrace   = 5 * time.Second // before the minute begins
)

func beginLoad(ctx context.Context, b *bed) (round, error) {
	if err := b.start(ctx, map[string]string{"max_wal_size": "16GB", "shared_buffers": "512MB"}); err != nil {
		return nil, err
	}
	return func(ctx context.Context, n int, p *played) error {
		order := []string{receiver, theDaemon}
		if n%2 == 1 {
			slices.Reverse(order)
		}
		for _, who := range order {
			if err := b.highest(ctx, who, p); err != nil {
				return fmt.Errorf("beside %s: %w", who, err)
			}
		}
		return nil
	}, nil
}

// try is one stretch at a load.
type try struct {
	wanted, got float64 // rows a second
	behind      time.Duration
	unset       time.Duration // the marker
	kept        bool
}

// highest climbs until a load is too high, or cannot be made, and then narrows it down.
func (b *bed) highest(ctx context.Context, who string, p *played) error {
	low, high := 0.0, 0.0
	best := try{}
	for rate, halved := float64(loadFirst), 0; halved <= loadHalves; {
		t, err := b.probe(ctx, who, rate)
		if err != nil {
			return err
		}
		b.tell("load beside %s: %.0f rows/s wanted, %.0f written, %s behind at most, marker not set for %s: kept up: %v", who, t.wanted, t.got,
			t.behind.Round(time.Millisecond), t.unset.Round(time.Millisecond), t.kept)
		switch {
		case t.kept:
			low = max(low, rate)
			if t.got > best.got {
				best = t
			}
		default:
			high = rate
		}
		switch {
		case t.kept && t.got < 0.95*rate: // the writers cannot do more
			p.note("", who, "not its limit", 1)
			halved = loadHalves + 1
		case high == 0:
			rate *= loadStep
		case low == 0:
			rate /= loadStep
			if rate < loadFirst/10 {
				return errors.New("no load is low enough")
			}
		default:
			halved++
			rate = (low + high) / 2
		}
	}
	p.note("", who, "rows/s", best.got)
	p.note("", who, "behind ms", float64(best.behind.Milliseconds()))
	return nil
}

// probe writes at a rate in a database of its own, beside one reader.
func (b *bed) probe(ctx context.Context, who string, rate float64) (t try, err error) {
	d, err := b.base(ctx, "", fleet.Ledger, loadWriters+3)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, d.drop(context.WithoutCancel(ctx))) }()
	slot, stop, err := d.reader(ctx, who)
	if err != nil {
		return t, err
	}
	l := load{writers: loadWriters, batch: loadBatch, rate: rate / loadBatch, slots: ringSlots, queues: 3}
	if _, err := d.write(ctx, l, b.lasting(loadGrace)); err != nil {
		return t, errors.Join(err, stop())
	}
	lost := func() time.Duration { return 0 }
	if who == theDaemon {
		lost = d.marker(ctx)
	}
	lag := d.behind(ctx, slot)
	did, err := d.write(ctx, l, b.lasting(time.Minute))
	behind, failed := lag.end()
	t = try{wanted: rate, got: did.perSecond(), behind: behind, unset: lost()}
	t.kept = t.unset == 0 && (who == theDaemon || t.behind <= keepingUp)
	return t, errors.Join(err, failed, stop())
}

// reader starts who reads, on a slot of its own, and returns the slot and how to end that. Beside nobody there is no slot.
func (d *base) reader(ctx context.Context, who string) (slot string, stop func() error, err error) {
	if err := d.visit(ctx); err != nil {
		return "", nil, err
	}
	own, err := d.slot(ctx)
	if err != nil {
		return "", nil, err
	}
	if who == theDaemon {
		r, err := d.run(d.url(), nil)
		if err != nil {
			return "", nil, err
		}
		if _, err := r.trusted(ctx); err != nil {
			r.Kill()
			return "", nil, err
		}
		return own, func() error { _, err := r.stop(); return err }, nil
	}
	if who == receiver {
		if err := d.exec(ctx, fmt.Sprintf(`select pg_copy_logical_replication_slot('%s', '%s')`, own, peerSlot)); err != nil {
			return "", nil, err
		}
	}
	if err := d.exec(ctx, fmt.Sprintf(`select pg_drop_replication_slot('%s')`, own)); err != nil {
		return "", nil, err
	}
	if who != receiver {
		return "", func() error { return nil }, nil
	}
	s, err := aside(d.receive(ctx, peerSlot, ""))
	if err != nil {
		return "", nil, err
	}
	return peerSlot, func() error { _, err := s.end(); return err }, nil
}

func showLoad(s *section, t *taken) {
	s.say("%d writers insert %d uncounted rows a transaction, at a rate that climbs from %s rows/s by half, until a minute of it is too much; then the last step is\n"+
		"halved %d times. Too much for the daemon: the marker was not set at some time. Too much for the peer: it was more than %s behind. \"not its limit\":\n"+
		"the writers could do no more on this machine, and the reader kept up.",
		loadWriters, loadBatch, number(loadFirst), loadHalves, keepingUp)
	s.table("reader", "highest load, rows/s", "behind at most, ms", "rounds in which it was not its limit", "**daemon ÷ pg_recvlogical**")
	for _, who := range []string{receiver, theDaemon} {
		s.row(who, t.spread("", who, "rows/s").times(), t.spread("", who, "behind ms").in(""), fmt.Sprint(t.spread("", who, "not its limit").n), bold(t.ratio("", who, receiver, "rows/s")))
	}
}
