package e2e

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// Somebody has forgotten a transaction; doctor and status name it by process and application. Neither a VACUUM, nor a daemon with its
// replication slot and its scans, is one.
func TestForgottenTransactionIsNamed(t *testing.T) {
	t.Parallel()
	e := newEnvOn(t, ownServer(t), fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	e.daemon()
	e.marker(true, 20*time.Second)
	_, out, _ := e.command("doctor")
	require.Contains(t, out, "✔ forgotten transactions: none older than 2 hours")
	looks := e.connect()
	find := func() *pg.Forgotten {
		f, err := pg.FindForgotten(t.Context(), looks, 100*time.Millisecond)
		require.NoError(t, err)
		return f
	}
	e.exec(`create table public.large as select repeat('x', 1000) as x from generate_series(1, 20000); delete from public.large`)
	cleans := e.connect()
	_, err := cleans.Exec(t.Context(), `set vacuum_cost_delay = '100ms'; set vacuum_cost_limit = 1`)
	require.NoError(t, err)
	go func() { _, _ = cleans.Exec(t.Context(), `vacuum public.large`) }()
	ctx, cancel := contextWithin(20 * time.Second)
	defer cancel()
	e.until(ctx, func() bool {
		return e.scalar(`select count(*) from pg_stat_progress_vacuum v join pg_stat_activity a using (pid)
			where a.xact_start < clock_timestamp() - interval '1 s' and a.backend_type = 'client backend'`) == 1
	}, func() string { return "no VACUUM" })
	require.Nil(t, find(), "only a VACUUM and a daemon are at work")

	for what, begin := range map[string]string{"reads": `select 1 from awa.done_entries`, "writes": `create table public.x (i int)`} {
		conn := e.connect()
		_, err := conn.Exec(t.Context(), `set application_name = 'forgotten'`)
		require.NoError(t, err)
		tx, err := conn.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), begin)
		require.NoError(t, err)
		e.until(ctx, func() bool {
			f := find()
			return f != nil && f.PID == int(conn.PgConn().PID()) && f.Application == "forgotten"
		},
			func() string { return "one that " + what + " is not named" })
		require.NoError(t, tx.Rollback(t.Context()))
	}
}
