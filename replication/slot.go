package replication

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// Plugin is the output plugin that the replication slot must have.
const Plugin = "pgoutput"

// SlotName makes the default name of a replication slot. Such names belong to the whole cluster, so it tells
// databases and schemas apart, within 63 characters of [a-z0-9_].
func SlotName(database, schema string) string {
	sum := sha256.Sum256([]byte(database + "\x00" + schema))
	return fmt.Sprintf("awa_counterd_%s_%s_%s", sanitize(database), sanitize(schema), hex.EncodeToString(sum[:4]))
}

// sanitize keeps what the name of a replication slot may hold, and not much of it: the hash tells names apart.
func sanitize(name string) string {
	s := strings.Map(func(r rune) rune {
		if (r >= 'a' && r <= 'z') || (r >= '0' && r <= '9') || r == '_' {
			return r
		}
		return '_'
	}, strings.ToLower(name))
	return s[:min(len(s), 18)]
}

// Slot is a row of pg_replication_slots.
type Slot struct {
	Name         string
	Plugin       string
	Database     string
	Active       bool
	ActivePID    int32
	Confirmed    pglogrepl.LSN // 0 while the replication slot is being made
	Status       string        // reserved, extended, unreserved or lost
	Invalidation string        // 17 and later: why it is lost
	Retained     int64         // bytes of WAL that the replication slot keeps on disk
	CatalogAge   int64         // transactions since its catalog_xmin: dead catalog rows younger than that are kept, in every database
	Temporary    bool          // goes with the session that made it
	Failover     bool          // 17 and later: standbys that synchronize replication slots get it
	Synced       bool          // 17 and later: it came to this server while that was a standby
}

// ErrNoSlot says that there is none of that name.
var ErrNoSlot = errors.New("no such replication slot")

const readSlot = `
		select coalesce(s.plugin::text, ''), coalesce(s.database::text, ''), s.active, coalesce(s.active_pid, 0),
		       coalesce(s.confirmed_flush_lsn, '0/0')::text, coalesce(s.wal_status, 'lost'),
		       coalesce(to_jsonb(s) ->> 'invalidation_reason', ''),
		       s.temporary, coalesce((to_jsonb(s) ->> 'failover')::bool, false), coalesce((to_jsonb(s) ->> 'synced')::bool, false), coalesce(age(s.catalog_xmin), 0)::int8,
		       coalesce(case when not pg_is_in_recovery() then pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn) end, 0)::int8
		from pg_replication_slots s where s.slot_name = $1`

// ReadSlot reads a replication slot's row.
func ReadSlot(ctx context.Context, c Conn, name string) (Slot, error) {
	return scanSlot(name, c.QueryRow(ctx, readSlot, name))
}

// AskSlot is ReadSlot as a part of a batch, which goes on where it fails.
func AskSlot(b *pgx.Batch, name string, slot *Slot, failed *error) {
	b.Queue(readSlot, name).QueryRow(func(row pgx.Row) error {
		*slot, *failed = scanSlot(name, row)
		return nil
	})
}

func scanSlot(name string, row pgx.Row) (Slot, error) {
	s := Slot{Name: name}
	var confirmed string
	err := row.Scan(&s.Plugin, &s.Database, &s.Active, &s.ActivePID, &confirmed, &s.Status, &s.Invalidation, &s.Temporary, &s.Failover, &s.Synced, &s.CatalogAge, &s.Retained)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Slot{}, fmt.Errorf("%s: %w", name, ErrNoSlot)
	case err != nil:
		return Slot{}, fmt.Errorf("read replication slot %s: %w", name, err)
	}
	s.Confirmed, err = pglogrepl.ParseLSN(confirmed)
	return s, err
}

// CheckUsable refuses a replication slot that was made for something else.
func (s Slot) CheckUsable(database string) error {
	remedy := fmt.Sprintf("give another name with --slot, or drop it if nobody needs it: SELECT pg_drop_replication_slot('%s')", s.Name)
	switch {
	case s.Plugin != Plugin:
		return pg.Refuse(remedy, "replication slot %s has the plugin %q, not %s", s.Name, s.Plugin, Plugin)
	case s.Database != database:
		return pg.Refuse(remedy, "replication slot %s belongs to database %q, not %q", s.Name, s.Database, database)
	}
	return nil
}

// Lost reports a replication slot that cannot be read any more, its WAL gone most often; Loss says why. It keeps its
// row, and its place in max_replication_slots, until it is dropped.
func (s Slot) Lost() bool { return s.Status == "lost" }

// Loss says in words what became of a replication slot that is lost, and what keeps it from happening again.
func (s Slot) Loss() (what, remedy string) {
	switch s.Invalidation {
	case "", "wal_removed": // before 17 the server does not say; there it can have been nothing else
		return "has lost its WAL", "raise max_slot_wal_keep_size"
	case "idle_timeout":
		return "was read by nobody for longer than idle_replication_slot_timeout", "raise idle_replication_slot_timeout above the time for which the daemon may be away"
	case "rows_removed":
		return "lost rows of the catalog that it needs while this server was a standby", "set hot_standby_feedback = on and primary_slot_name there"
	case "wal_level_insufficient":
		return "was invalidated because wal_level was lowered", "keep wal_level = logical, on standbys as well"
	}
	return "was invalidated (" + s.Invalidation + ")", "look into the server's log"
}

// Incomplete reports a replication slot whose creation never came to its end: its backend still waits for old
// transactions, though whoever asked for it is gone.
func (s Slot) Incomplete() bool { return s.Confirmed == 0 && !s.Lost() }

// freeEvery is between two looks whether a replication slot is free, which who reads it has to notice: dropTries are 2 s,
// evictTries 5 s.
const (
	freeEvery  = 50 * time.Millisecond
	dropTries  = 40
	evictTries = 100
)

// Drop removes a replication slot; one that is not there is fine. An active one is waited for briefly: its
// walsender ends when it notices that its client has gone.
func Drop(ctx context.Context, c Conn, name string) error {
	for attempt := 0; ; attempt++ {
		s, err := ReadSlot(ctx, c, name)
		if errors.Is(err, ErrNoSlot) {
			return nil
		}
		if err != nil {
			return err
		}
		if s.Incomplete() && s.Active {
			if _, err := c.Exec(ctx, `select pg_terminate_backend($1)`, s.ActivePID); err != nil {
				return fmt.Errorf("end the backend that still creates replication slot %s: %w", name, err)
			}
		}
		_, err = c.Exec(ctx, `select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1`, name)
		switch {
		case err == nil:
			return nil
		case !pg.IsInUse(err) || attempt == dropTries:
			return fmt.Errorf("drop replication slot %s: %w", name, err)
		}
		if err := pause(ctx, freeEvery); err != nil {
			return err
		}
	}
}

// Evict ends the session that still reads the daemon's replication slot on behalf of a daemon that does not lead any
// more, and waits until the replication slot is free. Only who holds the leader lock may call it: any other reader
// of awa-counterd is a dead one whose connection the server still believes in. A stranger is left alone.
func Evict(ctx context.Context, c Conn, name string) error {
	for range evictTries {
		tag, err := c.Exec(ctx, `select pg_terminate_backend(a.pid) from pg_replication_slots s join pg_stat_activity a on a.pid = s.active_pid
			where s.slot_name = $1 and a.application_name = $2`, name, pg.ApplicationName(pg.StreamRole))
		if err != nil {
			return fmt.Errorf("end the dead session that reads replication slot %s: %w", name, err)
		}
		if tag.RowsAffected() == 0 {
			return nil
		}
		if err := pause(ctx, freeEvery); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
