package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Part writers: what writers feel. Their throughput as fast as they can, and their transactions' 95th percentile at half
// of what they can do beside pg_recvlogical, beside each of: nobody, pg_recvlogical, the daemon; and with their rows
// counted by other means: #306's upsert in the same transaction, a trigger for each statement, a trigger for each row.

func writersPart() part {
	return part{name: "writers", title: "Writers", rounds: 5, about: 24 * time.Minute, begin: beginWriters, show: showWriters}
}

const (
	besideWriters = 8
	besideBatch   = 20 // rows a transaction
)

// besideLoad writes to one slot, awa's current one, in six groups.
func besideLoad(who string, rate float64) load {
	return load{writers: besideWriters, batch: besideBatch, rate: rate, counted: who == inBand, slots: 1, queues: 3}
}

func companies() []string { return []string{nobody, receiver, theDaemon, inBand, perStmt, perRow} }

func beginWriters(ctx context.Context, b *bed) (round, error) {
	if err := b.start(ctx, map[string]string{"max_wal_size": "16GB", "shared_buffers": "512MB"}); err != nil {
		return nil, err
	}
	return func(ctx context.Context, n int, p *roundResult) error {
		saturation := 0.0 // rows a second, beside pg_recvlogical keeping up
		order := companies()
		for range n % len(order) {
			order = append(order[1:], order[0])
		}
		for _, who := range order {
			rate, err := b.saturated(ctx, who, p)
			if err != nil {
				return fmt.Errorf("as fast as they can beside %s: %w", who, err)
			}
			if who == receiver {
				saturation = rate
			}
		}
		slices.Reverse(order)
		for _, who := range order {
			if err := b.halfway(ctx, who, saturation/2, p); err != nil {
				return fmt.Errorf("at half of saturation beside %s: %w", who, err)
			}
		}
		return nil
	}, nil
}

// company makes a database in which rows are counted by the means named, and starts who reads.
func (b *bed) company(ctx context.Context, who string) (d *base, slot string, stop func() error, err error) {
	shape := fleet.Ledger
	if who == inBand || who == perStmt || who == perRow {
		shape = fleet.Direct
	}
	if d, err = b.base(ctx, "", shape, besideWriters+3); err != nil {
		return nil, "", nil, err
	}
	if slot, stop, err = d.reader(ctx, who); err != nil {
		return nil, "", nil, errors.Join(err, d.drop(context.WithoutCancel(ctx)))
	}
	end := stop
	stop = func() error { return errors.Join(end(), d.drop(context.WithoutCancel(ctx))) }
	const upsert = `insert into awa.queue_terminal_live_counts as c (ready_slot, queue, priority, enqueue_shard, live_terminal_count) %s
		on conflict (ready_slot, queue, priority, enqueue_shard) do update set live_terminal_count = c.live_terminal_count + excluded.live_terminal_count`
	trigger := func(of, when string) error {
		return d.exec(ctx, `create function awa.bench_count() returns trigger language plpgsql as $$ begin `+fmt.Sprintf(upsert, of)+`; return null; end $$`,
			`create trigger bench_count after insert on awa.done_entries `+when+` execute function awa.bench_count()`)
	}
	switch who {
	case perStmt:
		err = trigger(`select ready_slot, queue, priority, enqueue_shard, count(*) from made group by 1, 2, 3, 4 order by 1, 2, 3, 4`, `referencing new table as made for each statement`)
	case perRow:
		err = trigger(`values (new.ready_slot, new.queue, new.priority, new.enqueue_shard, 1)`, `for each row`)
	}
	if err != nil {
		return nil, "", nil, errors.Join(err, stop())
	}
	return d, slot, stop, nil
}

// saturated has the writers do what they can, and then the reader come to the end. It returns rows a second until then.
func (b *bed) saturated(ctx context.Context, who string, p *roundResult) (rate float64, err error) {
	d, slot, stop, err := b.company(ctx, who)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	l := besideLoad(who, 0)
	if _, err := d.write(ctx, l, b.lasting(3*time.Second)); err != nil {
		return 0, err
	}
	if slot != "" {
		if err := d.caught(ctx, slot); err != nil {
			return 0, err
		}
	}
	began := time.Now()
	did, err := d.write(ctx, l, b.lasting(10*time.Second))
	if err != nil {
		return 0, err
	}
	if slot != "" {
		if err := d.caught(ctx, slot); err != nil {
			return 0, err
		}
	}
	rate = float64(did.rows) / time.Since(began).Seconds()
	p.note("saturation", who, "rows/s", did.perSecond())
	p.note("saturation", who, "read rows/s", rate)
	b.tell("as fast as they can beside %s: %.0f rows/s written, %.0f until read", who, did.perSecond(), rate)
	return rate, d.counted(ctx, who)
}

// halfway has the writers write at a rate, and measures how long each transaction took from when it was due.
func (b *bed) halfway(ctx context.Context, who string, rows float64, p *roundResult) (err error) {
	d, slot, stop, err := b.company(ctx, who)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	l := besideLoad(who, rows/besideBatch)
	if _, err := d.write(ctx, l, b.lasting(3*time.Second)); err != nil {
		return err
	}
	lost := d.marker(ctx) // beside everybody: who looks takes something of the server, too
	var following *lag
	if slot != "" {
		following = d.behind(ctx, slot)
	}
	did, err := d.write(ctx, l, b.lasting(20*time.Second))
	unset, failed := lost()
	err = errors.Join(err, failed)
	if who != theDaemon {
		unset = 0
	}
	keptUp := true
	if following != nil {
		behind, failed := following.end()
		err = errors.Join(err, failed)
		p.note("half", who, "behind ms", float64(behind.Milliseconds()))
		keptUp = who == theDaemon || behind <= keepingUp
	}
	if err != nil {
		return err
	}
	p.note("half", who, "rows/s", did.perSecond())
	if unset == 0 && keptUp {
		p.note("half", who, "p50 ms", millis(did.waits, 0.5))
		p.note("half", who, "p95 ms", millis(did.waits, 0.95))
		p.note("half", who, "p99 ms", millis(did.waits, 0.99))
	}
	p.note("half", who, "untrusted ms", float64(unset.Milliseconds()))
	b.tell("at %.0f rows/s beside %s: p50 %.1f ms, p95 %.1f ms, marker not set for %s", rows, who, millis(did.waits, 0.5), millis(did.waits, 0.95), unset)
	return d.counted(ctx, who)
}

// counted fails unless the rows are counted by those who should: a peer that counts nothing is none.
func (d *base) counted(ctx context.Context, who string) error {
	switch who {
	case nobody, receiver:
		return nil
	case theDaemon:
		return d.righted(ctx)
	}
	return d.right(ctx)
}

func showWriters(s *section, t *taken) {
	s.say("%d writers insert %d rows a transaction into the %d groups of one slot, BEGIN, INSERT, COMMIT, with an upsert before COMMIT where they count themselves. First as\n"+
		"fast as they can: \"until read\" is to when the stream was read as well. Then at half of what was read beside pg_recvlogical: the time of a transaction is from\n"+
		"when it was due. Rounds in which the marker was not set all the time do not count for the daemon: the last column says for how long it was not. Nor do those in\n"+
		"which pg_recvlogical was more than %s behind.",
		besideWriters, besideBatch, 6, keepingUp)
	s.table("beside", "written, rows/s", "until read, rows/s", "**until read ÷ beside pg_recvlogical**", "median, ms", "95th, ms", "**95th ÷ beside pg_recvlogical**", "rounds that count", "untrusted, ms")
	rates := dots{title: "Writers' throughput ÷ that beside pg_recvlogical", axis: "ratio; more is better", mark: 1}
	waits := dots{title: "Writers' 95th percentile ÷ that beside pg_recvlogical", axis: "ratio, logarithmic; less is better", mark: 1, log: true}
	for _, who := range companies() {
		tone := map[string]int{nobody: 0, receiver: 0, theDaemon: 3, inBand: 1, perStmt: 1, perRow: 1}[who]
		v := func(at, what string) string { return t.spread(at, who, what).in("") }
		rate, wait := t.ratio("saturation", who, receiver, "read rows/s"), t.ratio("half", who, receiver, "p95 ms")
		s.row(who, v("saturation", "rows/s"), v("saturation", "read rows/s"), bold(rate), v("half", "p50 ms"), v("half", "p95 ms"), bold(wait),
			fmt.Sprintf("%d of %d", t.spread("half", who, "p95 ms").n, len(t.Rounds)), t.spread("half", who, "untrusted ms").times())
		rates.add(who, rate, tone)
		waits.add(who, wait, tone)
	}
	s.picture("writers-throughput", "Writers' throughput beside each", rates.svg())
	s.picture("writers-p95", "Writers' 95th percentile beside each", waits.svg())
}
