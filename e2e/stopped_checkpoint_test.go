package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/e2e/proxy"
	"github.com/awa-counterd/awa-counterd/internal/base/counter"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// A leader is stopped (SIGSTOP) in the middle of writing its checkpoint, in a transaction that keeps it leading. The server ends that
// before a standby takes the lead, so that one waits no longer than for any other leader that hangs.
func TestStoppedInItsCheckpoint(t *testing.T) {
	t.Parallel()
	e := newEnvOn(t, ownServer(t), fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	leader := e.daemon("--checkpoint-interval", "200ms")
	e.marker(true, 20*time.Second)
	standby := e.daemon("--checkpoint-interval", "200ms")
	standby.logged("standing by", 10*time.Second)
	ctx, cancel := contextWithin(20 * time.Second)
	defer cancel()
	tx, err := e.connect().Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `lock table awa_counterd.books in access exclusive mode`)
	require.NoError(t, err)
	e.insertAt(1, "q", 5, false)
	const writes = `select count(*) from pg_stat_activity where datname = current_database() and application_name = 'awa-counterd checkpoint' and `
	e.until(ctx, func() bool { return e.scalar(writes+`wait_event_type = 'Lock'`) == 1 }, func() string { return "no checkpoint is written" })
	leader.signal(stopped)
	t.Cleanup(func() { leader.signal(resumed) })
	began := time.Now()
	require.NoError(t, tx.Rollback(t.Context()))
	e.until(ctx, func() bool { return e.scalar(writes+`state = 'idle in transaction'`) == 1 }, func() string { return "it does not hold the lead" })
	e.insertAt(1, "q", 7, false)
	e.marker(false, 8*time.Second)
	e.until(ctx, func() bool { return e.scalar(writes+`true`) == 0 }, func() string { return "the transaction stays" })
	t.Logf("the transaction stood for %s", time.Since(began).Round(time.Second))
	standby.logged("leading", 25*time.Second)
	t.Logf("the standby led after %s", time.Since(began).Round(time.Second))
	e.balanced(5 * time.Second)
	e.marker(true, 20*time.Second)
	leader.signal(resumed)
	leader.logged("standing by", 20*time.Second)
	e.insertAt(1, "q", 3, false)
	e.balanced(5 * time.Second)
}

// stalling is what stores checkpoints through a proxy, which can leave the server with a part of what it is sent.
type stalling struct {
	*env
	proxy *proxy.Proxy
	store *checkpoint.Store
}

func newStalling(t *testing.T) *stalling {
	t.Helper()
	e := newEnvOn(t, ownServer(t), fleet.Layout{Slots: 4})
	e.writer("one")
	p, err := proxy.New(e.server.Address())
	require.NoError(t, err)
	t.Cleanup(p.Close)
	src, err := pg.ParseSource(fmt.Sprintf("postgres://postgres@%s/%s", p.Addr(), e.db))
	require.NoError(t, err)
	conn, err := src.Connect(t.Context(), pg.Settings{Role: "checkpoint", Async: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.PgConn().Conn().Close() })
	return &stalling{e, p, checkpoint.NewStore(conn, "awa", "one", checkpoint.Identity{Slot: "s", Publications: []uint32{1}, Relations: []uint32{1}})}
}

// stalls stores a checkpoint, of which the server has everything up to at and never gets the rest. Another one leads all the same.
func (s *stalling) stalls(cp applier.Checkpoint, at int) {
	s.t.Helper()
	s.proxy.InterruptAt(at, func() bool { s.proxy.HalfOpen(); return true })
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	hung := make(chan error, 1)
	go func() { hung <- s.store.Persist(ctx, cp) }()
	within, done := contextWithin(20 * time.Second)
	defer done()
	const holds = `select count(*) from pg_stat_activity where application_name = 'awa-counterd checkpoint' and wait_event = 'ClientRead' and backend_xid is not null
		and state_change < clock_timestamp() - interval '1 s'`
	s.until(within, func() bool { return s.scalar(holds) == 1 }, func() string { return "it does not hold the lead" })
	claims, over := contextWithin(15 * time.Second)
	defer over()
	began := time.Now()
	require.NoError(s.t, checkpoint.Claim(claims, s.connect(), "awa", checkpoint.Leader{Instance: "two"}))
	s.t.Logf("the next one led after %s", time.Since(began).Round(time.Second))
	cancel()
	require.Error(s.t, <-hung)
}

// The same in the middle of what it has to say of very many queues: the server has a part of it, and waits for the rest.
func TestStoppedWhileItStoresUncountedWrites(t *testing.T) {
	t.Parallel()
	s := newStalling(t)
	at := pglogrepl.LSN(0)
	of := func(queues int) applier.Checkpoint {
		cp := applier.Checkpoint{Before: at, Position: at + 1000, Uncounted: make(map[applier.Source]applier.Uncounted)}
		for q := range queues {
			cp.Uncounted[applier.Source{Queue: fmt.Sprintf("q%0200d", q), Kind: applier.KindRows}] = applier.Uncounted{Rows: 1, LastAt: time.Now()}
		}
		at = cp.Position
		return cp
	}
	for range 8 { // statements are prepared
		require.NoError(t, s.store.Persist(t.Context(), of(1)))
	}
	before := s.proxy.Said()
	require.NoError(t, s.store.Persist(t.Context(), of(0)))
	s.stalls(of(4000), s.proxy.Said()+(s.proxy.Said()-before)+1) // all but the commit, and a part of the rest
}

// And in the middle of its first books, of very many groups.
func TestStoppedWhileItStoresItsFirstBooks(t *testing.T) {
	t.Parallel()
	s := newStalling(t)
	cp := applier.Checkpoint{Position: 1000}
	for i := range 30_000 {
		cp.Groups.Add(&counter.GroupCell{Group: counter.Group{Slot: 1, Queue: fmt.Sprintf("queue %d", i)}, Cell: counter.NewCell(5, 0, counter.Bucket{Value: 5})})
	}
	s.stalls(cp, s.proxy.Said()+25)
}
