package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrRollback makes Do roll the transaction back, on purpose.
var ErrRollback = errors.New("rolled back on purpose")

// Do runs one operation as one READ COMMITTED transaction.
func Do(ctx context.Context, pool *pgxpool.Pool, f func(pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, pool, f)
	if errors.Is(err, ErrRollback) {
		return nil
	}
	return err
}

// Config of a running fleet.
type Config struct {
	Schema  string
	Shape   string // Direct if empty
	Release string // of the new binaries, on the ledger; Latest if empty
	Slots   int
	Queues  []string
	Seed    uint64
	Pre     int           // pre-#290 workers
	Post    int           // post-#290 workers
	Pause   time.Duration // between two operations of a worker; 0 for full speed
	// PreQueues, when given, are the only queues that pre-#290 workers still write.
	PreQueues []string
	// Prune is the time between two ticks of the leader: one rotate and one prune. 0 for none.
	Prune time.Duration
	// OldLeads is the share of these ticks at which an old binary leads; 0 for half of them, below 0 for none.
	OldLeads float64
	// Retain has new leaders carry failed rows on that are younger; 0 for none. The ledger from 0.6.0 on.
	Retain time.Duration
	// Fold is the time between two ticks of a new leader that folds the ledger; 0 for none.
	Fold time.Duration
	// Chaos mixes in rebuilds and poisoned counters, about one every so often. 0 for none.
	Chaos time.Duration
	// Tolerate reports that errors of this moment are a fault's doing, and would be there without a
	// daemon; nil for never.
	Tolerate func() bool
}

// Fleet is a set of workers and leaders that write until they are stopped.
type Fleet struct {
	cfg    Config
	pool   *pgxpool.Pool
	cancel context.CancelFunc
	wg     sync.WaitGroup
	Ops    atomic.Int64
	Rows   atomic.Int64
	Prunes atomic.Int64
	Blocks atomic.Int64 // prunes and rotations that gave up on a lock
	Failed atomic.Int64 // of these, prunes that met a locked counter row at their end: awa calls that a failure

	Folds        atomic.Int64 // slots
	Skipped      atomic.Int64 // ticks at which folding stood down, because somebody held a snapshot
	FoldsBlocked atomic.Int64 // slots that a lock kept from being folded

	Tolerated atomic.Int64 // errors that a fault explains

	mu     sync.Mutex
	errors map[string]int
}

// Start begins to write.
func Start(ctx context.Context, url string, cfg Config) (*Fleet, error) {
	pc, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	pc.MaxConns = int32(cfg.Pre + cfg.Post + 4)
	ctx, cancel := context.WithCancel(ctx)
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		cancel()
		return nil, err
	}
	f := &Fleet{cfg: cfg, pool: pool, cancel: cancel, errors: make(map[string]int)}
	for i := range cfg.Pre + cfg.Post {
		w := cfg.writer(i >= cfg.Pre)
		p := Pick{Rand: rand.New(rand.NewPCG(cfg.Seed, uint64(i))), Queues: cfg.Queues, Slots: cfg.Slots}
		if !w.Counted && len(cfg.PreQueues) > 0 {
			p.Queues = cfg.PreQueues
		}
		f.every(ctx, cfg.Pause, func() { f.work(ctx, w, p) })
	}
	leader := rand.New(rand.NewPCG(cfg.Seed, 1<<32))
	if cfg.Prune > 0 {
		f.every(ctx, cfg.Prune, func() { f.lead(ctx, leader) })
	}
	if cfg.Fold > 0 && cfg.writer(true).form().ledger() {
		f.every(ctx, cfg.Fold, func() { f.fold(ctx) })
	}
	if cfg.Chaos > 0 {
		chaos := Pick{Rand: rand.New(rand.NewPCG(cfg.Seed, 1<<33)), Queues: cfg.Queues, Slots: cfg.Slots}
		f.every(ctx, cfg.Chaos, func() { f.disturb(ctx, chaos) })
	}
	return f, nil
}

func (c Config) writer(counted bool) Writer {
	return Writer{Schema: c.Schema, Shape: c.Shape, Release: c.Release, Counted: counted, Retain: c.Retain}
}

func (f *Fleet) every(ctx context.Context, pause time.Duration, do func()) {
	f.wg.Go(func() {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		for ctx.Err() == nil {
			do()
			if pause == 0 {
				continue
			}
			timer.Reset(pause)
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
		}
	})
}

// Stop ends all writers; what they had under way is rolled back or committed, not left open.
func (f *Fleet) Stop() {
	f.cancel()
	f.wg.Wait()
	f.pool.Close()
}

// Errors lists what writers saw that they should not have; a prune that gave up is no error.
func (f *Fleet) Errors() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[string]int, len(f.errors))
	maps.Copy(out, f.errors)
	return out
}

func (f *Fleet) note(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	if f.cfg.Tolerate != nil && f.cfg.Tolerate() {
		f.Tolerated.Add(1)
		return
	}
	text := err.Error()
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		doing, _, _ := strings.Cut(text, e.Severity+":")
		text = doing + e.Code + " " + e.Message
		if e.Code == "40P01" && (f.cfg.Post > 1 || f.cfg.Chaos > 0) {
			// Two writers of awa's own, in an order of their own; or awa's rebuild, which is meant for a quiesced fleet.
			return
		}
	}
	f.mu.Lock()
	f.errors[text]++
	f.mu.Unlock()
}

func (f *Fleet) work(ctx context.Context, w Writer, p Pick) {
	op := draw(Ops(), p.Rand)
	err := Do(ctx, f.pool, func(tx pgx.Tx) error { return op.Run(ctx, tx, w, p) })
	if err != nil {
		f.note(ctx, fmt.Errorf("%s: %w", op.Name, err))
		return
	}
	f.Ops.Add(1)
}

func draw(ops []Op, r *rand.Rand) Op {
	total := 0
	for _, o := range ops {
		total += o.Weight
	}
	n := r.IntN(total)
	for _, o := range ops {
		if n -= o.Weight; n < 0 {
			return o
		}
	}
	return ops[0]
}
