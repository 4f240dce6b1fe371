package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/awa-counterd/awa-counterd/applier"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	inprocess "github.com/awa-counterd/awa-counterd/internal/daemon"
)

// disconnected waits until the server has noticed that all connections of awa-counterd are closed.
func (e *env) disconnected() {
	e.t.Helper()
	e.none(`select count(*) from pg_stat_activity where application_name like 'awa-counterd%' and datname = current_database()`,
		3*time.Second, "connections left behind")
}

// A daemon in this very process, through lost sessions and a stop: no goroutine and no connection is
// left.
func TestNothingIsLeftBehind(t *testing.T) {
	e := newEnv(t, fleet.Layout{Slots: 4})
	e.marker(false, 0)
	before := goleak.IgnoreCurrent()
	src, err := pg.ParseSource(e.url())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- inprocess.New(inprocess.Options{
			Source: src, Trust: applier.TrustLive, QuietPeriod: time.Minute, MaxStaleness: 2 * time.Second, FlushInterval: 100 * time.Millisecond,
			CheckpointInterval: 200 * time.Millisecond, AuditInterval: time.Second, StatusInterval: time.Second, Version: "test",
		}).Run(ctx)
	}()
	for _, who := range []string{"stream", "control", "corrections"} {
		e.marker(true, 10*time.Second)
		e.exec(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like 'awa-counterd ' || $1`, who)
		e.marker(false, 5*time.Second)
	}
	e.marker(true, 10*time.Second)
	cancel()
	require.NoError(t, <-done)
	goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).backgroundHealthCheck"),
		goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).triggerHealthCheck.func1"))
	e.disconnected()
}
