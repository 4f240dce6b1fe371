package daemon

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pgsnap"
	"github.com/awa-counterd/awa-counterd/replication"
)

// What the catalog says is asked in some fifteen statements. While nobody changes anything it cannot have changed either: every
// change of the catalog, of awa's tables and of awa-counterd's is a transaction with an id, and a snapshot tells which of these have
// committed. So a look begins with a snapshot, and where that sees nothing new but the daemon's own tokens, the catalog is left alone. What
// changes without a transaction (advisory locks, the replication slot, the heartbeat's age) is looked at every time.
//
// Such a quiet look counts as one that succeeded (looks). Its snapshot is taken after it began, and sees what the look before it saw,
// and so on back to the last whole one, but for tokens: a whole look would read the same again. It says nothing of what commits later;
// for that the next look is there, whose snapshot sees it.
//
// A lock that is in the way of whole looks can hide behind quiet ones, but nothing that was done can. What the transaction that holds it
// has done nobody sees before it commits, and then it holds the lock no longer. Once anybody else commits, whatever that was, looks are
// whole and are missed for the lock, and the last one that succeeded began before that commit: trust ends within the bound of it. Where
// nobody commits, the lock is met after wholeEvery. One look that is missed for it has all be whole until one succeeds, so then trust
// ends though nothing was changed: better that than to tell one miss from another.

// wholeEvery is how often the catalog is looked at all the same: that nobody leads another schema any more is told by a lock and by the
// clock alone (checkpoint.Orphans).
const wholeEvery = 5 * time.Second

// lookout remembers what the last look saw. Only the monitor uses it.
type lookout struct {
	snapshot pgsnap.Snapshot // zero before the first whole look, and after one that failed
	whole    time.Time       // when that was
	own      ownTokens
}

// quiet reports that the catalog is as the last whole look saw it. Otherwise a whole look has to come next, and saw after it.
func (o *lookout) quiet(now time.Time, snapshot pgsnap.Snapshot) bool {
	if now.Sub(o.whole) >= wholeEvery || !snapshot.SeesNoMore(o.snapshot, o.own.has) {
		o.snapshot = pgsnap.Snapshot{}
		return false
	}
	o.snapshot = snapshot
	return true
}

// saw notes a whole look. The snapshot was taken before it.
func (o *lookout) saw(now time.Time, snapshot pgsnap.Snapshot) { o.whole, o.snapshot = now, snapshot }

// unsure has the next look be a whole one: something was put off that this one was to do.
func (o *lookout) unsure() { o.snapshot = pgsnap.Snapshot{} }

// ownTokens are the transactions of the newest tokens, which change nothing but the leader's row. The writer adds, the monitor asks.
type ownTokens struct {
	mu  sync.Mutex
	ids [64]uint64 // more than are sent between two looks
	n   int
}

func (o *ownTokens) add(xid uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ids[o.n%len(o.ids)] = xid
	o.n++
}

func (o *ownTokens) has(xid uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Contains(o.ids[:], xid)
}

// glance is what every look begins with.
type glance struct {
	snapshot   pgsnap.Snapshot
	migrator   int32 // the process that runs awa's migrations; 0 for none
	slot       replication.Slot
	slotFailed error // why the replication slot could not be read
}

// glance asks for all of it in one round trip. The snapshot comes first: what is looked at later is no older.
func (s *session) glance(ctx context.Context) (g glance, err error) {
	var text string
	b := &pgx.Batch{}
	b.Queue(`select pg_current_snapshot()::text`).QueryRow(func(row pgx.Row) error { return row.Scan(&text) })
	awa.AskMigrator(b, &g.migrator)
	replication.AskSlot(b, s.slot, &g.slot, &g.slotFailed)
	if err := s.control.SendBatch(ctx, b).Close(); err != nil {
		return g, fmt.Errorf("look at the server: %w", err)
	}
	g.snapshot, err = pgsnap.Parse(text)
	return g, err
}
