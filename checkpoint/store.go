package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// Identity is what a checkpoint was made against. Any difference means that the stream it belongs
// to is not the one at hand.
type Identity struct {
	Slot             string
	Publications     []uint32 // OIDs
	PublicationState string
	SystemIdentifier string
	Timeline         int32
	Relations        []uint32 // OIDs of awa's tables
	Shape            string   // what they mean
}

// Stored is a checkpoint as it was found.
type Stored struct {
	Identity
	Position  pglogrepl.LSN
	Groups    counter.Packed
	Unseen    []uint64
	Uncounted map[applier.Source]applier.Uncounted
	Pruned    time.Time     // when a pre-#290 leader emptied a ring slot last; zero for never
	Quiet     time.Duration // for so long, at least, old binaries had been quiet while a daemon watched
	Age       time.Duration
}

// Store reads and writes the checkpoint of one awa schema on behalf of one instance.
type Store struct {
	conn      Conn
	awaSchema string
	instance  string
	identity  Identity
	noted     int // uncounted writes stored since the oldest were taken away
}

// maxUncountedKept is how many queues and kinds of a schema are remembered across sessions. Queues come and go for months.
const maxUncountedKept = 5000

// NewStore makes a store that writes checkpoints under this identity.
func NewStore(c Conn, awaSchema, instance string, id Identity) *Store {
	return &Store{conn: c, awaSchema: awaSchema, instance: instance, identity: id, noted: maxUncountedKept} // the first one looks
}

// Load returns the checkpoint of a schema, or nil when there is none. Uncounted writes are kept
// even when the rest is worth nothing; see LoadUncounted.
func Load(ctx context.Context, c Conn, awaSchema string) (*Stored, error) {
	var s Stored
	var position string
	var unseen []int64
	var pruned *time.Time
	err := c.QueryRow(ctx, `
		select position::text, slot_name, publications, publication_state, system_identifier, timeline, relations, awa_shape, unseen_xids, last_old_prune_at,
		       extract(epoch from quiet_for)::float8 * 1e9, extract(epoch from clock_timestamp() - persisted_at)::float8 * 1e9
		from awa_counterd.checkpoint where awa_schema = $1 and position <> '`+notYet+`'`, awaSchema).
		Scan(&position, &s.Slot, &s.Publications, &s.PublicationState, &s.SystemIdentifier, &s.Timeline, &s.Relations, &s.Shape, &unseen, &pruned, (*nanoseconds)(&s.Quiet), (*nanoseconds)(&s.Age))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // no checkpoint is a state of its own, not an error
	}
	if err != nil {
		return nil, fmt.Errorf("load the checkpoint: %w", err)
	}
	if pruned != nil {
		s.Pruned = *pruned
	}
	if s.Position, err = pglogrepl.ParseLSN(position); err != nil {
		return nil, fmt.Errorf("load the checkpoint: %w", err)
	}
	for _, x := range unseen {
		s.Unseen = append(s.Unseen, uint64(x)) //nolint:gosec // stored from a uint64
	}
	if s.Groups, err = loadBooks(ctx, c, awaSchema); err != nil {
		return nil, err
	}
	if s.Uncounted, err = LoadUncounted(ctx, c, awaSchema); err != nil {
		return nil, err
	}
	return &s, nil
}

// SlotOfCheckpoint is the replication slot that the checkpoint of a schema belongs to: from there a daemon goes on. It may be
// one of another build, whose tables have another form. "" when there is none.
func SlotOfCheckpoint(ctx context.Context, c Conn, awaSchema string) (slot string, err error) {
	there, err := has(ctx, c, checkpointTable)
	if err != nil || !there {
		return "", err
	}
	err = c.QueryRow(ctx, `select slot_name from `+checkpointsOfAnyBuild+` k where awa_schema = $1 and position <> '`+notYet+`'`, awaSchema).Scan(&slot)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("look for a checkpoint: %w", err)
	}
	return slot, nil
}

// LoadUncounted returns the uncounted writes known of each queue.
func LoadUncounted(ctx context.Context, c Conn, awaSchema string) (map[applier.Source]applier.Uncounted, error) {
	rows, err := c.Query(ctx, `select queue, kind, rows_off, transactions, per_second, last_at, last_lsn::text
		from awa_counterd.uncounted_writes where awa_schema = $1 order by last_at desc limit $2`, awaSchema, maxUncountedKept)
	if err != nil {
		return nil, fmt.Errorf("load the uncounted writes: %w", err)
	}
	out := make(map[applier.Source]applier.Uncounted)
	var queue, kind, lsn string
	var u applier.Uncounted
	_, err = pgx.ForEachRow(rows, []any{&queue, &kind, &u.Rows, &u.Transactions, &u.PerSecond, &u.LastAt, &lsn}, func() error {
		at, err := pglogrepl.ParseLSN(lsn)
		u.LastLSN = at
		out[applier.Source{Queue: queue, Kind: applier.Kind(kind)}] = u
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("load the uncounted writes: %w", err)
	}
	return out, nil
}

// Forget drops the checkpoint: its stream is gone, and everything has to be scanned afresh. What is left says which replication slot
// and publications the daemon is about to work with (ReadMade). The uncounted writes stay; they are history.
func (s *Store) Forget(ctx context.Context) error {
	return s.fenced(ctx, "forget the checkpoint", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `delete from awa_counterd.checkpoint where awa_schema = $1`, s.awaSchema); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `delete from awa_counterd.books where awa_schema = $1`, s.awaSchema); err != nil {
			return err
		}
		return s.announce(ctx, tx)
	})
}

// Persist writes a checkpoint in one transaction. It returns ErrDeposed when another daemon leads.
func (s *Store) Persist(ctx context.Context, cp applier.Checkpoint) error {
	return s.fenced(ctx, "write the checkpoint", func(tx pgx.Tx) error {
		if err := s.position(ctx, tx, cp); err != nil {
			return err
		}
		if err := s.books(ctx, tx, cp.Groups); err != nil {
			return err
		}
		return s.uncounted(ctx, tx, cp.Uncounted)
	})
}

func (s *Store) fenced(ctx context.Context, doing string, f func(pgx.Tx) error) error {
	tx, err := s.conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	var leads bool
	// The position is acknowledged next, and then the server keeps no WAL before it: were the checkpoint not on
	// disk, a crash of the server would leave a replication slot past the checkpoint.
	if err := tx.QueryRow(ctx, `select set_config('synchronous_commit', 'local', true) is not null and `+Guard(1, 2), s.awaSchema, s.instance).Scan(&leads); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if !leads {
		return fmt.Errorf("%s: %w", doing, ErrDeposed)
	}
	if err := f(tx); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// position moves the checkpoint on from where this instance, or the one it resumed from, left it.
func (s *Store) position(ctx context.Context, tx pgx.Tx, cp applier.Checkpoint) error {
	unseen := make([]int64, 0, len(cp.Unseen))
	for _, x := range cp.Unseen {
		if x > math.MaxInt64 {
			return fmt.Errorf("transaction id %d is out of range", x)
		}
		unseen = append(unseen, int64(x))
	}
	args := []any{
		s.awaSchema, cp.Position.String(), s.instance, s.identity.Slot, s.identity.Publications, s.identity.SystemIdentifier,
		s.identity.Timeline, s.identity.Relations, int64(cp.Token), unseen, cp.Trusted, cp.Reason, pg.OrNull(cp.LastAudit), s.identity.PublicationState, //nolint:gosec // tokens count from 1
		pg.OrNull(cp.Pruned), s.identity.Shape, cp.Quiet,
	}
	if cp.Before == 0 {
		if err := s.withdraw(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			insert into awa_counterd.checkpoint (awa_schema, position, persisted_by, slot_name, publications, system_identifier,
				timeline, relations, last_token, unseen_xids, trusted, reason, last_audit_at, publication_state, last_old_prune_at, awa_shape, quiet_for)
			values ($1, $2::text::pg_lsn, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`, args...)
		return err
	}
	tag, err := tx.Exec(ctx, `
		update awa_counterd.checkpoint set position = $2::text::pg_lsn, persisted_at = now(), persisted_by = $3, slot_name = $4,
			publications = $5, system_identifier = $6, timeline = $7, relations = $8, last_token = $9,
			unseen_xids = $10, trusted = $11, reason = $12, last_audit_at = coalesce($13, last_audit_at),
			publication_state = $14, last_old_prune_at = coalesce($15, last_old_prune_at), awa_shape = $16, quiet_for = $17
		where awa_schema = $1 and position = $18::text::pg_lsn`, append(args, cp.Before.String())...)
	if err != nil {
		return err
	}
	if tag.RowsAffected() != 1 {
		return fmt.Errorf("the stored position is not %s any more: %w", cp.Before, ErrDeposed)
	}
	return nil
}

// uncounted stores each part in one statement, not in a pipeline of many: while the server waits for the rest of that, no timeout of its
// ends the transaction of a daemon that was stopped, and nobody else could lead.
func (s *Store) uncounted(ctx context.Context, tx pgx.Tx, sources map[applier.Source]applier.Uncounted) error {
	var c uncountedColumns
	for source, u := range sources {
		if c.add(source, u); len(c.queues) == groupsPerStatement {
			if err := s.keepUncounted(ctx, tx, &c); err != nil {
				return err
			}
			c = uncountedColumns{}
		}
	}
	if err := s.keepUncounted(ctx, tx, &c); err != nil {
		return err
	}
	if s.noted += len(sources); s.noted <= maxUncountedKept {
		return nil
	}
	s.noted = 0
	_, err := tx.Exec(ctx, `
		delete from awa_counterd.uncounted_writes u using (
			select queue, kind from awa_counterd.uncounted_writes where awa_schema = $1 order by last_at desc offset $2) old
		where u.awa_schema = $1 and u.queue = old.queue and u.kind = old.kind`, s.awaSchema, maxUncountedKept)
	return err
}

func (s *Store) keepUncounted(ctx context.Context, tx pgx.Tx, c *uncountedColumns) error {
	if len(c.queues) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `
		insert into awa_counterd.uncounted_writes (awa_schema, queue, kind, rows_off, transactions, last_at, last_lsn, per_second)
		select $1, queue, kind, rows_off, transactions, last_at, last_lsn::pg_lsn, per_second
		from unnest($2::text[], $3::text[], $4::int8[], $5::int8[], $6::timestamptz[], $7::text[], $8::float8[])
			as d(queue, kind, rows_off, transactions, last_at, last_lsn, per_second)
		on conflict (awa_schema, queue, kind) do update set rows_off = excluded.rows_off, transactions = excluded.transactions,
			last_at = excluded.last_at, last_lsn = excluded.last_lsn, per_second = excluded.per_second`,
		s.awaSchema, c.queues, c.kinds, c.rows, c.transactions, c.lastAt, c.lastLSN, c.perSecond)
	return err
}

// uncountedColumns are uncounted writes as arrays, one a column.
type uncountedColumns struct {
	queues, kinds      []string
	rows, transactions []int64
	lastAt             []time.Time
	lastLSN            []string
	perSecond          []float64
}

func (c *uncountedColumns) add(source applier.Source, u applier.Uncounted) {
	c.queues, c.kinds = append(c.queues, source.Queue), append(c.kinds, string(source.Kind))
	c.rows, c.transactions = append(c.rows, u.Rows), append(c.transactions, u.Transactions)
	c.lastAt, c.lastLSN, c.perSecond = append(c.lastAt, u.LastAt), append(c.lastLSN, u.LastLSN.String()), append(c.perSecond, u.PerSecond)
}
