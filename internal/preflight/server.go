package preflight

import (
	"context"
	"fmt"

	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// oldestServer is the first version whose pgoutput sends messages and streams transactions.
const oldestServer = 140000

// oldestFailover is the first version that synchronizes replication slots to standbys.
const oldestFailover = 170000

// server is what a server says of itself.
type server struct {
	version     int
	text, level string
	recovery    bool
	err         error
}

func (v *visit) readServer(ctx context.Context) *server {
	if v.server == nil {
		s := &server{}
		s.err = v.queryRow(ctx, `select current_setting('server_version_num')::int, current_setting('server_version'), current_setting('wal_level'), pg_is_in_recovery()`,
			nil, &s.version, &s.text, &s.level, &s.recovery)
		if s.err != nil {
			s.err = fmt.Errorf("look at the server: %w", s.err)
		}
		v.server = s
	}
	return v.server
}

func version(ctx context.Context, v *visit) []Finding {
	s := v.readServer(ctx)
	const remedy = "upgrade the server, or use awa's own rebuild-terminal-counters"
	return orRefuse(found("server version", s.err, s.version >= oldestServer, "PostgreSQL "+s.text, remedy),
		remedy, "PostgreSQL %s is too old: awa-counterd needs 14 or later", s.text)
}

func failover(ctx context.Context, v *visit) []Finding {
	if !v.Failover {
		return nil
	}
	s := v.readServer(ctx)
	const remedy = "upgrade the server, or leave --slot-lifetime=failover out"
	return orRefuse(found("failover slots", s.err, s.version >= oldestFailover, "PostgreSQL "+s.text, remedy),
		remedy, "PostgreSQL %s has no failover slots: these need 17 or later", s.text)
}

func primary(ctx context.Context, v *visit) []Finding {
	s := v.readServer(ctx)
	const remedy = "point --database-url at the primary"
	return orRefuse(found("primary", s.err, !s.recovery, map[bool]string{true: "this is a standby", false: "this is the primary"}[s.recovery], remedy),
		remedy, "the server is a standby; counters can only be written on the primary")
}

func walLevel(ctx context.Context, v *visit) []Finding {
	s := v.readServer(ctx)
	const remedy = "ALTER SYSTEM SET wal_level = 'logical' and restart the server"
	return orRefuse(found("wal_level", s.err, s.level == "logical", "wal_level is "+s.level, remedy),
		"run: "+remedy, `wal_level is %q; reading the changes needs "logical"`, s.level)
}

func slotFree(ctx context.Context, v *visit) []Finding {
	var slots, used int
	var ours bool
	err := v.queryRow(ctx, `select current_setting('max_replication_slots')::int, (select count(*) from pg_replication_slots),
		exists (select 1 from pg_replication_slots where slot_name = $1)`, []any{v.Slot}, &slots, &used, &ours)
	return found("replication slot free", err, ours || used < slots, fmt.Sprintf("%d of %d used", used, slots),
		"ALTER SYSTEM SET max_replication_slots = "+fmt.Sprint(slots+5)+" and restart the server, or drop a replication slot that nobody needs")
}

// walsenderFree counts where every role sees all of them: pg_stat_activity hides what kind of process another role's is.
func walsenderFree(ctx context.Context, v *visit) []Finding {
	var senders, sending int
	err := v.queryRow(ctx, `select current_setting('max_wal_senders')::int, (select count(*) from pg_stat_replication)`,
		nil, &senders, &sending)
	return found("walsender free", err, sending < senders, fmt.Sprintf("%d of %d used", sending, senders),
		"ALTER SYSTEM SET max_wal_senders = "+fmt.Sprint(senders+5)+" and restart the server")
}

func walBounded(ctx context.Context, v *visit) []Finding {
	var keep string
	err := v.queryRow(ctx, `select current_setting('max_slot_wal_keep_size')`, nil, &keep)
	return found("WAL bounded", err, keep != "-1", "max_slot_wal_keep_size is "+map[bool]string{true: "unlimited: a replication slot that nobody reads fills the disk", false: keep}[keep == "-1"],
		"ALTER SYSTEM SET max_slot_wal_keep_size = '20GB'; SELECT pg_reload_conf()")
}

// walLevelAfterRestart looks whether the server would start again: with a logical replication slot it does not below wal_level = logical. What
// the server's files say is for those to read whom a superuser lets; that a reload has found another value there, everybody may see.
func walLevelAfterRestart(ctx context.Context, v *visit) []Finding {
	const name = "wal_level after a restart"
	var there, logical, pending, may bool
	err := v.queryRow(ctx, `select exists (select 1 from pg_replication_slots where slot_name = $1), current_setting('wal_level') = 'logical',
		coalesce((select pending_restart from pg_settings where name = 'wal_level'), false),
		has_table_privilege('pg_file_settings', 'select') and has_function_privilege('pg_show_all_file_settings()', 'execute')`,
		[]any{v.Slot}, &there, &logical, &pending, &may)
	var next *string
	if err == nil && may {
		err = v.queryRow(ctx, `select (select setting from pg_file_settings where name = 'wal_level' order by seqno desc limit 1)`, nil, &next)
	}
	lowered, to := logical && next != nil && *next != "logical", ""
	switch {
	case lowered:
		to = " to " + *next
	case !may && logical && pending:
		lowered = true
	case !may && err == nil:
		return found(name, nil, true, "no reload has found another one; whether the server's files have one that was not loaded yet, this role may not see", "")
	}
	detail := "no configuration file lowers it"
	if lowered {
		detail = "a configuration file lowers wal_level" + to
		if there {
			detail += fmt.Sprintf(": as long as replication slot %s exists, the server would not start", v.Slot)
		}
	}
	return found(name, err, !lowered, detail, "ALTER SYSTEM SET wal_level = 'logical'")
}

// streamRight: Amazon RDS has a role of its own in the place of the attribute (pg.ReadStreamRight).
func streamRight(ctx context.Context, v *visit) []Finding {
	right, err := pg.ReadStreamRight(ctx, v.Conn, v.Role)
	name, detail := "REPLICATION right", "role "+v.Role
	if err == nil && !right.Exists {
		name, detail = "role", "there is no role "+v.Role
	}
	return orRefuse(found(name, err, right.May, detail, right.Remedy),
		"run: "+right.Remedy, "role %s has no REPLICATION right", v.Role)
}

func planStreamRight(ctx context.Context, v *visit) ([]Step, error) {
	if v.Role == "" {
		return nil, nil
	}
	right, err := pg.ReadStreamRight(ctx, v.Conn, v.Role)
	switch {
	case err != nil:
		return nil, err
	case !right.Exists:
		return nil, pg.Refuse("run: "+right.Remedy, "there is no role %s", v.Role)
	case !right.May:
		return []Step{{What: "let " + v.Role + " replicate", SQL: right.Remedy}}, nil
	}
	return nil, nil
}
