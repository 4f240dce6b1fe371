package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Part reader: what the counters are for: a queue's total from them, as awa reads it while the marker is set, against the
// scan that it falls back to; by the size of the table, with and without the index that leads with the queue.

func readerPart() part {
	return part{name: "reader", title: "The reader", rounds: 3, about: 12 * time.Minute, still: true, begin: beginReader, show: showReader}
}

const (
	byScan     = "scan"
	byCounters = "counters"
	bare       = "counters, without the index"
)

// readerSizes are rows of done_entries, in 16 slots of four queues of two priorities.
func readerSizes() []int {
	return []int{10_000, 100_000, 1_000_000, 5_000_000, 20_000_000}
}

func beginReader(ctx context.Context, b *bed) (round, error) {
	err := b.start(ctx, map[string]string{"wal_level": "minimal", "max_wal_senders": "0", "shared_buffers": "1GB", "max_wal_size": "8GB", "autovacuum": "off"})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ int, p *roundResult) (err error) {
		d, err := b.base(ctx, "", fleet.Ledger, 2)
		if err != nil {
			return err
		}
		for slot := range ringSlots {
			if err := d.exec(ctx, fmt.Sprintf(`drop index awa.done_entries_%d_job_id_idx`, slot)); err != nil {
				return err
			}
		}
		for have, i := 0, 0; i < len(readerSizes()); i++ {
			rows := b.scaled(readerSizes()[i], 1000*(i+1))
			if err := d.grow(ctx, have, rows); err != nil {
				return err
			}
			have = rows
			if err := d.readings(ctx, rows, p); err != nil {
				return fmt.Errorf("%d rows: %w", rows, err)
			}
		}
		d.pool.Close()
		return b.admin(ctx, fmt.Sprintf("drop database %s with (force)", d.name))
	}, nil
}

// grow brings the table from one number of rows to another, and the counters with it, as awa has them: in 256 buckets.
func (d *base) grow(ctx context.Context, from, to int) error {
	return d.exec(ctx, fmt.Sprintf(`
		insert into awa.done_entries (ready_slot, ready_generation, job_id, kind, queue, priority, lane_seq, attempted_at)
		select i %% 16, 7, i / 128, 'job', 'queue ' || i / 16 %% 4, 1 + i / 64 %% 2, i, now() from generate_series(%d, %d) i`, from, to-1), // jobs of a group in all buckets
		`truncate awa.queue_terminal_live_counts`,
		`insert into awa.queue_terminal_live_counts (ready_slot, queue, priority, enqueue_shard, counter_bucket, live_terminal_count)
		select ready_slot, queue, priority, enqueue_shard, mod(job_id, 256), count(*) from awa.done_entries group by 1, 2, 3, 4, 5`,
		`vacuum analyze awa.done_entries`, `vacuum analyze awa.queue_terminal_live_counts`)
}

func (d *base) readings(ctx context.Context, rows int, p *roundResult) error {
	at := fmt.Sprint(rows)
	p.note(at, "", "rows", float64(rows))
	ways := []struct {
		name string
		n    int
		read func() (int64, error)
	}{
		{byScan, 5, func() (int64, error) { return fleet.ReadScan(ctx, d.pool, "awa", "queue 1") }},
		{byCounters, 50, func() (int64, error) { return fleet.ReadCounter(ctx, d.pool, "awa", "queue 1") }},
		{bare, 50, func() (int64, error) { return fleet.ReadCounter(ctx, d.pool, "awa", "queue 1") }},
	}
	const index = `idx_awa_queue_terminal_live_counts_queue`
	var totals []int64
	for _, w := range ways {
		if w.name == bare {
			if err := d.exec(ctx, `drop index awa.`+index); err != nil {
				return err
			}
		}
		var took []time.Duration
		for i := range w.n + 1 {
			began := time.Now()
			n, err := w.read()
			if err != nil {
				return err
			}
			if i > 0 { // the first warms the cache
				took = append(took, time.Since(began))
			} else {
				totals = append(totals, n)
			}
		}
		slices.Sort(took)
		p.note(at, w.name, "ms", millis(took, 0.5))
	}
	if totals[0] != totals[1] || totals[1] != totals[2] || totals[0] == 0 {
		return fmt.Errorf("scan and counters do not say the same: %d", totals)
	}
	d.tell("%d rows: read", rows)
	return d.exec(ctx, `create index `+index+` on awa.queue_terminal_live_counts (queue, priority)`)
}

func showReader(s *section, t *taken) {
	s.say("The total of one queue of four, in 16 slots of two priorities, with counter rows in 256 buckets a group: awa's own two ways of reading it, warm. Each includes the\n" +
		"look at the catalog that the imitated reader makes.")
	s.table("rows", "scan, ms", "counters, ms", "without the queue's index, ms", "**counters ÷ scan**", "**without index ÷ scan**")
	lines := []curve{{label: "scan (the marker is not set)"}, {label: "counters, with the index that leads with the queue", tone: 3}, {label: "counters, without it", tone: 1, dashed: true}}
	for _, c := range t.cases() {
		s.row(t.spread(c, "", "rows").in(""), t.spread(c, byScan, "ms").in(""), t.spread(c, byCounters, "ms").in(""), t.spread(c, bare, "ms").in(""),
			bold(t.ratio(c, byCounters, byScan, "ms")), bold(t.ratio(c, bare, byScan, "ms")))
		for i, who := range []string{byScan, byCounters, bare} {
			lines[i].xs, lines[i].ys = append(lines[i].xs, t.spread(c, "", "rows").median), append(lines[i].ys, t.spread(c, who, "ms").median)
		}
	}
	picture := curves{title: "Reading a queue's total", x: "rows of done_entries", y: "ms", lines: lines}
	s.picture(t.Part, "Time to read a queue's total, by rows", picture.svg())
}
