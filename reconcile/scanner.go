package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/base/pgsnap"
)

// scanLockWait bounds how long a scan waits for a lock: less than deadlock_timeout (1 s), so that no
// rebuild or migration of awa's is ever the victim of a deadlock with us. A scan that gave up is tried again.
const scanLockWait = 500 * time.Millisecond

// ScanTimeout bounds a scan: far longer than one that can be taken in, but not for ever.
const ScanTimeout = 15 * time.Minute

// answerWithin is how much longer this process's own clock waits: behind a half-open connection no timeout of the server's
// is ever heard of.
const answerWithin = pg.AnswerWithin

// Scanner runs fenced scans, each on a connection of its own.
type Scanner struct {
	pool   *pgxpool.Pool
	layout *awa.Layout
	within time.Duration
}

// NewScanner makes a scanner with at most `most` scans at a time, each bounded by within. It connects when it is
// first used.
func NewScanner(ctx context.Context, src *pg.Source, layout *awa.Layout, most int32, within time.Duration) (*Scanner, error) {
	pool, err := src.OnDemand(ctx, pg.Settings{Role: "scan", LockTimeout: scanLockWait, StatementTimeout: within}, most)
	if err != nil {
		return nil, err
	}
	return &Scanner{pool: pool, layout: layout, within: within}, nil
}

// Close ends the scanner's connections. It waits for scans under way, so cancel them first.
func (s *Scanner) Close() { s.pool.Close() }

// Scan reads one unit: the leaf of a ring slot, or applier.NoLeaf.
func (s *Scanner) Scan(ctx context.Context, unit int32) (applier.Scan, error) {
	sql, err := s.statement(unit)
	if err != nil {
		return applier.Scan{}, err
	}
	out := applier.Scan{Unit: unit}
	ctx, cancel := context.WithTimeout(ctx, s.within+min(s.within, answerWithin))
	defer cancel()
	// The extended protocol without a named statement: the plan, and with it the locks, are made
	// again each time, before the statement's snapshot.
	rows, err := s.pool.Query(ctx, sql, pgx.QueryExecModeExec)
	if err != nil {
		return applier.Scan{}, fmt.Errorf("scan ring slot %d: %w", unit, err)
	}
	if err := collect(rows, &out); err != nil {
		return applier.Scan{}, fmt.Errorf("scan ring slot %d: %w", unit, err)
	}
	var bound string
	if err := s.pool.QueryRow(ctx, `select pg_current_wal_insert_lsn()::text`).Scan(&bound); err != nil {
		return applier.Scan{}, fmt.Errorf("scan ring slot %d: bound: %w", unit, err)
	}
	if out.Bound, err = pglogrepl.ParseLSN(bound); err != nil {
		return applier.Scan{}, fmt.Errorf("scan ring slot %d: bound: %w", unit, err)
	}
	return out, nil
}

func (s *Scanner) statement(unit int32) (string, error) {
	if unit == applier.NoLeaf {
		return s.layout.ScanWithoutLeaf(), nil
	}
	for _, leaf := range s.layout.Leaves {
		if leaf.Slot == unit {
			return s.layout.ScanLeaf(leaf), nil
		}
	}
	return "", fmt.Errorf("scan ring slot %d: no leaf has it", unit)
}

func collect(rows pgx.Rows, out *applier.Scan) error {
	var slot *int32
	var queue, snapshot *string
	var priority, shard *int16
	var n, pending *int64
	var ids []int16
	var counts []int64
	seen := false
	names := make(counter.Interner)
	_, err := pgx.ForEachRow(rows, []any{&slot, &queue, &priority, &shard, &n, &pending, &ids, &counts, &snapshot}, func() error {
		if snapshot != nil {
			var err error
			out.Snapshot, err = pgsnap.Parse(*snapshot)
			seen = true
			return err
		}
		buckets, err := counter.Buckets(ids, counts)
		h := counter.GroupCell{
			Group: counter.Group{Slot: *slot, Queue: names.Intern(*queue), Priority: *priority, Shard: *shard},
			Cell:  counter.NewCell(*n, *pending, buckets...),
		}
		if !h.Empty() { // changes that are pending may come to nothing
			out.Groups = append(out.Groups, h)
		}
		return err
	})
	if err == nil && !seen {
		err = errors.New("the snapshot is missing")
	}
	return err
}
