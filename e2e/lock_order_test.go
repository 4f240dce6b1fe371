package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/reconcile"
)

// What a scan and the one-shot lock of ring slot 1, in awa's order (docs/design.md §4, §12): its leaders and its rebuild
// take these one after the other, and who takes two of them the other way round is in a deadlock with them some day. In each
// step another session holds the one that is next; whoever waits for it has exactly those that come before.
func TestLocksAreTakenInAwasOrder(t *testing.T) {
	t.Parallel()
	const (
		rebuild  = "advisory" // the lock that one rebuild keeps the next one out with
		leaf     = "done_entries_1"
		ledger   = "queue_terminal_count_deltas_1"
		counters = "queue_terminal_live_counts"
	)
	own := ownServer(t)
	for _, c := range []struct {
		name, shape string
		order       []string
		writes      bool // counter rows, in the end
		session     pg.Role
		run         func(ctx context.Context, one *reconcile.OneShot, scanner *reconcile.Scanner, leaf awa.Leaf) error
	}{
		{"a scan", fleet.Ledger, []string{leaf, ledger, counters}, false, "scan", scanOnce},
		{"a scan where there is no ledger", fleet.Direct, []string{leaf, counters}, false, "scan", scanOnce},
		{"the one-shot beside a daemon", fleet.Ledger, []string{rebuild, leaf, ledger, counters}, true, "reconcile", redistributeOnce(false)},
		{"the one-shot alone", fleet.Ledger, []string{rebuild, leaf, ledger, counters}, true, "reconcile", redistributeOnce(true)},
	} {
		e := newEnvOn(t, own, fleet.Layout{Shape: c.shape, Slots: 4})
		conn := e.connect()
		l, err := awa.Discover(t.Context(), conn, "awa")
		require.NoError(t, err)
		at := slices.IndexFunc(l.Leaves, func(leaf awa.Leaf) bool { return leaf.Slot == 1 })
		require.True(t, l.Leaves[at].Readable)
		source, err := pg.ParseSource(e.url())
		require.NoError(t, err)
		one, err := reconcile.NewOneShot(t.Context(), source, l)
		require.NoError(t, err)
		t.Cleanup(one.Close)
		scanner, err := reconcile.NewScanner(t.Context(), source, l, 1, reconcile.ScanTimeout)
		require.NoError(t, err)
		t.Cleanup(scanner.Close)

		step := func(name, next, lock string, before []string) {
			t.Run(c.name+" waits for "+name, func(t *testing.T) {
				e := *e
				e.t = t
				e.insertAt(1, "q", 5, false) // something to correct
				if c.writes {                // and to drop
					e.do(true, func(tx pgx.Tx, w fleet.Writer) error {
						return w.LateDelta(t.Context(), tx, fleet.Key{Slot: 1, Queue: "q", Priority: 1}, 2)
					})
				}
				tx, err := conn.Begin(t.Context())
				require.NoError(t, err)
				defer func() { _ = tx.Rollback(context.Background()) }()
				_, err = tx.Exec(t.Context(), lock)
				require.NoError(t, err)
				done := make(chan error, 1)
				go func() { done <- c.run(t.Context(), one, scanner, l.Leaves[at]) }()
				held := e.heldWaitingFor(c.session, next)
				require.NoError(t, tx.Rollback(t.Context()))
				require.NoError(t, <-done)
				require.Equal(t, before, held, "held by %s while it waited for %s", c.name, next)
			})
		}
		for i, next := range c.order {
			lock := fmt.Sprintf("lock table awa.%s in access exclusive mode", next)
			if next == rebuild {
				lock = fmt.Sprintf("select pg_advisory_xact_lock(hashtextextended('%s', 0))", l.Schema.RebuildLock())
			}
			step(next, next, lock, c.order[:i])
		}
		if c.writes { // they were read before: the lock for that does not come in the way of this one
			step("counters to write to", counters, "lock table awa."+counters+" in share mode", c.order)
		}
	}
}

func scanOnce(ctx context.Context, _ *reconcile.OneShot, scanner *reconcile.Scanner, leaf awa.Leaf) error {
	for {
		if _, err := scanner.Scan(ctx, leaf.Slot); !pg.IsBusy(err) {
			return err
		}
	}
}

func redistributeOnce(alone bool) func(context.Context, *reconcile.OneShot, *reconcile.Scanner, awa.Leaf) error {
	return func(ctx context.Context, one *reconcile.OneShot, _ *reconcile.Scanner, leaf awa.Leaf) error {
		one.Alone = alone
		_, err := one.Redistribute(ctx, leaf)
		return err
	}
}

// heldWaitingFor waits until a session waits for a lock of a table, or an advisory one, and returns which it holds, by
// name. Ring and indexes are left out. Two looks must agree: locks that no other session is interested in are not looked at in the same
// moment as the others.
func (e *env) heldWaitingFor(role pg.Role, next string) (held []string) {
	e.t.Helper()
	ctx, cancel := contextWithin(20 * time.Second)
	defer cancel()
	var before []string
	var waited, waits bool
	e.until(ctx, func() bool {
		before, waited = held, waits
		held = nil
		require.NoError(e.t, e.pool.QueryRow(ctx, `
			select coalesce(array_agg(distinct name order by name) filter (where granted), '{}'), coalesce(bool_or(not granted and name = $2), false)
			from (select coalesce(c.relname::text, l.locktype) as name, l.granted
			      from pg_locks l join pg_stat_activity a using (pid) left join pg_class c on c.oid = l.relation and c.relnamespace = 'awa'::regnamespace
			      where a.datname = current_database() and a.application_name = $1
			      and (l.locktype = 'advisory' or c.relkind in ('r', 'p') and c.relname not like 'queue\_ring%')) x`,
			pg.ApplicationName(role), next).Scan(&held, &waits))
		return waits && waited && slices.Equal(held, before)
	}, func() string { return fmt.Sprintf("nobody waits for %s; held: %v", next, held) })
	return held
}
