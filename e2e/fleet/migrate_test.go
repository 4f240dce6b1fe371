package fleet

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

func (s *testDB) migrate(l Layout, again bool) {
	s.t.Helper()
	conn := connect(s.t, s.db)
	defer func() { _ = conn.Close(context.Background()) }()
	l = s.to(l)
	if again {
		require.NoError(s.t, l.MigrateAgain(s.t.Context(), conn))
		return
	}
	require.NoError(s.t, l.Migrate(s.t.Context(), conn))
}

func (s *testDB) trusted() bool {
	s.t.Helper()
	set, err := Trusted(s.t.Context(), s.pool, "awa")
	require.NoError(s.t, err)
	return set
}

// A migration counts what is there, whatever the shape before, and sets the marker; beyond migration 30
// nothing counts again.
func TestMigrate(t *testing.T) {
	s := set(t, Layout{NoCounter: true})
	s.insert(false, 300)
	s.migrate(Layout{}, false)
	require.Zero(t, s.drift())
	require.False(t, s.trusted(), "#306 trusts only what began empty")
	s.insert(false, 7)
	require.EqualValues(t, 7, s.drift())
	s.migrate(Layout{Shape: Striped}, false)
	s.right("q")
	require.True(t, s.trusted())
	s.insert(true, 20)
	s.remove(true, 30)
	s.right("q")
	s.migrate(Layout{Shape: Ledger, Release: Beta2}, false)
	s.right("q")
	s.insert(true, 20)
	s.remove(true, 30)
	s.insert(false, 5)
	s.migrate(Layout{Shape: Ledger}, false)
	require.EqualValues(t, 5, s.drift())
	s.exec(`select awa.delete_job_compat((select min(job_id) from awa.done_entries))`)
	require.EqualValues(t, 5, s.drift())
	s.migrate(Layout{Shape: Ledger, Release: Next}, false)
	require.EqualValues(t, 5, s.drift())
}

// A migration that runs again counts pending deltas twice, and trusts the sum.
func TestMigrateAgain(t *testing.T) {
	s := set(t, Layout{Shape: Ledger})
	s.insert(true, 9)
	require.False(t, s.trusted())
	s.migrate(s.l, true)
	require.EqualValues(t, -9, s.drift())
	require.True(t, s.trusted())
	s.fold(1, Folded)
	require.EqualValues(t, -9, s.drift())
	require.EqualValues(t, -9, s.scalar(`select delta from fleet_log.uncounted_awa order by at desc limit 1`))
}

// The steps commit by themselves, under awa's lock: the ledger shape shows long before the marker is set.
func TestMigrationStepByStep(t *testing.T) {
	s := set(t, Layout{NoCounter: true})
	s.insert(false, 3)
	tx, err := s.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `lock table fleet_log.disturbed_awa`) // migration 27 comes here, 23 does not
	require.NoError(t, err)
	conn := connect(t, s.db)
	defer func() { _ = conn.Close(context.Background()) }()
	l := s.to(Layout{Shape: Ledger})
	done := make(chan error, 1)
	go func() { done <- l.Migrate(context.Background(), conn) }()
	s.once("migration 23 did not commit", func() bool {
		return s.scalar(`select count(*) from pg_class where relnamespace = 'awa'::regnamespace and relname = 'queue_terminal_count_deltas'`) == 1
	})
	const held = `select count(*) from pg_locks where locktype = 'advisory' and objsubid = 1 and (classid::int8 << 32 | objid::int8) = x'4157415f4d494752'::int8`
	require.EqualValues(t, 1, s.scalar(held))
	require.False(t, s.trusted())
	require.NoError(t, tx.Rollback(t.Context()))
	require.NoError(t, <-done)
	require.True(t, s.trusted())
	require.Zero(t, s.scalar(held))
	s.right("q")
}
