package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// errMigrated ends a session because awa's migrations change the tables that it works on.
var errMigrated = errors.New("awa's migrations")

// migrating is errMigrated while they run.
type migrating struct{ pid int32 }

func (m *migrating) Error() string {
	return fmt.Sprintf("%v are running, by process %d", errMigrated, m.pid)
}
func (m *migrating) Unwrap() error { return errMigrated }

// migratedBy is the process that runs them; 0 when that is over.
func migratedBy(err error) int32 {
	if m, ok := errors.AsType[*migrating](err); ok {
		return m.pid
	}
	return 0
}

// migrationTakes is how long awa's migrations may take before somebody is told who holds their lock, and for how long a session that
// holds it has to have done nothing before it is taken for one that was left behind: a worker whose migrate() was cancelled keeps the
// lock for as long as its connection lives.
const migrationTakes = time.Minute

const (
	// pauseTakes is for how long each look may find it between two statements that belong to no transaction: awa's migrations do not rest
	// there. A worker that has got that connection back from its pool does, and uses it too often for it to have done nothing for long.
	pauseTakes = 3 * time.Second
	// stillEvery is how often people hear again of one that is at work.
	stillEvery = 10 * time.Minute
)

// awaitTables finds awa's tables, waiting for as long as its migration has not run. Meanwhile it looks after what the last
// session left.
func (d *Daemon) awaitTables(ctx context.Context, c *pgx.Conn) (*awa.Layout, error) {
	waiting := ""
	var held holding
	for {
		look, end := context.WithTimeout(ctx, answerWithin)
		l, err := d.discover(look, c)
		end()
		switch {
		case errors.Is(err, errMigrated):
			d.started, d.worked = true, true
			pid := migratedBy(err)
			if held.long(pid, time.Now()) {
				d.lookAtMigrator(ctx, c, &held)
			}
			if waiting != err.Error() {
				waiting = err.Error()
				d.log.Info("waiting until awa's migrations have ended", zap.Int32("migration_pid", pid))
				d.show(Waiting, "awa's migrations are running")
			}
		case err == nil:
			if waiting != "" {
				d.log.Info("found awa's counter table", zap.String("schema", string(l.Schema)), zap.String("shape", l.Describe()))
			}
			return l, nil
		case errors.Is(err, awa.ErrNotYet):
			d.started, d.worked = true, true
			if err.Error() != waiting {
				waiting = err.Error()
				missing := strings.TrimSuffix(waiting, ": "+awa.ErrNotYet.Error())
				d.log.Info("waiting for awa's migration", zap.String("for", missing))
				d.show(Waiting, "awa's migration has not created "+missing+" yet")
			}
		default:
			return nil, d.asRefusal(ctx, c, err)
		}
		if d.left.layout == nil || d.left.layout.Ring == 0 { // no session of this daemon knows the tables; a migration may bring the marker meanwhile
			d.left.layout = d.findUnknownMarker(ctx, c)
		}
		d.betweenSessions(ctx, c, "awa's tables do not exist yet, or are being changed")
		if !d.rest(ctx, lookEvery) {
			return nil, errStopped
		}
	}
}

// holding watches who holds the lock of awa's migrations.
type holding struct {
	pid   int32
	since time.Time
	idle  time.Time              // since then each look has found it between two statements; zero: the last one did not
	told  map[migrator]time.Time // when it was said last what that process is
}

// long is true of a process that has held it for longer than a migration takes.
func (h *holding) long(pid int32, now time.Time) bool {
	if pid != h.pid {
		*h = holding{pid: pid, since: now, told: make(map[migrator]time.Time)}
	}
	return now.Sub(h.since) >= migrationTakes
}

// rests is for how long each look has found it between two statements.
func (h *holding) rests(s pg.Session, now time.Time) time.Duration {
	if s.State != "idle" {
		h.idle = time.Time{}
		return 0
	}
	if h.idle.IsZero() {
		h.idle = now
	}
	return now.Sub(h.idle)
}

// migrator is what a session is that has held the lock for long.
type migrator int

const (
	pauses     migrator = iota // it has ended a statement a moment ago
	works                      // it migrates: who ends it ends a migration between two of its steps
	leftBehind                 // nobody migrates
	pooled                     // nor here, where a worker goes on with that connection
	hidden                     // this role may not see it
	untracked                  // nobody may
)

// judge goes by what a session does now, and by how long it has rested outside a transaction at each look.
func judge(s pg.Session, rests time.Duration) migrator {
	switch s.State {
	case "active", "fastpath function call":
		return works
	case "idle in transaction", "idle in transaction (aborted)":
		if s.Idle >= migrationTakes {
			return leftBehind
		}
		return works
	case "idle":
		switch {
		case s.Idle >= migrationTakes:
			return leftBehind
		case rests >= pauseTakes:
			return pooled
		}
		return pauses
	case "disabled":
		return untracked
	}
	return hidden
}

// lookAtMigrator tells people of the session that holds the lock. A look that fails is repeated with the next.
func (d *Daemon) lookAtMigrator(ctx context.Context, c *pgx.Conn, h *holding) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if s, there, err := pg.ReadSession(ctx, c, h.pid); err == nil && there {
		h.tell(d.log, s, time.Now())
	}
}

// news reports that what a session is has not been said yet, or long ago of one that migrates. One that nobody needs any more is named once:
// its worker's queries are no migration.
func (h *holding) news(what migrator, now time.Time) bool {
	if named := !h.told[leftBehind].IsZero() || !h.told[pooled].IsZero(); named && what <= pooled {
		return false
	}
	last := h.told[what]
	return last.IsZero() || what == works && now.Sub(last) >= stillEvery
}

// tell says what a session is. What ends it is said of one only that nobody needs any more.
func (h *holding) tell(log *zap.Logger, s pg.Session, now time.Time) {
	what := judge(s, h.rests(s, now))
	if !h.news(what, now) {
		return
	}
	h.told[what] = now
	whose := []zap.Field{zap.Int32("pid", h.pid), zap.String("application_name", s.Application), zap.String("role", s.Role), zap.String("state", s.State), zap.Duration("held", now.Sub(h.since))}
	run := zap.String("run", fmt.Sprintf("SELECT pg_terminate_backend(%d)", h.pid))
	switch what {
	case works:
		log.Info("still migrating: awa's migrations have taken longer than a minute, and nothing is corrected meanwhile", whose...)
	case leftBehind:
		log.Warn("awa's migration lock is held by a session that has done nothing for a minute, and nothing is corrected meanwhile; a worker has left it behind: end that session",
			append(whose, zap.Duration("idle", s.Idle), run)...)
	case pooled:
		log.Warn("awa's migration lock is held by a session that does not migrate, and nothing is corrected meanwhile; a worker has left it behind in a connection of its pool, with which it goes on working: end that session, and the pool connects again",
			append(whose, run)...)
	case hidden:
		log.Warn("awa's migration lock has been held for a minute, and nothing is corrected meanwhile; this role cannot see whether that session migrates: ask a superuser, or a member of pg_read_all_stats or of the session's role, for its state in pg_stat_activity",
			whose...)
	case untracked:
		log.Warn("awa's migration lock has been held for a minute, and nothing is corrected meanwhile; track_activities is off for that session, so the server does not know whether it migrates: look at the worker that it belongs to",
			whose...)
	case pauses:
	}
}
