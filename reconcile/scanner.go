package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return applier.Scan{}, fmt.Errorf("scan ring slot %d: %w", unit, err)
	}
	defer conn.Release()
	// The extended protocol without a named statement: the plan, and with it the locks, are made
	// again each time, before the statement's snapshot. pgx asks for text in this mode, whatever it is told.
	if err := collect(conn.Conn().PgConn().ExecParams(ctx, sql, nil, nil, nil, []int16{pgx.BinaryFormatCode}), &out); err != nil {
		return applier.Scan{}, fmt.Errorf("scan ring slot %d: %w", unit, err)
	}
	var bound string
	if err := conn.QueryRow(ctx, `select pg_current_wal_insert_lsn()::text`).Scan(&bound); err != nil {
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

// result is what a scan yields, in the binary format.
type result interface {
	NextRow() bool
	Values() [][]byte
	Close() (pgconn.CommandTag, error)
}

// collect puts a scan's rows together: see awa.Layout.ScanLeaf. There may be a million of them, so they are read where they lie.
func collect(rows result, out *applier.Scan) error {
	err := read(rows, out)
	if _, closed := rows.Close(); closed != nil {
		err = closed
	}
	if err == nil && out.Snapshot.IsZero() {
		err = errors.New("the snapshot is missing")
	}
	return err
}

func read(rows result, out *applier.Scan) (err error) {
	out.Groups = counter.NewTable(counter.NewNames(), 0)
	for rows.NextRow() {
		v := rows.Values()
		switch {
		case len(v) != scannedColumns:
			err = fmt.Errorf("%d columns, %d expected", len(v), scannedColumns)
		case v[8] != nil:
			out.Snapshot, err = pgsnap.Parse(string(v[8]))
		default:
			err = take(v, out.Groups)
		}
		if err != nil {
			return err
		}
	}
	for id := range out.Groups.All() { // changes that are pending may come to nothing
		if out.Groups.At(id).Empty() {
			out.Groups.Remove(id)
		}
	}
	return nil
}

const scannedColumns = 9

// take adds a row of a scan to its group.
func take(v [][]byte, groups *counter.Table) error {
	var n [scannedColumns]int64
	for i := range n[:8] {
		if i == 1 || v[i] == nil {
			continue
		}
		var ok bool
		if n[i], ok = pg.Int(v[i]); !ok {
			return fmt.Errorf("column %d has %d bytes, and is no number", i+1, len(v[i]))
		}
	}
	if v[0] == nil || v[1] == nil || v[2] == nil || v[3] == nil || (v[6] == nil) != (v[7] == nil) {
		return errors.New("a row of no group, or of half a counter row")
	}
	id := groups.PutRead(v[1], int32(n[0]), int16(n[2]), int16(n[3])) //nolint:gosec // of these types
	e := groups.At(id)
	e.Rows += n[4]
	e.Pending += n[5]
	if v[6] != nil {
		groups.SetBucket(id, int16(n[6]), n[7]) //nolint:gosec // the same
	}
	return nil
}
