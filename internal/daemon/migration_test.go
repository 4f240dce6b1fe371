package daemon

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// Workers that start take the lock one after the other; only one that keeps it is worth a word, and one word.
func TestALockThatIsKeptIsSaidOnce(t *testing.T) {
	var h holding
	now := time.Unix(1_000_000, 0)
	for pid := range int32(100) {
		require.False(t, h.long(1000+pid, now))
		now = now.Add(time.Second)
	}
	require.False(t, h.long(7, now))
	require.False(t, h.long(7, now.Add(migrationTakes-time.Second)))
	require.True(t, h.long(7, now.Add(migrationTakes)))
	core, logs := observer.New(zap.DebugLevel)
	for range 3 {
		h.tell(zap.New(core), pg.Session{State: "idle", Idle: time.Hour})
	}
	require.Len(t, logs.All(), 1)
	require.False(t, h.long(8, now.Add(time.Hour)))
}

// What ends a session is said of one only that does nothing any more: a large migration takes longer than a minute, and who ends it
// ends it between two of its steps. Each thing is said once.
func TestNobodyIsToldToEndAMigration(t *testing.T) {
	said := func(h *holding, s pg.Session) []observer.LoggedEntry {
		core, logs := observer.New(zap.DebugLevel)
		h.tell(zap.New(core), s)
		return logs.All()
	}
	for name, c := range map[string]struct {
		s     pg.Session
		level zapcore.Level
		text  string
		run   bool
	}{
		"at work":                {pg.Session{State: "active", Idle: time.Hour}, zap.InfoLevel, "still migrating", false},
		"in a transaction":       {pg.Session{State: "idle in transaction", Idle: time.Hour}, zap.InfoLevel, "still migrating", false},
		"in a failed one":        {pg.Session{State: "idle in transaction (aborted)", Idle: time.Hour}, zap.InfoLevel, "still migrating", false},
		"between two statements": {pg.Session{State: "idle", Idle: migrationTakes - time.Second}, 0, "", false},
		"left behind":            {pg.Session{State: "idle", Idle: migrationTakes}, zap.WarnLevel, "has done nothing for a minute", true},
		"not shown":              {pg.Session{}, zap.WarnLevel, "this role cannot see whether that session migrates", false},
		"not kept by the server": {pg.Session{State: "disabled"}, zap.WarnLevel, "this role cannot see whether that session migrates", false},
	} {
		t.Run(name, func(t *testing.T) {
			var h holding
			h.long(7, time.Unix(1_000_000, 0))
			got := said(&h, c.s)
			if c.text == "" {
				require.Empty(t, got)
				return
			}
			require.Len(t, got, 1)
			require.Equal(t, c.level, got[0].Level)
			require.Contains(t, got[0].Message, c.text)
			run, has := got[0].ContextMap()["run"]
			require.Equal(t, c.run, has)
			if has {
				require.Equal(t, "SELECT pg_terminate_backend(7)", run)
			}
			require.Empty(t, said(&h, c.s), "said once more")
		})
	}
	var h holding
	h.long(7, time.Unix(1_000_000, 0))
	require.Len(t, said(&h, pg.Session{State: "active"}), 1)
	require.Len(t, said(&h, pg.Session{State: "idle", Idle: time.Hour}), 1, "what was at work is left behind later")
}
