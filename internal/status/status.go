package status

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/replication"
)

// Status is the documented shape of `status --json`; fields are only ever added. Ages are in seconds,
// by the server's clock.
type Status struct {
	Schema    string      `json:"schema"`
	Leader    *Leader     `json:"leader"` // null: no daemon has led here, or everything of it was removed
	Position  string      `json:"position,omitempty"`
	Persisted *float64    `json:"persisted_ago,omitempty"`
	Fresh     bool        `json:"fresh"` // the checkpoint has everything that was committed before the question
	Audit     *float64    `json:"last_audit_ago,omitempty"`
	Observed  float64     `json:"observed_for"` // for so long a daemon has watched, by its own clock, and seen no old binary at work
	Slot      *Slot       `json:"slot"`         // null: there is none
	MarkerSet bool        `json:"marker_set"`
	MarkerAge *float64    `json:"marker_set_ago,omitempty"`
	Reason    string      `json:"reason,omitempty"` // why the marker is not set
	Queues    []Queue     `json:"queues"`
	Uncounted []Uncounted `json:"uncounted_writes"`             // newest first
	OldPrune  *float64    `json:"last_old_prune_ago,omitempty"` // a pre-#290 leader emptied a ring slot
	OwnRows   int64       `json:"own_counter_rows"`             // counter rows that hold the daemon's corrections; finish moves them to awa's own
	Runtimes  []Runtime   `json:"runtimes"`
	Known     bool        `json:"runtimes_known"`
	// Deletes says that DELETE FROM awa.jobs does not count, whoever does it (DeletesUncounted).
	Deletes bool `json:"deletes_uncounted,omitempty"`
	// Changes of the marker in the last checkpoint.ToldFor days, newest first, at most checkpoint.MostTold.
	Changes []MarkerChange `json:"marker_changes"`
	// Forgot is why there are none of them; "" where they are known.
	Forgot string `json:"marker_changes_unknown,omitempty"`
	// Forgotten is somebody's transaction that is hours old, and keeps what a vacuum would take away.
	Forgotten *pg.Forgotten `json:"forgotten_transaction,omitempty"`
	// Migrator is the process that runs awa's migrations; 0 for nobody. Daemons wait until it has ended, and none leads meanwhile.
	Migrator int32 `json:"migration_pid,omitempty"`
	// Installed says that the daemon's tables are there, whether one has led or not.
	Installed bool   `json:"installed"`
	Next      string `json:"next_step"`

	registrants string // what old ones of Runtimes are called, where that is not awa.OldRuntimes
}

// Leader is the daemon that keeps the counters, or kept them last.
type Leader struct {
	Host      string  `json:"host"`
	PID       int     `json:"pid"`
	Version   string  `json:"version"`
	Heartbeat float64 `json:"heartbeat_ago"`
	Alive     bool    `json:"alive"`
	State     string  `json:"state"`
	Holds     bool    `json:"holds_corrections"` // for awa-counterd finish
	DryRun    bool    `json:"dry_run"`           // nothing is corrected
	// Another says that the tables are in the form of the leader's version, which this one does not read: the rest is not known.
	Another bool `json:"another_form,omitempty"`
}

// Slot is the replication slot.
type Slot struct {
	Name     string `json:"name"`
	Active   bool   `json:"active"`
	Status   string `json:"wal_status"`
	Retained int64  `json:"retained_bytes"`
	Lag      int64  `json:"lag_bytes"`
	// CatalogAge is how many transactions ago the replication slot's catalog_xmin was given out.
	CatalogAge int64 `json:"catalog_xmin_age"`
	// Loss says in words why a replication slot that is lost was invalidated.
	Loss string `json:"lost_because,omitempty"`
	// Stored says that the checkpoint names it: it is not the one of the default name, and no flag gave it.
	Stored bool `json:"named_by_checkpoint,omitempty"`
}

// Queue is what the books of the last checkpoint hold.
type Queue = checkpoint.QueueSum

// Uncounted is what is known of a queue's uncounted writes of one kind.
type Uncounted = checkpoint.UncountedWrites

// Runtime counts awa's live workers of one version.
type Runtime struct {
	Version string `json:"version"`
	Live    int    `json:"live"`
	Old     bool   `json:"pre_290"`
}

// IsAlive judges the age of a heartbeat, in seconds.
func IsAlive(heartbeat float64) bool { return heartbeat < checkpoint.AliveWithin.Seconds() }

// Read takes a status. It asks the daemon that leads for figures as of now. quiet is how long ago an uncounted write has to be to
// count as over. It is an *awa.LockedError while somebody has locked what it reads.
func Read(ctx context.Context, c *pgx.Conn, l *awa.Layout, slot string, quiet time.Duration) (*Status, error) {
	began := time.Now()
	s, err := read(ctx, c, l, slot, quiet, true)
	if pg.IsBusy(err) && ctx.Err() == nil {
		err = l.Locked(ctx, c, "what tells of the daemon and its counters", awa.Leaf{}, min(time.Since(began), time.Second), err, checkpoint.SchemaName, string(awa.DefaultSchema))
	}
	return s, err
}

// ReadStored is Read without asking the daemon: for one that has newer figures itself.
func ReadStored(ctx context.Context, c *pgx.Conn, l *awa.Layout, slot string, quiet time.Duration) (*Status, error) {
	return read(ctx, c, l, slot, quiet, false)
}

func read(ctx context.Context, c *pgx.Conn, l *awa.Layout, slot string, quiet time.Duration, ask bool) (*Status, error) {
	s := &Status{Schema: string(l.Schema), Queues: []Queue{}, Uncounted: []Uncounted{}, Runtimes: []Runtime{}, Changes: []MarkerChange{}}
	there, err := checkpoint.Exists(ctx, c)
	if err != nil {
		return nil, err
	}
	s.Installed = there
	if s.Migrator, err = awa.Migrator(ctx, c); err != nil {
		return nil, err
	}
	if err := s.readLeader(ctx, c, s.Schema); err != nil {
		return nil, err
	}
	if there && ask && s.Leader != nil && s.Leader.Alive {
		if s.Fresh, err = checkpoint.Request(ctx, c, s.Schema); err != nil {
			return nil, err
		}
	}
	if err := s.readMarker(ctx, c, l); err != nil {
		return nil, err
	}
	if err := s.readSlot(ctx, c, slot); err != nil {
		return nil, err
	}
	if there {
		for _, read := range []func(context.Context, *pgx.Conn, string) error{s.readLeader, s.readCheckpoint, s.readQueues, s.readUncounted} {
			if err := read(ctx, c, s.Schema); err != nil {
				return nil, err
			}
		}
		if err := s.readChanges(ctx, c); err != nil {
			return nil, err
		}
	}
	if l := s.Leader; l != nil && l.Another && l.Alive && !s.MarkerSet && l.State != "trusted" {
		s.Reason = l.State // of the checkpoint nothing can be read
	}
	if err := s.readRuntimes(ctx, c); err != nil {
		return nil, err
	}
	if s.Deletes, err = l.DeletesUncounted(ctx, c); err != nil {
		return nil, err
	}
	if s.Forgotten, err = pg.FindForgotten(ctx, c, pg.ForgottenAfter); err != nil {
		return nil, err
	}
	s.Next = s.NextStep(quiet)
	return s, nil
}

func (s *Status) readMarker(ctx context.Context, c *pgx.Conn, l *awa.Layout) error {
	if err := c.QueryRow(ctx, `select `+l.MarkerIsSet()+`, `+l.MarkerAge()).Scan(&s.MarkerSet, &s.MarkerAge); err != nil {
		return fmt.Errorf("read the marker: %w", err)
	}
	if err := c.QueryRow(ctx, l.OwnRows()).Scan(&s.OwnRows); err != nil {
		return fmt.Errorf("count the counter rows that hold corrections: %w", err)
	}
	return nil
}

func (s *Status) readSlot(ctx context.Context, c *pgx.Conn, name string) error {
	slot, err := replication.ReadSlot(ctx, c, name)
	switch {
	case errors.Is(err, replication.ErrNoSlot):
		return nil
	case err != nil:
		return err
	}
	s.Slot = &Slot{Name: name, Active: slot.Active, Status: slot.Status, Retained: slot.Retained, CatalogAge: slot.CatalogAge}
	if slot.Lost() {
		s.Slot.Loss, _ = slot.Loss()
	}
	if err := c.QueryRow(ctx, `select pg_wal_lsn_diff(pg_current_wal_lsn(), $1::text::pg_lsn)::int8`, slot.Confirmed.String()).Scan(&s.Slot.Lag); err != nil {
		return fmt.Errorf("read the lag of replication slot %s: %w", name, err)
	}
	return nil
}

func (s *Status) readLeader(ctx context.Context, c *pgx.Conn, schema string) error {
	l, known, err := checkpoint.ReadLeaderIfAny(ctx, c, schema)
	if err != nil || !known {
		return err
	}
	age := l.Heartbeat.Seconds()
	s.Leader = &Leader{Host: l.Host, PID: l.PID, Version: l.Version, Heartbeat: age, Alive: IsAlive(age), State: l.State, Holds: l.Holds && !l.DryRun, DryRun: l.DryRun, Another: l.Another}
	return nil
}

func (s *Status) readCheckpoint(ctx context.Context, c *pgx.Conn, schema string) error {
	at, err := checkpoint.ReadStanding(ctx, c, schema)
	if err != nil {
		return err
	}
	s.Position, s.Persisted, s.Audit, s.Reason, s.Observed, s.OldPrune = at.Position, at.Persisted, at.Audit, at.Reason, at.Observed, at.OldPrune
	if s.Leader != nil && s.Leader.Alive { // the newer word
		s.Reason = s.Leader.State
	}
	if s.MarkerSet || s.Reason == "trusted" {
		s.Reason = ""
	}
	return nil
}

func (s *Status) readQueues(ctx context.Context, c *pgx.Conn, schema string) (err error) {
	s.Queues, err = checkpoint.QueueSums(ctx, c, schema)
	return err
}

func (s *Status) readUncounted(ctx context.Context, c *pgx.Conn, schema string) (err error) {
	s.Uncounted, err = checkpoint.AllUncounted(ctx, c, schema)
	return err
}

// readChanges reads the history of the marker, which is worth less than the rest: neither a role from before there was one, nor
// somebody's lock on it, keeps that from being told.
func (s *Status) readChanges(ctx context.Context, c *pgx.Conn) error {
	changes, err := checkpoint.MarkerChanges(ctx, c, s.Schema)
	switch {
	case err == nil:
		s.Changes = changes
	case pg.IsDenied(err):
		s.Forgot = "this role may not read " + checkpoint.History
	case pg.IsBusy(err):
		s.Forgot = "somebody holds " + checkpoint.History + " locked"
	default:
		return err
	}
	return nil
}

func (s *Status) readRuntimes(ctx context.Context, c *pgx.Conn) error {
	runtimes, known, err := awa.Runtimes(ctx, c)
	if err != nil {
		return err
	}
	s.Known = known
	if slices.ContainsFunc(runtimes, func(r awa.Runtime) bool { return r.Old }) {
		if s.registrants, err = awa.Registrants(ctx, c); err != nil {
			return err
		}
	}
	for _, r := range runtimes { // ordered by version
		if n := len(s.Runtimes); n > 0 && s.Runtimes[n-1].Version == r.Version {
			s.Runtimes[n-1].Live++
			continue
		}
		s.Runtimes = append(s.Runtimes, Runtime{Version: r.Version, Live: 1, Old: r.Old})
	}
	return nil
}
