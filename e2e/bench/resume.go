package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Part resume: a daemon that comes back to a backlog, and decodes it or scans everything afresh, as it finds best; against one that has to
// scan afresh, because its replication slot is gone, and against pg_recvlogical, which decodes the backlog and does nothing else: which
// of the two ways is faster, from which backlog on, and which one the daemon takes.

func resumePart() part {
	return part{name: "resume", title: "Coming back", rounds: 3, about: 12 * time.Minute, begin: beginResume, show: showResume}
}

const resumeRows = 5_000_000

const (
	asItLikes = "as the daemon decides"
	afresh    = "scanning afresh"
)

// resumeBacklogs are row changes, in transactions of 100 rows. The last one is more WAL than the daemon decodes for so few rows.
func resumeBacklogs() []int { return []int{10_000, 100_000, 1_000_000, 8_000_000} }

func beginResume(ctx context.Context, b *bed) (round, error) {
	if err := b.start(ctx, map[string]string{"shared_buffers": "1GB", "max_wal_size": "16GB", "autovacuum": "off"}); err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ int, p *roundResult) (err error) {
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

func (d *base) comeBack(ctx context.Context, backlog int, p *roundResult) error {
	own, err := d.slot(ctx)
	if err != nil {
		return err
	}
	if err := d.exec(ctx, fmt.Sprintf(`select pg_copy_logical_replication_slot('%s', '%s')`, own, peerSlot)); err != nil {
		return err
	}
	from, err := one[string](ctx, d.pool, `select pg_current_wal_insert_lsn()::text`)
	if err != nil {
		return err
	}
	changes, err := d.backlog(ctx, kinds()[0], d.scaled(backlog, 1000))
	if err != nil {
		return err
	}
	end, err := one[string](ctx, d.pool, `select pg_current_wal_insert_lsn()::text`)
	if err != nil {
		return err
	}
	size, err := one[float64](ctx, d.pool, `select ($1::text::pg_lsn - $2::text::pg_lsn)::float8`, end, from)
	if err != nil {
		return err
	}
	peer, err := drained(d.receive(ctx, peerSlot, end))
	if err != nil {
		return err
	}
	if err := d.exec(ctx, fmt.Sprintf(`select pg_drop_replication_slot('%s')`, peerSlot)); err != nil {
		return err
	}
	decided, scanned, err := d.lives(ctx)
	if err != nil {
		return err
	}
	if own, err = d.slot(ctx); err != nil {
		return err
	}
	if err := d.exec(ctx, fmt.Sprintf(`select pg_drop_replication_slot('%s')`, own)); err != nil {
		return err
	}
	forced, again, err := d.lives(ctx)
	if err == nil && !again {
		err = errors.New("the daemon went on without its replication slot")
	}
	if err != nil {
		return err
	}
	at := fmt.Sprint(backlog)
	p.note(at, "", "changes", float64(changes))
	p.note(at, "", "WAL MB", size/(1<<20))
	p.note(at, receiver, "s", peer.wall.Seconds())
	p.note(at, asItLikes, "s", decided.wall.Seconds())
	p.note(at, afresh, "s", forced.wall.Seconds())
	p.note(at, asItLikes, "scanned", map[bool]float64{true: 1}[scanned])
	d.tell("a backlog of %d changes, %.0f MB of WAL: read by pg_recvlogical in %.1f s; trusted after %.1f s (scanned: %v), after %.1f s by scanning afresh", changes,
		size/(1<<20), peer.wall.Seconds(), decided.wall.Seconds(), scanned, forced.wall.Seconds())
	return nil
}

// lives is live, and tells whether the daemon scanned everything afresh.
func (d *base) lives(ctx context.Context) (u used, scanned bool, err error) {
	u, r, err := d.alive(ctx)
	return u, err == nil && r.times("scanning afresh") > 0, err
}

// byFaster is the time until trusted by that of the faster way, within each round. Where the daemon decoded, the other way is scanning
// afresh. Where it scanned, nothing decodes the backlog faster than pg_recvlogical reads it, so the choice is right for certain where
// even that took longer.
func byFaster(t *taken, backlog string) []float64 {
	took, other := t.values(backlog, asItLikes, "s"), t.values(backlog, afresh, "s")
	reading, scanned := t.values(backlog, receiver, "s"), t.values(backlog, asItLikes, "scanned")
	out := make([]float64, len(took))
	for i := range took {
		if scanned[i] == 1 {
			other[i] = reading[i]
		}
		out[i] = took[i] / min(took[i], other[i])
	}
	return out
}

func showResume(s *section, t *taken) {
	s.say("%s rows in 16 slots, and a backlog of narrow rows, 100 a transaction, half of the transactions counted. From the start of the process until the marker is set. The daemon\n"+
		"decides by the WAL and the planner's number of rows whether to decode or to scan. The peers: the same daemon when its replication slot is gone, so that it has to scan;\n"+
		"and `pg_recvlogical`, which reads the backlog to nowhere. The faster way is the other one of the two if it took less time; where the daemon scanned, what\n"+
		"`pg_recvlogical` took is the least that decoding would have taken. By these the constants of `internal/resume` can be judged.", number(resumeRows*t.Origin.Scale))
	s.table("backlog, row changes", "WAL, MB", "trusted, as the daemon decides, s", "rounds in which it scanned", "WAL by that time, MB/s", "by scanning afresh, s", "`pg_recvlogical` alone, s",
		"**as decided ÷ scanning**", "**as decided ÷ `pg_recvlogical`**", "**as decided ÷ the faster way**")
	lines := []curve{{label: "as the daemon decides", tone: 3}, {label: "scanning afresh"}, {label: "pg_recvlogical, which only reads", tone: 1, dashed: true}}
	for _, c := range t.cases() {
		scans := 0
		for _, n := range t.values(c, asItLikes, "scanned") {
			if n == 1 {
				scans++
			}
		}
		s.row(t.spread(c, "", "changes").in(""), t.spread(c, "", "WAL MB").in(""), t.spread(c, asItLikes, "s").in(""), fmt.Sprintf("%d of %d", scans, len(t.Rounds)),
			over(ratios(t.values(c, "", "WAL MB"), t.values(c, asItLikes, "s"))).in(""), t.spread(c, afresh, "s").in(""), t.spread(c, receiver, "s").in(""),
			bold(over(ratios(t.values(c, asItLikes, "s"), t.values(c, afresh, "s")))), bold(over(ratios(t.values(c, asItLikes, "s"), t.values(c, receiver, "s")))),
			bold(over(byFaster(t, c))))
		for i, who := range []string{asItLikes, afresh, receiver} {
			lines[i].xs, lines[i].ys = append(lines[i].xs, t.spread(c, "", "changes").median), append(lines[i].ys, t.spread(c, who, "s").median)
		}
	}
	picture := curves{title: "Coming back to a backlog", x: "row changes", y: "seconds", lines: lines}
	s.picture(t.Part, "Time until trusted, by backlog", picture.svg())
}
