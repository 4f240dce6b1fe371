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
		h.tell(zap.New(core), pg.Session{State: "idle", Idle: time.Hour}, now.Add(migrationTakes))
	}
	require.Len(t, logs.All(), 1)
	require.False(t, h.long(8, now.Add(time.Hour)))
}

// said is what a look at a process that has kept the lock says.
func (h *holding) said(s pg.Session, now time.Time) []observer.LoggedEntry {
	core, logs := observer.New(zap.DebugLevel)
	h.tell(zap.New(core), s, now)
	return logs.All()
}

// What ends a session is said of one only that does nothing any more: a large migration takes longer than a minute, and who ends it
// ends it between two of its steps. Each thing is said once.
func TestNobodyIsToldToEndAMigration(t *testing.T) {
	for name, c := range map[string]struct {
		s     pg.Session
		level zapcore.Level
		text  string
		run   bool
	}{
		"at work":                        {pg.Session{State: "active", Idle: time.Hour}, zap.InfoLevel, "still migrating", false},
		"in a transaction":               {pg.Session{State: "idle in transaction", Idle: migrationTakes - time.Second}, zap.InfoLevel, "still migrating", false},
		"in a failed one":                {pg.Session{State: "idle in transaction (aborted)", Idle: migrationTakes - time.Second}, zap.InfoLevel, "still migrating", false},
		"in a transaction that stands":   {pg.Session{State: "idle in transaction", Idle: migrationTakes}, zap.WarnLevel, "has done nothing for a minute", true},
		"in a failed one that stands":    {pg.Session{State: "idle in transaction (aborted)", Idle: migrationTakes}, zap.WarnLevel, "has done nothing for a minute", true},
		"between two statements":         {pg.Session{State: "idle", Idle: migrationTakes - time.Second}, 0, "", false},
		"left behind":                    {pg.Session{State: "idle", Idle: migrationTakes}, zap.WarnLevel, "has done nothing for a minute", true},
		"not shown":                      {pg.Session{}, zap.WarnLevel, "this role cannot see whether that session migrates", false},
		"not kept by the server":         {pg.Session{State: "disabled"}, zap.WarnLevel, "track_activities is off for that session", false},
		"of a kind that nobody knows of": {pg.Session{State: "starting"}, zap.WarnLevel, "this role cannot see whether that session migrates", false},
	} {
		t.Run(name, func(t *testing.T) {
			var h holding
			now := time.Unix(1_000_000, 0)
			h.long(7, now)
			got := h.said(c.s, now)
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
			require.Empty(t, h.said(c.s, now.Add(lookEvery)), "said once more")
		})
	}
	var h holding
	now := time.Unix(1_000_000, 0)
	h.long(7, now)
	require.Len(t, h.said(pg.Session{State: "active"}, now), 1)
	require.Len(t, h.said(pg.Session{State: "idle", Idle: time.Hour}, now.Add(lookEvery)), 1, "what was at work is left behind later")
}

// A worker whose migrate() was cancelled goes on with that connection of its pool, every few seconds or more often. Its queries are no
// migration, which does not rest between its statements.
func TestALockInAPoolAtWorkIsNamed(t *testing.T) {
	var h holding
	now := time.Unix(1_000_000, 0)
	h.long(7, now)
	look := func(s pg.Session) []observer.LoggedEntry {
		now = now.Add(lookEvery)
		return h.said(s, now)
	}
	idle, query := pg.Session{State: "idle", Idle: 10 * time.Millisecond}, pg.Session{State: "active"}
	for range 100 { // a client far away is seen between two statements, at one look after the other even
		require.Empty(t, look(idle))
		require.Empty(t, look(idle))
		for _, line := range look(query) {
			require.Contains(t, line.Message, "still migrating")
		}
	}
	var got []observer.LoggedEntry
	for first := now; len(got) == 0; got = look(idle) {
		require.Less(t, now.Sub(first), 2*pauseTakes)
	}
	require.Equal(t, zap.WarnLevel, got[0].Level)
	require.Contains(t, got[0].Message, "does not migrate")
	require.Equal(t, "SELECT pg_terminate_backend(7)", got[0].ContextMap()["run"])
	now = now.Add(time.Hour)
	require.Empty(t, look(query), "what does not migrate is not called a migration")
	require.Empty(t, look(pg.Session{State: "idle", Idle: time.Hour}), "and not named once more")
}

// A migration that takes hours is not forgotten: that it is still at work is said again, with who that is and for how long.
func TestALongMigrationIsSaidAgain(t *testing.T) {
	var h holding
	began := time.Unix(1_000_000, 0)
	h.long(7, began)
	times := 0
	for now := began.Add(migrationTakes); now.Before(began.Add(time.Hour)); now = now.Add(lookEvery) {
		for _, line := range h.said(pg.Session{State: "active", Application: "worker"}, now) {
			times++
			require.Equal(t, zap.InfoLevel, line.Level)
			require.Equal(t, "worker", line.ContextMap()["application_name"])
			require.Equal(t, "active", line.ContextMap()["state"])
			require.Equal(t, now.Sub(began), line.ContextMap()["held"])
		}
	}
	require.Equal(t, 6, times)
}
