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
	return part{name: "load", title: "The highest load", rounds: 3, about: 30 * time.Minute, begin: beginLoad, show: showLoad}
}

const (
	loadBatch   = 100 // rows a transaction
	loadWriters = 4
	loadFirst   = 20_000 // rows a second, of the first try
	loadStep    = 1.5
	loadHalves  = 3                // how often the last step is halved
	loadGlance  = 10 * time.Second // how long each of these is tried
	loadLower   = 0.95             // what did for so long may be too much for a minute: then this much of it
	loadMinutes = 6                // how often
	keepingUp   = time.Second      // a reader further behind does not: half of the daemon's bound, at which it doubts
	loadGrace   = 5 * time.Second  // before each
)

func beginLoad(ctx context.Context, b *bed) (round, error) {
	if err := b.start(ctx, map[string]string{"max_wal_size": "16GB", "shared_buffers": "512MB"}); err != nil {
		return nil, err
	}
	return func(ctx context.Context, n int, p *roundResult) error {
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

// highest finds about where the limit is by short tries, and then the rate that is kept up with for a minute.
func (b *bed) highest(ctx context.Context, who string, p *roundResult) error {
	rate, limited, err := b.climb(ctx, who)
	if err != nil {
		return err
	}
	if !limited {
		p.note("", who, "not its limit", 1)
	}
	for range loadMinutes {
		t, err := b.try(ctx, who, rate, time.Minute)
		if err != nil {
			return err
		}
		if t.kept {
			p.note("", who, "rows/s", t.got)
			p.note("", who, "behind ms", float64(t.behind.Milliseconds()))
			return nil
		}
		rate *= loadLower
	}
	b.tell("load beside %s: no rate was kept up with for a minute", who)
	return nil
}

// climb goes up until a load is too high, or cannot be made, which is no limit of the reader's, and then narrows it down.
func (b *bed) climb(ctx context.Context, who string) (rate float64, limited bool, err error) {
	low, high := 0.0, 0.0
	rate = loadFirst
	for halved := 0; halved <= loadHalves; {
		t, err := b.try(ctx, who, rate, loadGlance)
		if err != nil {
			return 0, false, err
		}
		if t.kept && t.got < 0.95*rate { // the writers cannot do more
			return rate, false, nil
		}
		if t.kept {
			low = rate
		} else {
			high = rate
		}
		switch {
		case high == 0:
			rate *= loadStep
		case low == 0:
			if rate /= loadStep; rate < loadFirst/100 {
				return 0, false, errors.New("no load is low enough")
			}
		default:
			halved++
			rate = (low + high) / 2
		}
	}
	return low, true, nil
}

// try writes at a rate for some time.
func (b *bed) try(ctx context.Context, who string, rate float64, length time.Duration) (try, error) {
	t, err := b.probe(ctx, who, rate, length)
	if err == nil {
		b.tell("load beside %s: %.0f rows/s wanted, %.0f written, %s behind at most, marker not set for %s: kept up for %s: %v", who, t.wanted, t.got,
			t.behind.Round(time.Millisecond), t.unset.Round(time.Millisecond), b.lasting(length), t.kept)
	}
	return t, err
}

// probe writes at a rate in a database of its own, beside one reader.
func (b *bed) probe(ctx context.Context, who string, rate float64, length time.Duration) (t try, err error) {
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
	lost := d.marker(ctx) // beside the peer as well: who looks takes something of the server, too
	lag := d.behind(ctx, slot)
	did, err := d.write(ctx, l, b.lasting(length))
	behind, failed := lag.end()
	unset, unseen := lost()
	t = try{wanted: rate, got: did.perSecond(), behind: behind}
	if who == theDaemon {
		t.unset = unset
	}
	t.kept = t.unset == 0 && (who == theDaemon || t.behind <= keepingUp)
	if err = errors.Join(err, failed, unseen); err == nil && t.kept {
		err = d.counted(ctx, who)
	}
	return t, errors.Join(err, stop())
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
	s.say("%d writers insert %d uncounted rows a transaction, at a rate that climbs from %s rows/s by half, until %s of it are too much; then the last step is\n"+
		"halved %d times. What is left is tried for a minute, and if that is too much, %.2f of it, until a minute was not. Too much for the daemon: the marker was\n"+
		"not set at some time. Too much for the peer: it was more than %s behind. \"not its limit\": the writers could do no more on this machine, and the reader kept up.",
		loadWriters, loadBatch, number(loadFirst), loadGlance, loadHalves, loadLower, keepingUp)
	s.table("reader", "highest load, rows/s", "behind at most, ms", "rounds in which it was not its limit", "**daemon ÷ pg_recvlogical**")
	for _, who := range []string{receiver, theDaemon} {
		s.row(who, t.spread("", who, "rows/s").times(), t.spread("", who, "behind ms").in(""), fmt.Sprint(t.spread("", who, "not its limit").n), bold(t.ratio("", who, receiver, "rows/s")))
	}
	picture := dots{title: "The highest load beside which the reader keeps up", axis: "rows/s; more is better"}
	for i, who := range []string{receiver, theDaemon} {
		picture.add(who, t.spread("", who, "rows/s"), 3*i)
	}
	s.picture(t.Part, "The highest load of daemon and pg_recvlogical", picture.svg())
}
