package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Part size: what many groups cost: memory, processor time, and the time from the start of the daemon to a trusted
// marker, with every group wrong at first; and the time until a second start trusts.

func sizePart() part {
	return part{
		name: "size", title: "Many groups", rounds: 3, about: 8 * time.Minute, show: showSize, page: "benchmark-size.md", print: printSize,
		begin: func(ctx context.Context, b *bed) (round, error) {
			return beginWorlds(ctx, b, sizeWorlds())
		},
	}
}

// sizeWorlds have 983,040 counter rows in 256 buckets, and 96,000 to 960,000 groups.
func sizeWorlds() []world {
	return []world{{60, 4, 256}, {1500, 4, 1}, {3750, 4, 1}, {7500, 4, 1}, {15000, 4, 1}}
}

// Part memory: the same in other worlds.
func memoryPart() part {
	return part{
		name: "memory", title: "Memory", rounds: 3, about: 6 * time.Minute, show: showSize,
		begin: func(ctx context.Context, b *bed) (round, error) {
			return beginWorlds(ctx, b, memoryWorlds())
		},
	}
}

// memoryWorlds have 1,008, 100,032 and 1,000,000 groups, and 983,040 counter rows in 256 buckets.
func memoryWorlds() []world { return []world{{63, 1, 1}, {1563, 4, 1}, {15625, 4, 1}, {60, 4, 256}} }

// world is how many of everything there are, in 16 slots.
type world struct {
	queues, priorities int
	buckets            int // counter rows a group: awa's own, of which one is wrong
}

func (w world) groups() int { return ringSlots * w.queues * w.priorities }

func (w world) String() string {
	return fmt.Sprintf("%d groups, %d counter rows", w.groups(), w.groups()*w.buckets)
}

// shipped is the limit that the systemd unit sets: what is measured here is what it is made for.
func shipped() (string, error) {
	text, err := os.ReadFile("deploy/awa-counterd.service")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if limit, ok := strings.CutPrefix(strings.TrimSpace(line), "Environment=GOMEMLIMIT="); ok {
			return limit, nil
		}
	}
	return "", errors.New("deploy/awa-counterd.service sets no GOMEMLIMIT")
}

// beginWorlds measures each of some worlds in a database of its own.
func beginWorlds(ctx context.Context, b *bed, worlds []world) (round, error) {
	if err := b.start(ctx, map[string]string{"max_wal_size": "8GB"}); err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ int, p *roundResult) error {
		for _, w := range worlds {
			w.queues = b.scaled(w.queues, 2)
			if err := b.inhabit(ctx, w, p); err != nil {
				return fmt.Errorf("%s: %w", w, err)
			}
		}
		return nil
	}, nil
}

func (b *bed) inhabit(ctx context.Context, w world, p *roundResult) error {
	d, err := b.base(ctx, "", fleet.Ledger, 2)
	if err != nil {
		return err
	}
	if err := d.populate(ctx, w); err != nil {
		return err
	}
	first, err := d.live(ctx)
	if err != nil {
		return err
	}
	again, err := d.live(ctx)
	if err != nil {
		return err
	}
	floor, err := d.floor(ctx)
	if err != nil {
		return err
	}
	_, wrong, err := fleet.Compare(ctx, d.pool, "awa")
	if err == nil && len(wrong) > 0 {
		err = fmt.Errorf("%d groups wrong in the end, the first: %+v", len(wrong), wrong[0])
	}
	if err != nil {
		return err
	}
	at := w.String()
	p.note(at, theDaemon, "groups", float64(w.groups()))
	p.note(at, theDaemon, "counter rows", float64(w.groups()*w.buckets))
	p.note(at, theDaemon, "trusted s", first.wall.Seconds())
	p.note(at, theDaemon, "resumed s", again.wall.Seconds())
	p.note(at, theDaemon, "peak MB", float64(first.peak)/1024)
	p.note(at, theDaemon, "resumed peak MB", float64(again.peak)/1024)
	p.note(at, theDaemon, "most MB", float64(max(first.peak, again.peak))/1024)
	p.note(at, theDaemon, "cpu s", first.cpu.Seconds())
	p.note(at, theLoop, "peak MB", float64(floor.peak)/1024)
	b.tell("size: %s: trusted after %s, again after %s, %d MB, %s of processor time", at, first.wall.Round(10*time.Millisecond),
		again.wall.Round(10*time.Millisecond), first.peak/1024, first.cpu.Round(10*time.Millisecond))
	return d.drop(ctx)
}

// populate makes one row a group that nobody counted, and counter rows as awa has them, which come to 0.
func (d *base) populate(ctx context.Context, w world) error {
	groups := fmt.Sprintf("generate_series(0, %d) s, generate_series(1, %d) q, generate_series(1, %d) p", ringSlots-1, w.queues, w.priorities)
	return d.exec(ctx, `
		insert into awa.done_entries (ready_slot, ready_generation, job_id, kind, queue, state, priority, lane_seq)
		select s, s, row_number() over (), 'job', 'queue-' || q, 'failed', p, row_number() over () from `+groups,
		fmt.Sprintf(`insert into awa.queue_terminal_live_counts (ready_slot, queue, priority, enqueue_shard, counter_bucket, live_terminal_count)
		select s, 'queue-' || q, p, 0, b, case when %[2]d = 1 then 3 when b %% 2 = 0 then 1 else -1 end from %[1]s, generate_series(0, %[3]d) b
		order by 1, 2, 3, 4, 5`, groups, w.buckets, w.buckets-1),
		`select setval('awa.lane_seq', max(lane_seq)) from awa.done_entries`, `vacuum analyze`)
}

// live starts a daemon, waits until it trusts, and has it end: its checkpoint of all of it, which a graceful end
// waits for, belongs to the price.
func (d *base) live(ctx context.Context) (used, error) {
	u, _, err := d.alive(ctx)
	return u, err
}

// alive is live; the daemon that lived still has its log.
func (d *base) alive(ctx context.Context) (used, *running, error) {
	r, err := d.run(d.url(), []string{"GOMEMLIMIT=" + d.limit}, "--status-interval", "1s")
	if err != nil {
		return used{}, nil, err
	}
	defer r.Kill()
	wall, err := r.trusted(ctx)
	if err != nil {
		return used{}, nil, err
	}
	u, err := r.stop()
	u.wall = wall
	return u, r, err
}

// floor is what a Go program takes that reads the same slot and keeps nothing.
func (d *base) floor(ctx context.Context) (used, error) {
	own, err := d.slot(ctx)
	if err != nil {
		return used{}, err
	}
	if err := d.exec(ctx, fmt.Sprintf(`select pg_copy_logical_replication_slot('%s', '%s')`, own, loopSlot)); err != nil {
		return used{}, err
	}
	end, err := one[string](ctx, d.pool, `select pg_current_wal_flush_lsn()::text`)
	if err != nil {
		return used{}, err
	}
	return drained(d.loop(ctx, loopSlot, end))
}

func showSize(s *section, t *taken) {
	s.say("Every group is wrong when the daemon starts. The time runs from the start of its process to a trusted marker: the replication slot, a scan of every\n" +
		"slot, a correction of every group, and an audit. Then it ends, with a checkpoint of all groups, and is started again, and resumes from that.\n" +
		"The peer is a Go program that reads a copy of the slot and keeps nothing. GOMEMLIMIT is that of the unit in deploy/.")
	s.table("groups", "counter rows", "trusted after, s", "resumed and trusted, s", "processor time of the first, s", "peak memory, MB", "resumed, MB", "**peak memory ÷ the Go loop's**")
	memory := curve{label: "daemon"}
	floor := curve{label: "a Go program that keeps nothing", tone: 1, dashed: true}
	for _, c := range t.cases() {
		v := func(what string) spread { return t.spread(c, theDaemon, what) }
		s.row(v("groups").in(""), v("counter rows").in(""), v("trusted s").in(""), v("resumed s").in(""), v("cpu s").in(""), v("peak MB").in(""), v("resumed peak MB").in(""),
			bold(t.ratio(c, theDaemon, theLoop, "peak MB")))
		if v("counter rows").median == v("groups").median {
			memory.xs, memory.ys = append(memory.xs, v("groups").median), append(memory.ys, v("peak MB").median)
			floor.xs, floor.ys = append(floor.xs, v("groups").median), append(floor.ys, t.spread(c, theLoop, "peak MB").median)
		}
	}
	picture := curves{title: "Peak memory", x: "groups, one counter row each", y: "MB", lines: []curve{memory, floor}}
	s.picture(t.Part, "Peak memory by number of groups", picture.svg())
}

// printSize is the report of this part alone.
func printSize(t *taken) string {
	var s strings.Builder
	s.WriteString(head(t, "Benchmark: many groups", "bench"))
	s.WriteString("The ledger shape, every group wrong when the daemon starts. The time runs from the start of its process to a trusted marker:\n" +
		"connecting, the replication slot, a scan of every slot, a correction of every group, its echo, and an audit. Memory and processor time\n" +
		"are of the whole life of the process, which ends with a checkpoint of all groups.\n")
	fmt.Fprintf(&s, "%s; the unit in deploy/ sets one.\n", strings.Replace(t.Origin.Options, "=", " was ", 1))
	s.WriteString("\n| groups | counter rows | trusted after | peak memory | processor time |\n|---|---|---|---|---|\n")
	for _, c := range t.cases() {
		v := func(what string) float64 { return t.spread(c, theDaemon, what).median }
		fmt.Fprintf(&s, "| %.0f | %.0f | %.1f s | %.0f MB | %.1f s |\n", v("groups"), v("counter rows"), v("trusted s"), v("peak MB"), v("cpu s"))
	}
	return s.String()
}
