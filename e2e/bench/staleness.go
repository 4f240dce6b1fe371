package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Part staleness: from the commit of an uncounted write to the commit of the correction that has it. Both times are the
// server's own, out of a replication slot that is made before and read after: nobody is disturbed by the measuring.

func stalenessPart() part {
	return part{name: "staleness", title: "Staleness", rounds: 3, about: 14 * time.Minute, begin: beginStaleness, show: showStaleness}
}

const (
	staleWriters = 4
	staleBatch   = 10 // rows a transaction
)

// pace is a circumstance of this part.
type pace struct {
	rows  int // a second
	flush time.Duration
	who   string
}

func (p pace) String() string {
	text := fmt.Sprintf("%d rows/s", p.rows)
	if p.who == theDaemon && p.flush != usualFlush {
		text += fmt.Sprintf(", --flush-interval %s", p.flush)
	}
	return text
}

const usualFlush = 100 * time.Millisecond

func paces() []pace {
	return []pace{
		{500, usualFlush, theDaemon},
		{2000, usualFlush, theDaemon},
		{8000, usualFlush, theDaemon},
		{500, 10 * time.Millisecond, theDaemon},
		{500, time.Second, thePoller},
		{2000, time.Second, thePoller},
		{8000, time.Second, thePoller},
	}
}

func beginStaleness(ctx context.Context, b *bed) (round, error) {
	if err := b.start(ctx, map[string]string{"max_wal_size": "8GB"}); err != nil {
		return nil, err
	}
	return func(ctx context.Context, n int, p *roundResult) error {
		order := paces()
		if n%2 == 1 {
			slices.Reverse(order)
		}
		for _, c := range order {
			if err := b.stale(ctx, c, p); err != nil {
				return fmt.Errorf("%s, %s: %w", c, c.who, err)
			}
		}
		return nil
	}, nil
}

func (b *bed) stale(ctx context.Context, c pace, p *roundResult) (err error) {
	d, err := b.base(ctx, "", fleet.Ledger, 8)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.drop(context.WithoutCancel(ctx))) }()
	if err := d.visit(ctx); err != nil {
		return err
	}
	if err := d.exec(ctx, fmt.Sprintf(`select pg_create_logical_replication_slot('%s', 'pgoutput')`, peerSlot)); err != nil {
		return err
	}
	corrected, err := d.corrector(ctx, c)
	if err != nil {
		return err
	}
	l := load{writers: staleWriters, batch: staleBatch, rate: float64(c.rows) / staleBatch, slots: ringSlots, queues: 3}
	if _, err := d.write(ctx, l, b.lasting(3*time.Second)); err != nil { // warms up
		return errors.Join(err, corrected())
	}
	since, err := one[time.Time](ctx, d.pool, `select clock_timestamp()`)
	if err != nil {
		return errors.Join(err, corrected())
	}
	did, err := d.write(ctx, l, b.lasting(30*time.Second))
	if err == nil {
		err = d.righted(ctx)
	}
	if err = errors.Join(err, corrected()); err != nil {
		return err
	}
	ages, err := d.ages(ctx, since)
	if err != nil {
		return err
	}
	if got := did.perSecond() / float64(c.rows); got < 0.95 {
		b.tell("%s, %s: only %.0f rows/s were written", c, c.who, did.perSecond())
	}
	at := c.String()
	p.note(at, c.who, "rows/s", did.perSecond())
	p.note(at, c.who, "writes", float64(len(ages)))
	for _, q := range []float64{0.5, 0.9, 0.99, 1} {
		p.note(at, c.who, fmt.Sprintf("p%g ms", 100*q), millis(ages, q))
	}
	p.note(at, c.who, "p99 intervals", millis(ages, 0.99)/float64(c.flush.Milliseconds()))
	b.tell("%s, %s: p50 %.0f ms, p99 %.0f ms, slowest %.0f ms of %d", c, c.who, millis(ages, 0.5), millis(ages, 0.99), millis(ages, 1), len(ages))
	return nil
}

// corrector starts who corrects, and returns how to end that.
func (d *base) corrector(ctx context.Context, c pace) (stop func() error, err error) {
	if c.who == theDaemon {
		r, err := d.run(d.url(), nil, "--flush-interval", c.flush.String())
		if err != nil {
			return nil, err
		}
		if _, err := r.trusted(ctx); err != nil {
			r.Kill()
			return nil, err
		}
		return func() error { _, err := r.stop(); return err }, nil
	}
	polling, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			// What has begun is let finish: the last one corrects the rest.
			out, err := exec.CommandContext(ctx, d.daemon, "reconcile", "--json", "--database-url", d.url()).CombinedOutput()
			var exit *exec.ExitError
			if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) {
				done <- fmt.Errorf("reconcile: %w: %s", err, out)
				return
			}
			select {
			case <-polling.Done():
				done <- nil
				return
			case <-tick.C:
			}
		}
	}()
	return func() error { cancel(); return <-done }, nil
}

// ages reads the slot and returns, sorted, how long each uncounted write waited for its correction.
func (d *base) ages(ctx context.Context, since time.Time) ([]time.Duration, error) {
	publications, err := d.publications(ctx)
	if err != nil {
		return nil, err
	}
	end, err := one[string](ctx, d.pool, `select pg_current_wal_flush_lsn()::text`)
	if err != nil {
		return nil, err
	}
	target, err := pglogrepl.ParseLSN(end)
	if err != nil {
		return nil, err
	}
	s := newStale(since)
	r := reading{url: d.cluster.Socket(d.name), slot: peerSlot, publications: publications, end: target}
	if err := r.run(ctx, s.take); err != nil {
		return nil, err
	}
	return s.end()
}

// stale follows rows and counters of each group through the stream, from when there was neither. Every write adds, and
// nobody counts but who corrects: a write is corrected as soon as the counter of its group is as high as its rows were with it.
type stale struct {
	since     time.Time // writes before it are left out
	relations map[uint32]*pglogrepl.RelationMessage
	groups    map[string]*group
	rows      map[string]int64            // of the open transaction, by group
	counters  map[string]map[string]int64 // that it set, by group and bucket
	waited    []time.Duration
}

type group struct {
	rows     int64
	counters map[string]int64 // by bucket
	waiting  []uncorrected    // the oldest first
}

type uncorrected struct {
	rows int64 // of the group, with this write
	at   time.Time
}

func newStale(since time.Time) *stale {
	return &stale{
		since: since, relations: make(map[uint32]*pglogrepl.RelationMessage), groups: make(map[string]*group),
		rows: make(map[string]int64), counters: make(map[string]map[string]int64),
	}
}

func (s *stale) take(m pglogrepl.Message) error {
	switch m := m.(type) {
	case *pglogrepl.RelationMessageV2:
		s.relations[m.RelationID] = &m.RelationMessage
	case *pglogrepl.InsertMessageV2:
		return s.tuple(m.RelationID, m.Tuple)
	case *pglogrepl.UpdateMessageV2:
		return s.tuple(m.RelationID, m.NewTuple)
	case *pglogrepl.StreamStartMessageV2:
		return errors.New("a streamed transaction is not expected here")
	case *pglogrepl.CommitMessage:
		s.commit(m.CommitTime)
	}
	return nil
}

func (s *stale) tuple(relation uint32, t *pglogrepl.TupleData) error {
	r := s.relations[relation]
	if r == nil {
		return fmt.Errorf("relation %d was not described", relation)
	}
	column := func(name string) string {
		for i, c := range r.Columns {
			if c.Name == name {
				return string(t.Columns[i].Data)
			}
		}
		return ""
	}
	key := strings.Join([]string{column("ready_slot"), column("queue"), column("priority"), column("enqueue_shard")}, "|")
	switch {
	case strings.HasPrefix(r.RelationName, "done_entries"):
		s.rows[key]++
	case r.RelationName == "queue_terminal_live_counts":
		n, err := strconv.ParseInt(column("live_terminal_count"), 10, 64)
		if err != nil {
			return fmt.Errorf("a counter of %s: %w", key, err)
		}
		if s.counters[key] == nil {
			s.counters[key] = make(map[string]int64)
		}
		s.counters[key][column("counter_bucket")] = n
	}
	return nil
}

// commit takes in what the transaction did.
func (s *stale) commit(at time.Time) {
	of := func(key string) *group {
		if s.groups[key] == nil {
			s.groups[key] = &group{counters: make(map[string]int64)}
		}
		return s.groups[key]
	}
	for key, n := range s.rows {
		g := of(key)
		g.rows += n
		g.waiting = append(g.waiting, uncorrected{g.rows, at})
	}
	for key, set := range s.counters {
		g := of(key)
		maps.Copy(g.counters, set)
		sum := int64(0)
		for _, n := range g.counters {
			sum += n
		}
		for len(g.waiting) > 0 && g.waiting[0].rows <= sum {
			if !g.waiting[0].at.Before(s.since) {
				s.waited = append(s.waited, at.Sub(g.waiting[0].at))
			}
			g.waiting = g.waiting[1:]
		}
	}
	clear(s.rows)
	clear(s.counters)
}

// end returns how long each waited, sorted. In the end all must have been corrected.
func (s *stale) end() ([]time.Duration, error) {
	for key, g := range s.groups {
		if len(g.waiting) > 0 {
			return nil, fmt.Errorf("%d writes of group %s were never corrected", len(g.waiting), key)
		}
	}
	slices.Sort(s.waited)
	return s.waited, nil
}

func showStaleness(s *section, t *taken) {
	s.say("%d writers insert %d rows a transaction, uncounted, into %d groups. The time is from the commit of each to the commit of the correction that has it, by the\n"+
		"server's clock. The peer is a poller that runs `awa-counterd reconcile` every second. A trigger is never stale: what it costs is in [writers](#writers).",
		staleWriters, staleBatch, ringSlots*3*2)
	s.table("load", "who corrects", "rows/s", "median, ms", "90th, ms", "99th, ms", "slowest, ms", "99th, flush intervals", "**99th ÷ the poller's**")
	picture := dots{title: "Staleness, 99th percentile", axis: "ms, logarithmic; less is better", log: true}
	for i, c := range paces() {
		at := c.String()
		v := func(what string) string { return t.spread(at, c.who, what).in("") }
		load := fmt.Sprintf("%d rows/s", c.rows)
		poller := over(ratios(t.values(at, c.who, "p99 ms"), t.values(load, thePoller, "p99 ms")))
		s.row(at, c.who, v("rows/s"), v("p50 ms"), v("p90 ms"), v("p99 ms"), v("p100 ms"), t.spread(at, c.who, "p99 intervals").times(), bold(poller))
		picture.add(c.who+", "+at, t.spread(at, c.who, "p99 ms"), i/4)
	}
	s.picture(t.Part, "Staleness, 99th percentile", picture.svg())
}
