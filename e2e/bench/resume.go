package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Part resume: a daemon that comes back to a backlog, against one that scans everything afresh instead, because its
// replication slot is gone: which of the two is faster, and from which backlog on.

func resumePart() part {
	return part{name: "resume", title: "Coming back", rounds: 3, begin: beginResume, show: showResume}
}

const resumeRows = 5_000_000

const (
	byDecoding = "decoding the backlog"
	afresh     = "scanning afresh"
)

// resumeBacklogs are row changes, in transactions of 100 rows.
func resumeBacklogs() []int { return []int{10_000, 100_000, 1_000_000} }

func beginResume(ctx context.Context, b *bed) (round, error) {
	if err := b.start(ctx, map[string]string{"shared_buffers": "1GB", "max_wal_size": "16GB", "autovacuum": "off"}); err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ int, p *played) (err error) {
		d, err := b.base(ctx, "", fleet.Ledger, 2)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.drop(context.WithoutCancel(ctx))) }()
		for slot := range ringSlots {
			if err := d.exec(ctx, fmt.Sprintf(`drop index awa.done_entries_%d_job_id_idx`, slot)); err != nil {
				return err
			}
		}
		err = d.exec(ctx, fmt.Sprintf(`insert into awa.done_entries (ready_slot, ready_generation, job_id, kind, queue, state, priority, lane_seq)
			select r.slot, r.generation, i, 'job', 'queue ' || i %% 5, 'failed', 1 + i %% 2, -i from generate_series(1, %d) i join awa.queue_ring_slots r on r.slot = i / 10 %% %d`,
			b.scaled(resumeRows, 20_000), ringSlots), `vacuum analyze awa.done_entries`)
		if err != nil {
			return err
		}
		if _, err := d.live(ctx); err != nil {
			return err
		}
		for _, backlog := range resumeBacklogs() {
			if err := d.comeBack(ctx, backlog, p); err != nil {
				return fmt.Errorf("a backlog of %d: %w", backlog, err)
			}
		}
		return d.right(ctx)
	}, nil
}

func (d *base) comeBack(ctx context.Context, backlog int, p *played) error {
	changes, err := d.backlog(ctx, kinds()[0], d.scaled(backlog, 1000))
	if err != nil {
		return err
	}
	decoded, err := d.live(ctx)
	if err != nil {
		return err
	}
	own, err := d.slot(ctx)
	if err != nil {
		return err
	}
	if err := d.exec(ctx, fmt.Sprintf(`select pg_drop_replication_slot('%s')`, own)); err != nil {
		return err
	}
	scanned, err := d.live(ctx)
	if err != nil {
		return err
	}
	at := fmt.Sprint(backlog)
	p.note(at, "", "changes", float64(changes))
	p.note(at, byDecoding, "s", decoded.wall.Seconds())
	p.note(at, afresh, "s", scanned.wall.Seconds())
	d.tell("a backlog of %d: trusted after %.1f s by decoding it, after %.1f s by scanning afresh", changes, decoded.wall.Seconds(), scanned.wall.Seconds())
	return nil
}

func showResume(s *section, t *taken) {
	s.say("%s rows in 16 slots, and a backlog of narrow rows, 100 a transaction, half of the transactions counted. From the start of the process until the marker is set. The peer is the\n"+
		"same daemon when its replication slot is gone.", number(resumeRows*t.Origin.Scale))
	s.table("backlog, row changes", "until trusted by decoding it, s", "by scanning afresh, s", "**decoding ÷ scanning**")
	for _, c := range t.cases() {
		s.row(t.spread(c, "", "changes").in(""), t.spread(c, byDecoding, "s").in(""), t.spread(c, afresh, "s").in(""), bold(t.ratio(c, byDecoding, afresh, "s")))
	}
}
