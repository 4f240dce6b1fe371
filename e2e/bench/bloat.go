package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Part bloat: versions of counter rows that are written for 1,000,000 rows, by the daemon and by #306's upsert in the
// writer's transaction. The daemon writes by the flush, so it depends on how fast the rows come; the upsert does not.

func bloatPart() part {
	return part{name: "bloat", title: "Counter-row versions", rounds: 3, about: 10 * time.Minute, begin: beginBloat, show: showBloat}
}

const bloatBatch = 10 // rows a transaction

// bloatRates are rows a second; 0 is as fast as they can.
func bloatRates() []int { return []int{2000, 8000, 0} }

func atRate(rows int) string {
	if rows == 0 {
		return "as fast as they can"
	}
	return fmt.Sprintf("%d rows/s", rows)
}

func beginBloat(ctx context.Context, b *bed) (round, error) {
	if err := b.start(ctx, map[string]string{"max_wal_size": "8GB"}); err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ int, p *roundResult) error {
		for _, rate := range bloatRates() {
			for _, who := range []string{theDaemon, inBand} {
				if err := b.bloat(ctx, who, rate, p); err != nil {
					return fmt.Errorf("%s, %s: %w", who, atRate(rate), err)
				}
			}
		}
		return nil
	}, nil
}

func (b *bed) bloat(ctx context.Context, who string, rate int, p *roundResult) (err error) {
	shape := fleet.Ledger
	if who == inBand {
		shape = fleet.Direct
	}
	d, err := b.base(ctx, "", shape, 4)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.drop(context.WithoutCancel(ctx))) }()
	_, stop, err := d.reader(ctx, who)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	before, err := d.versions(ctx)
	if err != nil {
		return err
	}
	l := load{writers: 4, batch: bloatBatch, rate: float64(rate) / bloatBatch, counted: who == inBand, slots: 1, queues: 3}
	did, err := d.write(ctx, l, b.lasting(20*time.Second))
	if err != nil {
		return err
	}
	if err := d.righted(ctx); err != nil {
		return err
	}
	after, err := d.versions(ctx)
	if err != nil {
		return err
	}
	millions := float64(did.rows) / 1e6
	p.note(atRate(rate), who, "rows/s", did.perSecond())
	p.note(atRate(rate), who, "versions/1M", float64(after.all-before.all)/millions)
	p.note(atRate(rate), who, "in place/1M", float64(after.hot-before.hot)/millions)
	p.note(atRate(rate), who, "kB", float64(after.bytes)/1024)
	b.tell("%s, %s: %.0f versions of counter rows for 1,000,000 rows", who, atRate(rate), float64(after.all-before.all)/millions)
	return nil
}

type versions struct{ all, hot, bytes int64 }

// versions of counter rows written so far. Each session hands its numbers over at most once a second, after up to ten
// when it is idle, and at its end: so ours are ended.
func (d *base) versions(ctx context.Context) (v versions, err error) {
	d.pool.Reset()
	last := versions{all: -1}
	tick := time.NewTicker(1500 * time.Millisecond)
	defer tick.Stop()
	for v != last {
		last = v
		select {
		case <-ctx.Done():
			return v, ctx.Err()
		case <-tick.C:
		}
		err := d.pool.QueryRow(ctx, `select n_tup_ins + n_tup_upd, n_tup_hot_upd, pg_total_relation_size(relid) from pg_stat_user_tables
			where schemaname = 'awa' and relname = 'queue_terminal_live_counts'`).Scan(&v.all, &v.hot, &v.bytes)
		if err != nil {
			return v, err
		}
	}
	return v, nil
}

func showBloat(s *section, t *taken) {
	s.say("4 writers, %d rows a transaction, in 6 groups. Versions of counter rows inserted or updated, for 1,000,000 rows of theirs; how many of them in place (HOT);\n"+
		"and how large table and indexes are in the end.", bloatBatch)
	picture := dots{title: "Versions of counter rows for 1,000,000 rows", axis: "logarithmic; less is better", log: true}
	s.table("load", "who counts", "rows/s", "versions for 1,000,000 rows", "in place", "size, kB", "**daemon ÷ in-band**")
	for _, rate := range bloatRates() {
		at := atRate(rate)
		for _, who := range []string{theDaemon, inBand} {
			v := func(what string) string { return t.spread(at, who, what).in("") }
			s.row(at, who, v("rows/s"), v("versions/1M"), v("in place/1M"), v("kB"), bold(t.ratio(at, who, inBand, "versions/1M")))
			picture.add(who+", "+at, t.spread(at, who, "versions/1M"), map[string]int{theDaemon: 3, inBand: 1}[who])
		}
	}
	s.picture(t.Part, "Versions of counter rows by load", picture.svg())
}
