package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/internal/preflight"
	"github.com/awa-counterd/awa-counterd/internal/provision"
)

// database is what every command that connects has in common.
type database struct {
	DatabaseURL string `name:"database-url" placeholder:"URL" help:"Database to work on. Default: DATABASE_URL, then libpq's PG* variables."`
	Schema      string `placeholder:"NAME" help:"awa's schema. Default: the one that awa says is active, then \"awa\"."`
}

// objects are what a daemon has on the server, by name.
type objects struct {
	slotName `embed:""`

	Publication string `placeholder:"NAME" help:"Name of the publication. Default: awa_counterd_SCHEMA."`
}

type slotName struct {
	Slot string `placeholder:"NAME" help:"Name of the replication slot. Default: derived from database and schema."`
}

// objectName is what PostgreSQL lets a replication slot be called; publications are held to the same.
var objectName = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

// defaultNames fills in what a daemon of this schema is called by default.
func defaultNames(ctx context.Context, conn *pgx.Conn, schema awa.Schema, asked provision.Names) (provision.Names, error) {
	var database string
	if err := conn.QueryRow(ctx, `select current_database()`).Scan(&database); err != nil {
		return asked, fmt.Errorf("name the database: %w", err)
	}
	return asked.Default(database, schema), nil
}

// made reads what a daemon of this schema has made, beside the names that are asked for or the default; nothing where that may not be read:
// flags can still give it.
func made(ctx context.Context, conn *pgx.Conn, schema awa.Schema, asked provision.Names) (n provision.Names, m checkpoint.Made, err error) {
	if n, err = defaultNames(ctx, conn, schema, asked); err != nil {
		return n, m, err
	}
	if m, err = checkpoint.ReadMade(ctx, conn, string(schema)); pg.IsDenied(err) {
		err = nil
	}
	return n, m, err
}

// inUse fills in the names that a daemon of this schema uses, for who only looks: those of its checkpoint where no flag gives others,
// else the default ones. stored says that the replication slot is not the one of that name, but the checkpoint's.
func inUse(ctx context.Context, conn *pgx.Conn, schema awa.Schema, asked provision.Names) (n provision.Names, stored bool, err error) {
	n, m, err := made(ctx, conn, schema, asked)
	if pg.IsBusy(err) && ctx.Err() == nil {
		return n, false, nil
	}
	if asked.Slot == "" && m.Slot != "" {
		stored, n.Slot = m.Slot != n.Slot, m.Slot
	}
	if asked.Publication == "" && m.Publication != "" {
		n.Publication = m.Publication
	}
	return n, stored, err
}

// names fills in what a daemon of this schema is called by default, and the replication slot that it works with, which its --slot may
// have named. Another one is refused: the real one would be left unread, and retain WAL.
func names(ctx context.Context, conn *pgx.Conn, schema awa.Schema, asked provision.Names) (provision.Names, error) {
	n, m, err := made(ctx, conn, schema, asked)
	switch {
	case err != nil:
		return n, err
	case m.Slot != "" && asked.Slot != "" && m.Slot != asked.Slot:
		return n, pg.Refuse("leave --slot out", "--slot=%s: the daemon of schema %s uses the replication slot %s", asked.Slot, schema, m.Slot)
	}
	if m.Slot != "" {
		n.Slot = m.Slot
	}
	return n, nil
}

// checkSlotName refuses a --slot that could not be one. An empty one means the default.
func checkSlotName(name string) error {
	if name != "" && !objectName.MatchString(name) {
		return fmt.Errorf("--slot=%q: the name of a replication slot has 1 to 63 of a-z, 0-9 and _", name)
	}
	return nil
}

func (d *database) validate() error {
	if d.Schema == "" {
		return nil
	}
	_, err := awa.ParseSchema(d.Schema)
	return err
}

func (d *database) source() (*pg.Source, error) {
	url := d.DatabaseURL
	if url == "" {
		url = os.Getenv("DATABASE_URL")
	}
	source, err := pg.ParseSource(url)
	if err != nil {
		return nil, &usageError{err.Error()}
	}
	return source, nil
}

// commandSettings is how a connection of a command behaves. A person waits for it, so it does not wait long for anybody's lock; what it
// may wait for, a command bounds itself.
func commandSettings() pg.Settings { return pg.Settings{Role: "command", LockTimeout: 2 * time.Second} }

// connect opens a connection; what keeps it from that is a refusal with its remedy.
func (d *database) connect(ctx context.Context) (*pg.Source, *pgx.Conn, error) {
	source, err := d.source()
	if err != nil {
		return nil, nil, err
	}
	conn, err := source.Connect(ctx, commandSettings())
	if err != nil {
		return nil, nil, source.ExplainConnect(err)
	}
	return source, conn, nil
}

func (d *database) schema(ctx context.Context, conn *pgx.Conn) (awa.Schema, error) {
	if d.Schema != "" {
		return awa.ParseSchema(d.Schema)
	}
	return awa.ActiveSchema(ctx, conn)
}

// open connects and finds awa's tables.
func (d *database) open(ctx context.Context) (*pg.Source, *pgx.Conn, *awa.Layout, error) {
	source, conn, err := d.connect(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	l, err := d.layout(ctx, conn)
	if err != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
		return nil, nil, nil, err
	}
	return source, conn, l, nil
}

func (d *database) layout(ctx context.Context, conn *pgx.Conn) (*awa.Layout, error) {
	schema, err := d.schema(ctx, conn)
	for tries := 0; err == nil; tries++ { // prunes and rebuilds lock what is read; one after the other for longer than a wait
		l, failed := awa.Discover(ctx, conn, schema)
		if failed == nil {
			return l, nil
		}
		if !pg.IsBusy(failed) || tries == 3 {
			err = failed
		}
	}
	var shape *awa.ShapeError
	var name *awa.SchemaNameError
	var right *awa.RightError
	notYet := errors.Is(err, awa.ErrNotYet)
	if !notYet && !errors.As(err, &shape) && !errors.As(err, &name) && !errors.As(err, &right) {
		return nil, err
	}
	r := &pg.Refusal{Problem: err.Error(), Err: err}
	if notYet {
		r.Remedy = preflight.BringTables
	}
	if pid, e := awa.Migrator(ctx, conn); e == nil && pid != 0 { // it commits step by step
		r.Remedy = fmt.Sprintf("awa's migration is running (process %d): run this again when that has ended", pid)
	}
	return nil, r
}
