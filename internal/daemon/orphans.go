package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/replication"
)

// removeOrphans leaves for good what was worked on under another name: a schema that awa does not use any more, or that was
// renamed. A replication slot that nobody reads would fill the disk. What cannot be removed is said once.
func (s *session) removeOrphans(ctx context.Context) error {
	if s.d.opts.DryRun { // what it finds may be a daemon's that corrects, and is not running at the moment
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	left := make([]string, 0, len(s.d.past))
	for schema := range s.d.past {
		left = append(left, string(schema))
	}
	orphans, err := checkpoint.Orphans(ctx, s.control, checkpoint.Here{
		Schema: string(s.layout.Schema), Relations: s.layout.OIDs(), Tables: awa.Tables(), Left: left, Follows: s.d.opts.Schema == "",
	})
	if err != nil {
		return err
	}
	for _, o := range orphans {
		err := s.removeOrphan(ctx, o)
		if err == nil {
			delete(s.d.past, awa.Schema(o.Schema))
			continue
		}
		if ctx.Err() != nil || pg.IsBusy(err) { // the next look comes soon, and must not wait for more locks than one
			return err
		}
		s.d.warnOnce(fmt.Errorf("leave schema %s: %w", o.Schema, err))
	}
	return nil
}

// adoptLayout goes over to a layout; one of another schema is remembered, to be left for good.
func (d *Daemon) adoptLayout(l *awa.Layout) {
	if was := d.left.layout; was != nil && was.Schema != l.Schema {
		d.past[was.Schema] = was
	}
	d.left.layout = l
}

// firstTime is true once for each thing that is said once.
func (d *Daemon) firstTime(what string) bool {
	_, told := d.told[what]
	d.told[what] = struct{}{}
	return !told
}

// warnOnce says once what stays as it is until somebody does something about it.
func (d *Daemon) warnOnce(err error) {
	what := err.Error()
	if reader, ok := errors.AsType[*slotReadError](err); ok { // each session of its has another process
		what = "read " + reader.slot
	}
	if d.firstTime(what) {
		d.log.Warn("the daemon could not remove what it had created for another schema; awa-counterd teardown --schema removes it", zap.Error(err))
	}
}

func (s *session) removeOrphan(ctx context.Context, o checkpoint.Orphan) error {
	if err := s.clearOrphaned(ctx, o); err != nil {
		return err
	}
	if o.Slot != s.slot { // one --slot for all: this session reads it now
		if err := dropUnread(ctx, s.control, s.log, o.Slot, o.Schema); err != nil {
			return err
		}
	}
	var dropped, left []string
	because, remove := "awa does not use it any more", checkpoint.RemoveSchema
	if o.Renamed {
		because = "it is called " + string(s.layout.Schema) + " now"
	}
	if o.Silent { // its daemon may come back, from a suspended machine say: what that one cannot create again by a scan stays
		because, remove = "who led it is silent", checkpoint.ForgetSchema
	} else {
		var err error
		if dropped, left, err = s.dropDefaults(ctx, o); err != nil {
			return err
		}
	}
	if err := remove(ctx, s.control, o.Schema); err != nil {
		return err
	}
	s.log.Warn("removed what was stored of another awa schema", zap.String("schema", o.Schema), zap.String("because", because), zap.Strings("publications", dropped), zap.Strings("left", left))
	return nil
}

// defaultPublications are the names of a schema's publications where nobody gave others.
func defaultPublications(schema string) []string {
	first := replication.PublicationName(schema)
	return []string{first, replication.LedgerPublicationName(first)}
}

// dropDefaults drops the publications of an orphan that have those names, and returns which. What publishes somebody's tables as well
// stays, by whatever it does so, and what the daemon of another schema works with, this one first.
func (s *session) dropDefaults(ctx context.Context, o checkpoint.Orphan) (dropped, left []string, err error) {
	ours := append(awa.Schema(o.Schema).Published(), s.layout.Schema.Published()...)
	if now, err := awa.ParseSchema(o.Now); err == nil { // it may have been renamed, and be nobody's since
		ours = append(ours, now.Published()...)
	}
	for _, name := range defaultPublications(o.Schema) {
		oid, alone, err := replication.Alone(ctx, s.control, name, ours)
		if errors.Is(err, replication.ErrNoPublication) {
			continue
		} else if err != nil {
			return dropped, left, err
		}
		used, err := checkpoint.UsedByOthers(ctx, s.control, []string{o.Schema}, []uint32{oid})
		if err != nil {
			return dropped, left, err
		}
		if !alone || len(used) > 0 || slices.Contains(names(s.pubs), name) {
			left = append(left, name)
			continue
		}
		if _, err := s.control.Exec(ctx, `drop publication if exists `+pgx.Identifier{name}.Sanitize()); err != nil {
			if !pg.IsDenied(err) {
				return dropped, left, fmt.Errorf("drop publication %s: %w", name, err)
			}
			s.d.warnOnce(fmt.Errorf("drop publication %s: %w", name, err))
			left = append(left, name)
			continue
		}
		dropped = append(dropped, name)
	}
	return dropped, left, nil
}

// clearOrphaned clears the marker of tables that nobody works on, if they are there.
func (s *session) clearOrphaned(ctx context.Context, o checkpoint.Orphan) error {
	if o.Renamed || s.d.opts.Trust == applier.TrustOff {
		return nil
	}
	l := s.d.past[awa.Schema(o.Schema)]
	if l == nil {
		schema, err := awa.ParseSchema(o.Schema)
		if err != nil {
			return err
		}
		var shape *awa.ShapeError
		if l, err = awa.Discover(ctx, s.control, schema); errors.As(err, &shape) || errors.Is(err, awa.ErrNotYet) {
			return nil
		} else if err != nil {
			return err
		}
	}
	if !l.HasMarker {
		return nil
	}
	cleared, err := s.d.clearByOID(ctx, s.control, l)
	if cleared {
		s.d.saysCleared("no daemon vouches for the counters of schema " + o.Schema + " any more")
	}
	return err
}

// slotReadError says who reads a replication slot that is to be dropped.
type slotReadError struct {
	slot string
	pid  int32
}

func (r *slotReadError) Error() string {
	return fmt.Sprintf("replication slot %s is being read by process %d", r.slot, r.pid)
}

// dropUnread drops a replication slot that we had under another name, unless somebody reads it.
func dropUnread(ctx context.Context, c *pgx.Conn, log *zap.Logger, name, schema string) error {
	slot, err := replication.ReadSlot(ctx, c, name)
	if errors.Is(err, replication.ErrNoSlot) {
		return nil
	}
	if err != nil {
		return err
	}
	var database string
	if err := c.QueryRow(ctx, `select current_database()`).Scan(&database); err != nil {
		return fmt.Errorf("name the database: %w", err)
	}
	if err := slot.CheckUsable(database); err != nil {
		return nil //nolint:nilerr // created again by somebody, for something else
	}
	if slot.Active {
		return &slotReadError{name, slot.ActivePID}
	}
	if err := replication.Drop(ctx, c, name); err != nil {
		return err
	}
	log.Warn("dropped a replication slot of awa-counterd's that nobody reads any more", zap.String("replication_slot", name), zap.String("schema", schema))
	return nil
}

// dropUnused drops publications that we had under other names, unless others use them, or they publish what is not ours. One that has
// not the daemon's default name may be somebody's whose replication slot reads it, and be lost to that for ever: people are told.
func (s positioned) dropUnused(ctx context.Context, had []uint32) error {
	had = slices.DeleteFunc(slices.Clone(had), func(oid uint32) bool { return slices.Contains(s.published.OIDs, oid) })
	if len(had) == 0 {
		return nil
	}
	used, err := checkpoint.UsedByOthers(ctx, s.control, []string{string(s.layout.Schema)}, had)
	if err != nil {
		return err
	}
	had = slices.DeleteFunc(had, func(oid uint32) bool { return slices.Contains(used, oid) })
	unused, err := replication.NoMoreThan(ctx, s.control, had, names(s.pubs))
	if err != nil || len(unused) == 0 {
		return err
	}
	drop := func(names []string) string {
		quoted := make([]string, 0, len(names))
		for _, name := range names {
			quoted = append(quoted, pgx.Identifier{name}.Sanitize())
		}
		return `DROP PUBLICATION IF EXISTS ` + strings.Join(quoted, ", ")
	}
	var ours, theirs []string
	for _, name := range unused {
		if slices.Contains(defaultPublications(string(s.layout.Schema)), name) {
			ours = append(ours, name)
		} else {
			theirs = append(theirs, name)
		}
	}
	if len(theirs) > 0 {
		s.log.Warn("publications that the daemon used before are left, since they may be somebody's; drop them if nobody reads them", zap.String("run", drop(theirs)))
	}
	if len(ours) == 0 {
		return nil
	}
	_, err = s.control.Exec(ctx, drop(ours))
	switch {
	case pg.IsDenied(err):
		s.log.Warn("the daemon may not drop the publications that it used before; let their owner do it", zap.String("run", drop(ours)), zap.Error(err))
		return nil
	case err != nil:
		return fmt.Errorf("drop publications that nobody uses any more: %w", err)
	}
	s.log.Warn("dropped publications of awa-counterd's that nobody uses any more", zap.Strings("publications", ours))
	return nil
}
