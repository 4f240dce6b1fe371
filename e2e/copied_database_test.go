package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// A database is copied, to try something: the schema awa_counterd comes along, and names the replication slot of the original. That one
// is none of the copy's business, whether its daemon runs or not; what is in the copy goes.
func TestTeardownInACopyOfTheDatabase(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"its daemon runs", "its daemon was stopped"} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			slot := "one_" + e.db
			d := e.daemon("--slot", slot, "--checkpoint-interval", "200ms")
			e.marker(true, 20*time.Second)
			require.Zero(t, d.stop())
			e.disconnected()
			c := e.copied()
			if name == "its daemon runs" {
				e.daemon("--slot", slot)
				e.marker(true, 20*time.Second)
			}
			c.says("teardown")
			c.nothingOfOurs()
			require.EqualValues(t, 1, e.scalar(`select count(*) from pg_replication_slots where slot_name = $1`, slot), "the original's slot is gone")
		})
	}
}

// copied makes a copy of a database to which nobody is connected.
func (e *env) copied() *env {
	e.t.Helper()
	c := &env{t: e.t, server: e.server, db: e.db + "_copy", layout: e.layout}
	e.pool.Close()
	admin, err := e.server.Connect(e.t.Context(), "postgres")
	require.NoError(e.t, err)
	defer func() { _ = admin.Close(context.Background()) }()
	_, err = admin.Exec(e.t.Context(), "create database "+c.db+" template "+e.db)
	require.NoError(e.t, err)
	e.pool, err = pgxpool.New(e.t.Context(), e.server.Socket(e.db))
	require.NoError(e.t, err)
	c.pool, err = pgxpool.New(e.t.Context(), e.server.Socket(c.db))
	require.NoError(e.t, err)
	e.t.Cleanup(c.drop)
	return c
}
