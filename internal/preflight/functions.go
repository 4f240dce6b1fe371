package preflight

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// callables are the server's functions that the daemon calls all the time, by name and what their arguments begin with. PUBLIC may
// execute all of them, until somebody revokes that.
func callables() (names, arguments []string) {
	for _, f := range []string{
		"pg_logical_emit_message(boolean, text, text", "pg_current_snapshot(", "pg_current_xact_id(", "pg_current_wal_insert_lsn(", "pg_current_wal_lsn(",
		"pg_wal_lsn_diff(", "pg_try_advisory_lock(bigint", "pg_advisory_unlock(bigint", "pg_advisory_xact_lock(bigint", "hashtextextended(text",
		"pg_control_system(", "pg_drop_replication_slot(", "pg_backend_pid(", "set_config(", "clock_timestamp(",
	} {
		name, begin, _ := strings.Cut(f, "(")
		names, arguments = append(names, name), append(arguments, begin)
	}
	return names, arguments
}

func functions(ctx context.Context, v *visit) []Finding {
	names, arguments := callables()
	rows, err := v.Conn.Query(ctx, `select p.oid::regprocedure::text from unnest($2::text[], $3::text[]) w (name, begins)
		join pg_proc p on p.proname = w.name and p.pronamespace = 'pg_catalog'::regnamespace and starts_with(oidvectortypes(p.proargtypes), w.begins)
		where not has_function_privilege($1::text, p.oid, 'EXECUTE') order by 1`, v.Role, names, arguments)
	var lacks []string
	if err == nil {
		lacks, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil || len(lacks) == 0 {
		return found("functions", err, true, "the role may call those of the server's that the daemon calls", "")
	}
	grant := grantSQL("EXECUTE ON FUNCTION "+strings.Join(lacks, ", "), v.Role)
	out := found("functions", nil, false, "the role may not execute "+strings.Join(lacks, ", "), grant)
	out[0].Refusal = pg.Refuse("as a superuser run: "+grant, "role %s lacks EXECUTE on %s, which PUBLIC has on a server as it was made", v.Role, strings.Join(lacks, ", "))
	return out
}
