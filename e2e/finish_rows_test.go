package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/checkpoint"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// exchanges is an old binary that writes one job and takes another one of the same group back: the sum is what it was, and two of awa's
// counter rows are wrong.
func (e *env) exchanges(slot int32) {
	e.t.Helper()
	e.insertAt(slot, "q", 1, false)
	e.exec(fmt.Sprintf(`delete from awa.done_entries where ctid in (select ctid from awa.done_entries_%d order by job_id limit 1) and ready_slot = %[1]d`, slot))
}

// waitsAtTheMarker holds up whoever sets the marker, until it is let go.
func (e *env) waitsAtTheMarker() (there func(), letGo func()) {
	e.t.Helper()
	holder, err := e.pool.Begin(e.t.Context())
	require.NoError(e.t, err)
	e.t.Cleanup(func() { _ = holder.Rollback(e.t.Context()) })
	_, err = holder.Exec(e.t.Context(), `select pg_advisory_xact_lock(42)`)
	require.NoError(e.t, err)
	e.exec(`create function awa.hold() returns trigger language plpgsql as $$ begin
			if new.terminal_counter_trusted_at is not null then perform pg_advisory_xact_lock(42); end if; return new; end $$;
		create trigger hold before update on awa.queue_ring_state for each row execute function awa.hold()`)
	there = func() {
		e.t.Helper()
		ctx, cancel := contextWithin(60 * time.Second)
		defer cancel()
		e.until(ctx, func() bool {
			return e.scalar(`select count(*) from pg_stat_activity where datname = current_database() and application_name ~ 'awa-counterd reconcile' and wait_event_type = 'Lock'`) > 0
		}, func() string { return "nobody sets the marker" })
	}
	return there, func() {
		require.NoError(e.t, holder.Rollback(e.t.Context()))
	}
}

// When the daemons have left, nobody follows any more. What an old binary writes then, before finish has come to its slot for the last
// time, is not mended and forgotten, also where it adds up to what is right.
func TestFinishSeesWhoWritesWhenDaemonsHaveLeft(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		write func(e *env)
		said  string
	}{
		"a job": {
			func(e *env) { e.insertAt(3, "q", 1, false) },
			"awa-counterd: not finished: the counters of 1 groups became wrong when the daemons had left, the first on queue q",
		},
		"a job, and another taken back": {
			func(e *env) { e.exchanges(3) },
			"awa-counterd: not finished: 2 counter rows turned wrong that add up to what is right when the daemons had left, the first on queue q",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			d := e.daemon("--checkpoint-interval", "200ms")
			d.logged("marker set", 20*time.Second)
			e.insertAt(3, "q", 5, false)
			e.balanced(5 * time.Second)
			leads, gives := e.leadsNext()
			said, how := e.finishes("5s", "1m")
			require.NoError(t, <-leads)
			c.write(e)
			gives()
			said(c.said)
			require.Equal(t, refused, how())
			e.balanced(10 * time.Second)
			e.marker(true, 20*time.Second)
		})
	}
}

// An old worker comes when the daemons have left, or while finish waits for the marker's row, and has written nothing yet: what it writes later
// nobody would see, under a marker that is set for good. So is a migrate() of its release.
func TestFinishSeesWhoComesWhenDaemonsHaveLeft(t *testing.T) {
	t.Parallel()
	const worker, remedy = `insert into awa.runtime_instances values ('old', '0.6.0-beta.1', now(), false)`, "; replace them, and run it again"
	const came = "awa-counterd: not finished: pre-#290 runtimes have come when the daemons had left: old (0.6.0-beta.1)" + remedy
	for name, c := range map[string]struct {
		sql, said string
		late      bool // while the marker is set
	}{
		"a worker":                    {worker, came, false},
		"a worker behind the marker":  {worker, came, true},
		"a migrate of an old release": {`create function awa.delete_job_compat() returns void language sql as 'delete from awa.done_entries'`, "awa-counterd: not finished: migrate() of an old release has put back its awa.delete_job_compat", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
			e.exec(`create table awa.runtime_instances (instance_id text, version text, last_seen_at timestamptz, leader boolean);
				insert into awa.runtime_instances values ('new', '0.6.9', now() + interval '1 h', true)`)
			d := e.daemon("--checkpoint-interval", "200ms")
			d.logged("marker set", 20*time.Second)
			e.insertAt(3, "q", 5, true)
			e.balanced(5 * time.Second)
			if c.late {
				there, letGo := e.waitsAtTheMarker()
				said, how := e.finishes("1s", "1m")
				there()
				e.exec(c.sql)
				letGo()
				said(c.said)
				require.Equal(t, refused, how())
			} else {
				leads, gives := e.leadsNext()
				said, how := e.finishes("1s", "1m")
				require.NoError(t, <-leads)
				e.exec(c.sql)
				gives()
				said(c.said)
				require.Equal(t, refused, how())
			}
			e.exec(`drop trigger if exists hold on awa.queue_ring_state; drop function if exists awa.delete_job_compat(); delete from awa.runtime_instances where instance_id = 'old'`)
			e.marker(true, 20*time.Second)
			_, how := e.finishes("1s", "1m")
			e.finished(d, how)
		})
	}
}

// leadsNext has the lead when the daemon gives it up, before finish, until it is given back.
func (e *env) leadsNext() (leads chan error, gives func()) {
	e.t.Helper()
	next := e.connect()
	leads = make(chan error, 1)
	go func() {
		_, err := next.Exec(e.t.Context(), `select pg_advisory_lock(hashtextextended($1, 0))`, checkpoint.LockKey("awa"))
		leads <- err
	}()
	return leads, func() { require.NoError(e.t, next.Close(e.t.Context())) }
}

// An old binary does the same while finish waits for the marker's row: what adds up now would be wrong after the next fold, under a marker
// that is set for good.
func TestFinishLooksAtEachCounterRow(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	d := e.daemon("--checkpoint-interval", "200ms")
	d.logged("marker set", 20*time.Second)
	e.insertAt(3, "q", 5, false)
	e.balanced(5 * time.Second)
	e.wait(3 * time.Second)
	there, letGo := e.waitsAtTheMarker()
	said, how := e.finishes("2s", "1m")
	there()
	e.exchanges(3)
	letGo()
	said("awa-counterd: not finished: 2 counter rows are wrong that add up to what is right, the first on queue q")
	require.Equal(t, refused, how())
	e.exec(`drop trigger hold on awa.queue_ring_state`)
	e.marker(true, 20*time.Second)
}

// The same of reconcile --trust.
func TestTrustLooksAtEachCounterRow(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	e.insertAt(3, "q", 5, false)
	there, letGo := e.waitsAtTheMarker()
	trust := e.types("reconcile", "--trust", "--observe", "1s")
	there()
	e.exchanges(3)
	letGo()
	require.Contains(t, trust.ends(refused, 20*time.Second), "the marker was not set: 2 counter rows were found behind the last look that add up to what is right, on queue q")
	e.marker(false, 0)
}

// And an old worker that comes while reconcile --trust waits for the marker's row.
func TestTrustSeesWhoComes(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 4})
	e.exec(`create table awa.runtime_instances (instance_id text, version text, last_seen_at timestamptz, leader boolean)`)
	there, letGo := e.waitsAtTheMarker()
	trust := e.types("reconcile", "--trust", "--observe", "1s")
	there()
	e.exec(`insert into awa.runtime_instances values ('old', '0.6.0-beta.1', now(), false)`)
	letGo()
	require.Contains(t, trust.ends(refused, 20*time.Second), "the marker was not set: pre-#290 runtimes are live: old (0.6.0-beta.1); stop the old writers, and run this again")
	e.marker(false, 0)
}
