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

// migrationTakes is how long awa's migrations may take before somebody is told who holds their lock: a worker whose
// migrate() was cancelled leaves it held for as long as its connection lives.
const migrationTakes = time.Minute

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
				d.nameMigrator(ctx, c, pid)
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
	told  bool
}

// long is true once of each process that has held it for longer than a migration takes.
func (h *holding) long(pid int32, now time.Time) bool {
	if pid != h.pid {
		h.pid, h.since, h.told = pid, now, false
	}
	if h.told || now.Sub(h.since) < migrationTakes {
		return false
	}
	h.told = true
	return true
}

func (d *Daemon) nameMigrator(ctx context.Context, c *pgx.Conn, pid int32) {
	var name, state string
	err := c.QueryRow(ctx, `select coalesce(application_name, ''), coalesce(state, 'not shown to this role') from pg_stat_activity where pid = $1`, pid).Scan(&name, &state)
	if err != nil {
		state = err.Error()
	}
	d.log.Warn("awa's migration lock has been held for a minute, and nothing is corrected meanwhile; if no migration is running, a worker has left it behind: end that session",
		zap.Int32("pid", pid), zap.String("application_name", name), zap.String("state", state), zap.String("run", fmt.Sprintf("SELECT pg_terminate_backend(%d)", pid)))
}
