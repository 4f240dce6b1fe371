package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// Part wal: the WAL of the daemon's checkpoints and of its corrections, against that of the row changes they are for, with
// counter rows in 256 buckets a group. pg_waldump tells which relation each record is of.

func walPart() part {
	return part{name: "wal", title: "WAL", rounds: 3, about: 5 * time.Minute, begin: beginWAL, show: showWAL}
}

const (
	walChanges = 1_000_000
	walTicks   = 60 // a second each: so many folds, and twelve checkpoints
	walQueues  = 15 // of four priorities, in 16 slots: 960 groups
)

// The classes that WAL is sorted into.
const (
	classRows       = "rows and ledger"    // what a change costs without us
	classCounters   = "awa's counter rows" // by folds and by our corrections
	classCheckpoint = "checkpoint"
	classOther      = "other"
)

func beginWAL(ctx context.Context, b *bed) (round, error) {
	err := b.start(ctx, map[string]string{"max_wal_size": "16GB", "checkpoint_timeout": "1h", "full_page_writes": "on", "wal_keep_size": "16GB", "autovacuum": "off"})
	if err != nil {
		return nil, err
	}
	return b.wal, nil
}

func (b *bed) wal(ctx context.Context, _ int, p *roundResult) (err error) {
	d, err := b.base(ctx, "", fleet.Ledger, 4)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.drop(context.WithoutCancel(ctx))) }()
	w := world{queues: b.scaled(walQueues, 1), priorities: 4, buckets: 256}
	if err := d.populate(ctx, w); err != nil {
		return err
	}
	r, err := d.run(d.url(), nil)
	if err != nil {
		return err
	}
	defer r.Kill()
	if _, err := r.trusted(ctx); err != nil {
		return err
	}
	if err := d.righted(ctx); err != nil {
		return err
	}
	if err := d.exec(ctx, `checkpoint`); err != nil { // the first touch of each page after it is a whole page
		return err
	}
	from, err := one[string](ctx, d.pool, `select pg_current_wal_insert_lsn()::text`)
	if err != nil {
		return err
	}
	classes := make(map[string]string)
	changes, folds, err := d.churn(ctx, w, classes)
	if err != nil {
		return err
	}
	if err := d.righted(ctx); err != nil {
		return err
	}
	if _, err := r.stop(); err != nil {
		return err
	}
	to, err := one[string](ctx, d.pool, `select pg_current_wal_flush_lsn()::text`)
	if err != nil {
		return err
	}
	if err := d.classes(ctx, classes); err != nil {
		return err
	}
	sums, err := d.waldump(ctx, from, to, classes)
	if err != nil {
		return err
	}
	millions := float64(changes) / 1e6
	p.note("", "", "changes", float64(changes))
	p.note("", "", "folds", float64(folds))
	for class, size := range sums {
		p.note("", class, "kB/1M", float64(size.whole)/1024/millions)
		p.note("", class, "kB/1M without page images", float64(size.whole-size.images)/1024/millions)
	}
	b.tell("%d row changes and %d folds of 256 buckets: %.1f MB of their own WAL, %.2f MB of checkpoints", changes, folds,
		float64(sums[classRows].whole)/(1<<20), float64(sums[classCheckpoint].whole)/(1<<20))
	return nil
}

// churn changes rows, half of them counted by jobs of all buckets, and folds the ledger, in turn: one second each.
func (d *base) churn(ctx context.Context, w world, classes map[string]string) (changes, folds int, err error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	ticks := d.scaled(walTicks, 6)
	leader := d.Writer(true)
	leader.Silent = true
	for range ticks {
		n := d.scaled(walChanges, 6000) / ticks / 3 // two rows, one of them counted: three changes
		const insert = `insert into awa.done_entries (ready_slot, ready_generation, job_id, kind, queue, state, priority, attempt, run_lease, lane_seq, attempted_at)
			select s, r.generation, nextval('awa.job_id_seq'), 'job', 'queue-' || q, 'completed', p, 1, 1, nextval('awa.lane_seq'), now()
			from (select floor(random() * %[2]d)::int as s, 1 + floor(random() * %[3]d)::int as q, (1 + floor(random() * %[4]d))::int2 as p from generate_series(1, %[1]d)) g
			join awa.queue_ring_slots r on r.slot = g.s`
		uncounted := fmt.Sprintf(insert, n, ringSlots, w.queues, w.priorities)
		counted := `with made as (` + uncounted + ` returning ready_slot, ready_generation, queue, priority, job_id)
			insert into awa.queue_terminal_count_deltas (ready_slot, ready_generation, queue, priority, enqueue_shard, counter_bucket, terminal_delta)
			select ready_slot, ready_generation, queue, priority, 0, mod(job_id, 256), count(*) from made group by 1, 2, 3, 4, 6`
		if err := d.exec(ctx, uncounted, counted); err != nil {
			return 0, 0, err
		}
		changes += 3 * n
		if err := d.classes(ctx, classes); err != nil { // a fold truncates, and a truncated table goes on in another file
			return 0, 0, err
		}
		slots, err := leader.FoldCandidates(ctx, d.pool)
		if err != nil {
			return 0, 0, err
		}
		for _, slot := range slots {
			err := fleet.Do(ctx, d.pool, func(tx pgx.Tx) error {
				got, err := leader.Fold(ctx, tx, slot)
				if got == fleet.Folded {
					folds++
				}
				return err
			})
			if err != nil && !errors.Is(err, fleet.ErrBlocked) {
				return 0, 0, err
			}
		}
		select {
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		case <-tick.C:
		}
	}
	return changes, folds, nil
}

// size is how much WAL, and how much of it images of whole pages.
type size struct{ whole, images int64 }

// waldump sums up the WAL of a stretch by class.
func (d *base) waldump(ctx context.Context, from, to string, classes map[string]string) (map[string]size, error) {
	cmd := d.cluster.Command(ctx, "pg_waldump", "--path", filepath.Join(d.cluster.Data(), "pg_wal"), "--start", from, "--end", to)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	sums, err := sortWAL(out, classes)
	if waited := cmd.Wait(); waited != nil {
		return nil, fmt.Errorf("pg_waldump: %w: %s", waited, said.String())
	}
	return sums, err
}

// classes notes what each file of this database belongs to, by "database/filenode".
func (d *base) classes(ctx context.Context, all map[string]string) error {
	rows, err := d.pool.Query(ctx, `
		with t as (
			select c.oid, c.reltoastrelid, case
				when n.nspname = 'awa_counterd' then $1
				when n.nspname = 'awa' and c.relname = 'queue_terminal_live_counts' then $2
				else $3 end as class
			from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname in ('awa', 'awa_counterd') and c.relkind in ('r', 'S')),
		wide as (select oid, class from t union all select reltoastrelid, class from t where reltoastrelid <> 0),
		whole as (select oid, class from wide union all select i.indexrelid, w.class from wide w join pg_index i on i.indrelid = w.oid)
		select (select oid::text from pg_database where datname = current_database()) || '/' || pg_relation_filenode(oid)::text, class from whole`,
		classCheckpoint, classCounters, classRows)
	if err != nil {
		return err
	}
	var file, class string
	_, err = pgx.ForEachRow(rows, []any{&file, &class}, func() error { all[file] = class; return nil })
	return err
}

var (
	lengths  = regexp.MustCompile(`len \(rec/tot\):\s*(\d+)/\s*(\d+), tx:\s*(\d+)`)
	blockRef = regexp.MustCompile(`blkref #\d+: rel \d+/(\d+/\d+)`)
)

// sortWAL reads what pg_waldump prints. A record without a block (a commit, say) goes to the class of its
// transaction's last record with one; images of pages are what a record has beyond its own length.
func sortWAL(dump io.Reader, classes map[string]string) (map[string]size, error) {
	sums := make(map[string]size)
	of := make(map[string]string) // class by transaction
	lines := bufio.NewScanner(dump)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m := lengths.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		own, err1 := strconv.ParseInt(m[1], 10, 64)
		whole, err2 := strconv.ParseInt(m[2], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		class := classOther
		if ref := blockRef.FindStringSubmatch(lines.Text()); ref != nil {
			if known := classes[ref[1]]; known != "" {
				class = known
				of[m[3]] = class
			}
		} else if known := of[m[3]]; known != "" && m[3] != "0" {
			class = known
		}
		s := sums[class]
		s.whole += whole
		s.images += whole - own
		sums[class] = s
	}
	return sums, lines.Err()
}

func showWAL(s *section, t *taken) {
	s.say("%s row changes in %s folds: half of the rows are counted, by jobs of all 256 buckets, and a leader folds the ledger every second; the daemon corrects the other half, and\n"+
		"checkpoints as it does by default. The checkpoint is what the daemon writes into its own tables, its heartbeats in them too. Whole pages are written after a checkpoint of the server (full_page_writes).",
		t.spread("", "", "changes").in(""), t.spread("", "", "folds").in(""))
	s.table("WAL of", "kB for 1,000,000 changes", "without images of pages, kB", "**÷ the change's own**", "**the same, without images**")
	for _, class := range []string{classRows, classCounters, classCheckpoint, classOther} {
		const whole, slim = "kB/1M", "kB/1M without page images"
		ratio := func(what string) spread {
			return over(ratios(t.values("", class, what), t.values("", classRows, what)))
		}
		s.row(class, t.spread("", class, whole).in(""), t.spread("", class, slim).in(""), bold(ratio(whole)), bold(ratio(slim)))
	}
}
