package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/pg"
)

// oldestServer is the first version whose pgoutput sends messages and streams transactions.
const oldestServer = 140000

// oldestFailover is the first version that synchronizes slots to standbys.
const oldestFailover = 170000

// checkServer refuses a server that logical replication cannot run on, or a role that may not.
func checkServer(ctx context.Context, c *pgx.Conn, failover bool) error {
	var version int
	var text, level, user string
	var recovery bool
	err := c.QueryRow(ctx, `select current_setting('server_version_num')::int, current_setting('server_version'),
		current_setting('wal_level'), pg_is_in_recovery(), current_user`).Scan(&version, &text, &level, &recovery, &user)
	if err != nil {
		return fmt.Errorf("look at the server: %w", err)
	}
	right, err := pg.ReadStreamRight(ctx, c, user)
	if err != nil {
		return err
	}
	if failover && version < oldestFailover {
		return pg.Refuse("upgrade the server, or leave --slot-lifetime=failover out",
			"PostgreSQL %s has no failover slots: these need 17 or later", text)
	}
	return serverVerdict(version, text, level, recovery, right)
}

func serverVerdict(version int, text, level string, recovery bool, right pg.StreamRight) error {
	switch {
	case version < oldestServer:
		return pg.Refuse("upgrade the server, or use awa's own rebuild-terminal-counters",
			"PostgreSQL %s is too old: logical decoding messages need 14 or later", text)
	case recovery:
		return pg.Refuse("point --database-url at the primary", "the server is a standby; counters can only be written on the primary")
	case level != "logical":
		return pg.Refuse("run: ALTER SYSTEM SET wal_level = 'logical' and restart the server",
			"wal_level is %q; reading the changes needs \"logical\"", level)
	case !right.May:
		return pg.Refuse("run: "+right.Remedy, "role %s has no REPLICATION right", right.Role)
	}
	return nil
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// checkRights refuses a role that cannot do what the daemon does. It asks the catalog, so that
// nothing has to be tried out on awa's tables.
func (d *Daemon) checkRights(ctx context.Context, c *pgx.Conn, l *awa.Layout, user string) error {
	if err := filtered(l.CheckRowSecurity(ctx, c), user); err != nil {
		return err
	}
	needs := l.Needs(d.opts.Trust != applier.TrustOff)
	if d.opts.DryRun {
		needs = l.ReadingNeeds()
	}
	for _, need := range needs {
		var has bool
		if err := c.QueryRow(ctx, `select `+need.Check).Scan(&has); err != nil {
			return fmt.Errorf("look at the role's rights: %w", err)
		}
		if !has {
			return lacksRight(user, need.Grant)
		}
	}
	if err := checkpoint.CheckOwner(ctx, c, l.Rows); err != nil {
		return err
	}
	there, err := checkpoint.Exists(ctx, c)
	if err != nil || there || d.opts.NoSetup {
		return err
	}
	var may bool
	if err := c.QueryRow(ctx, `select has_database_privilege(current_database(), 'create')`).Scan(&may); err != nil {
		return fmt.Errorf("look at the role's rights: %w", err)
	}
	if !may {
		var db string
		if err := c.QueryRow(ctx, `select current_database()`).Scan(&db); err != nil {
			return fmt.Errorf("look at the role's rights: %w", err)
		}
		return pg.Refuse(fmt.Sprintf("run: GRANT CREATE ON DATABASE %s TO %s", quote(db), quote(user)),
			"role %s may not make the schema %s", user, checkpoint.SchemaName)
	}
	return nil
}

// filtered makes a Refusal of row level security.
func filtered(err error, user string) error {
	f, ok := errors.AsType[*awa.RowSecurityError](err)
	if !ok {
		return err
	}
	return &pg.Refusal{
		Problem: fmt.Sprintf("role %s: %s", user, f),
		Remedy:  fmt.Sprintf("run: ALTER ROLE %s BYPASSRLS (or ALTER TABLE %s DISABLE ROW LEVEL SECURITY)", quote(user), f.Tables[0].Table), Err: err,
	}
}

func lacksRight(user, grant string) *pg.Refusal {
	return pg.Refuse(fmt.Sprintf("as the owner of awa's tables run awa-counterd setup --role %s for all that it needs, or run: GRANT %s TO %s", user, grant, quote(user)),
		"role %s lacks %s", user, grant)
}

// asRefusal makes a Refusal of what waiting does not mend.
func asRefusal(err error, user string) error {
	if right, ok := errors.AsType[*awa.RightError](err); ok {
		return lacksRight(user, right.Grant)
	}
	var shape *awa.ShapeError
	var name *awa.SchemaNameError
	if errors.As(err, &shape) || errors.As(err, &name) {
		return &pg.Refusal{Problem: err.Error(), Err: err}
	}
	return err
}

func (d *Daemon) discover(ctx context.Context, c *pgx.Conn) (*awa.Layout, error) {
	schema, err := d.schema(ctx, c)
	if err != nil {
		return nil, err
	}
	// A migration commits step by step; what the catalog shows in between does not last.
	if pid, err := awa.Migrator(ctx, c); err != nil {
		return nil, err
	} else if pid != 0 {
		return nil, &migrating{pid}
	}
	l, err := awa.Discover(ctx, c, schema)
	if err != nil {
		return nil, err
	}
	return l, l.CheckLeaves()
}

func (d *Daemon) schema(ctx context.Context, c *pgx.Conn) (awa.Schema, error) {
	if d.opts.Schema != "" {
		return awa.ParseSchema(d.opts.Schema)
	}
	return awa.ActiveSchema(ctx, c)
}
