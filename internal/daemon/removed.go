package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// leadSeen is where a lead was seen, ours or another's. If nobody is known to lead there any more, finish, teardown or
// a person has removed what awa-counterd made; on another server, or in an older backup of this one, it only was not there yet.
type leadSeen struct {
	schema   awa.Schema
	system   string
	database uint32
	at       pglogrepl.LSN // the server had written so much by then
}

func readPlace(ctx context.Context, c *pgx.Conn, schema awa.Schema) (leadSeen, error) {
	p := leadSeen{schema: schema}
	var at string
	err := c.QueryRow(ctx, `select system_identifier::text, (select oid from pg_database where datname = current_database()), pg_current_wal_insert_lsn()::text
		from pg_control_system()`).Scan(&p.system, &p.database, &at)
	if err == nil {
		p.at, err = pglogrepl.ParseLSN(at)
	}
	if err != nil {
		return p, fmt.Errorf("find out which server this is: %w", err)
	}
	return p, nil
}

// since reports that a later look was at the same place.
func (p leadSeen) since(now leadSeen) bool {
	return p.schema == now.schema && p.system == now.system && p.database == now.database && p.at <= now.at
}

// noteLead remembers that somebody leads a schema, or did.
func (d *Daemon) noteLead(ctx context.Context, c *pgx.Conn, schema awa.Schema) error {
	now, err := readPlace(ctx, c, schema)
	if err == nil && !d.seen.since(now) {
		d.seen = now
	}
	return err
}

// leaveForGood drops the replication slot before an end with errRemoved: finish and teardown have dropped it by then, a person may not
// have. Any other err, and a nil one, is returned as it is. Where the replication slot is still in use the next session tries again.
func (d *Daemon) leaveForGood(c *pgx.Conn, l *awa.Layout, err error) error {
	was := d.left
	if !errors.Is(err, errRemoved) || d.opts.DryRun || was.slot == "" || was.layout == nil || was.layout.Schema != l.Schema {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	failed := dropUnread(ctx, c, d.log, was.slot, string(l.Schema))
	if pg.IsDenied(failed) {
		d.warnOnce(failed)
		return err
	}
	if failed != nil {
		return failed
	}
	return err
}

// everythingRemoved reports that what awa-counterd made is gone from where it was seen: who was not there to be asked (waiting out a
// fault, say) must not take that for a fresh start, and create it all again.
func (d *Daemon) everythingRemoved(ctx context.Context, c *pgx.Conn, schema awa.Schema) (bool, error) {
	if d.seen.schema != schema {
		return false, nil
	}
	now, err := readPlace(ctx, c, schema)
	return err == nil && d.seen.since(now), err
}
