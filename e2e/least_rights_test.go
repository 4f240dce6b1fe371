package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/fleet"
	"github.com/awa-counterd/awa-counterd/internal/awa"
	"github.com/awa-counterd/awa-counterd/internal/base/pg"
	"github.com/awa-counterd/awa-counterd/reconcile"
)

// What a command takes, each beside what the one before it takes.
const (
	checks = iota
	corrects
	trusts
)

// right is one right of those that docs/privileges.md lists for an operator, on one column.
type right struct {
	what, on string
	from     int // the first command that takes it
}

func (r right) grant(role string) string {
	return fmt.Sprintf("grant %s on %s to %s", r.what, r.on, role)
}

func (r right) revoke(role string) string {
	return fmt.Sprintf("revoke %s on %s from %s", r.what, r.on, role)
}

// operatorsRights are the lines of docs/privileges.md. parent: the leaves are read through done_entries.
func (e *env) operatorsRights(parent bool) (out []right) {
	columns := func(from int, on, what, columns string) {
		for column := range strings.FieldsSeq(columns) {
			out = append(out, right{fmt.Sprintf("%s (%s)", what, column), "awa." + on, from})
		}
	}
	const group = "ready_slot queue priority enqueue_shard"
	key, buckets := group, e.layout.Shape != fleet.Direct
	if buckets {
		key += " counter_bucket"
	}
	rows := []string{"done_entries"}
	if !parent {
		rows = nil
		for slot := range e.layout.Slots {
			rows = append(rows, fmt.Sprintf("done_entries_%d", slot))
		}
	}
	out = append(out, right{"usage", "schema awa", checks}, right{"select", "awa.runtime_storage_backends", checks})
	for _, on := range rows {
		columns(checks, on, "select", group)
		if buckets {
			columns(checks, on, "select", "job_id")
		}
	}
	columns(checks, "queue_terminal_live_counts", "select", key+" live_terminal_count")
	columns(corrects, "queue_terminal_live_counts", "insert", key+" live_terminal_count")
	columns(corrects, "queue_terminal_live_counts", "update", "live_terminal_count")
	if buckets {
		out = append(out, right{"delete", "awa.queue_terminal_live_counts", corrects})
	}
	if e.layout.Shape == fleet.Ledger {
		for slot := range e.layout.Slots {
			on := fmt.Sprintf("queue_terminal_count_deltas_%d", slot)
			columns(checks, on, "select", "queue priority enqueue_shard counter_bucket terminal_delta")
			columns(corrects, on, "select", "ready_generation")
		}
		columns(corrects, "queue_ring_slots", "select", "slot generation")
	}
	marker := "singleton terminal_counter_trusted_at"
	if e.layout.Release == fleet.Next {
		columns(corrects, "queue_ring_rotations", "select", "generation")
		columns(corrects, "queue_ring_state", "select", "singleton slot_count")
		marker = "terminal_counter_trusted_at"
	}
	columns(trusts, "queue_ring_state", "select", marker)
	columns(trusts, "queue_ring_state", "update", "terminal_counter_trusted_at")
	return out
}

// unasked does what a command does, and does not ask first what its role may.
func unasked(ctx context.Context, url string, command int) error {
	source, err := pg.ParseSource(url)
	if err != nil {
		return err
	}
	conn, err := source.Connect(ctx, pg.Settings{Role: "command"})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	schema, err := awa.ActiveSchema(ctx, conn)
	if err != nil {
		return err
	}
	l, err := awa.Discover(ctx, conn, schema)
	if err != nil {
		return err
	}
	one, err := reconcile.NewOneShot(ctx, source, l)
	if err != nil {
		return err
	}
	defer one.Close()
	if command == checks {
		_, err := one.Look(ctx, nil)
		return err
	}
	if _, err := one.Run(ctx, true, nil); err != nil {
		return err
	}
	if _, err := one.Stale(ctx); err != nil || command == corrects {
		return err
	}
	return one.Trust(ctx)
}

// What docs/privileges.md lists for an operator is what reconcile takes, in each shape: no more, for a role that has just that, and no
// less, for a role that lacks one of it hears of it, and could not do without.
func TestReconcileNeedsNoMore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		layout fleet.Layout
		parent bool
	}{
		"one row a group":              {fleet.Layout{Shape: fleet.Direct, Slots: 2}, false},
		"one row a group, by a parent": {fleet.Layout{Shape: fleet.Direct, Slots: 2}, true},
		"striped":                      {fleet.Layout{Shape: fleet.Striped, Slots: 2}, false},
		"ledger":                       {fleet.Layout{Shape: fleet.Ledger, Slots: 2}, false},
		"ledger, by a parent":          {fleet.Layout{Shape: fleet.Ledger, Slots: 2}, true},
		"awa 0.7":                      {fleet.Layout{Shape: fleet.Ledger, Release: fleet.Next, Slots: 2}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, c.layout)
			if c.layout.Release == fleet.Next {
				e.exec(`create table awa.queue_ring_rotations (generation bigint primary key, slot integer not null, rotated_at timestamptz not null default now())`)
			}
			all := e.operatorsRights(c.parent)
			for command, args := range [][]string{{"reconcile", "--check"}, {"reconcile"}, {"reconcile", "--trust", "--observe", "1s"}} {
				role := e.role("")
				url := e.server.URL(role, "", e.db)
				for _, r := range all {
					if r.from <= command {
						e.exec(r.grant(role))
					}
				}
				for _, r := range all {
					if r.from != command { // what takes more takes this as well
						continue
					}
					e.insertAt(1, "q", 1, false)
					e.exec(r.revoke(role))
					code, out, errs := e.commandOn(url, args...)
					require.NotContains(t, []int{0, 3}, code, "%v without %+v: %s", args, r, out+errs)
					require.Contains(t, errs, " lacks ", "%v without %+v", args, r)
					require.Error(t, unasked(t.Context(), url, command), "%v can do without %+v", args, r)
					e.exec(r.grant(role))
				}
				if command == checks {
					e.insertAt(1, "q", 1, false)
				}
				code, out, errs := e.commandOn(url, args...)
				require.Equal(t, map[bool]int{true: 3}[command == checks], code, out+errs)
				if command > checks {
					e.balanced(0)
				}
			}
			e.marker(true, 0)
		})
	}
}

// operatorOfFinish is a role that has what docs/privileges.md lists for finish, beside a daemon of another one; options are its attributes.
// What awa-counterd has made belongs to owner, of which it is a member.
func (e *env) operatorOfFinish(options string) (role, owner string) {
	e.t.Helper()
	role, owner = e.role(options), e.role("")
	for _, r := range e.operatorsRights(false) {
		e.exec(r.grant(role))
	}
	e.exec(fmt.Sprintf(`alter database %[1]s owner to %[2]s; alter schema awa_counterd owner to %[2]s; grant %[2]s to %[3]s;
		do $$ declare name text; begin
			for name in select quote_ident(pubname) from pg_publication loop execute 'alter publication ' || name || ' owner to %[2]s'; end loop;
			for name in select oid::regclass::text from pg_class where relnamespace = 'awa_counterd'::regnamespace and relkind = 'r' loop
				execute 'alter table ' || name || ' owner to %[2]s'; end loop; end $$`, e.db, owner, role))
	return role, owner
}

// The same of finish: a role that has just that hears of each of them that it lacks, before anything is done. REPLICATION is for a
// replication slot that is there when the daemon has gone.
func TestFinishNeedsNoMore(t *testing.T) {
	t.Parallel()
	for lifetime, options := range map[string]string{"permanent": "replication", "temporary": ""} {
		t.Run(lifetime, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 2})
			d := e.daemon("--checkpoint-interval", "200ms", "--slot-lifetime", lifetime)
			e.marker(true, 20*time.Second)
			role, owner := e.operatorOfFinish(options)
			e.marker(true, 20*time.Second) // the daemon looks again at a publication that has another owner
			url := e.server.URL(role, "", e.db)
			lacks := func(what, take, give string) {
				t.Helper()
				e.exec(take)
				code, out, errs := e.commandOn(url, "finish", "--quiet-period", "1s", "--timeout", "30s")
				require.Equal(t, refused, code, "without %s: %s", what, out+errs)
				require.Contains(t, errs, " lacks ", "without %s", what)
				e.exec(give)
			}
			for _, r := range e.operatorsRights(false) {
				lacks(r.what+" on "+r.on, r.revoke(role), r.grant(role))
			}
			lacks("the ownership", fmt.Sprintf("revoke %s from %s", owner, role), fmt.Sprintf("grant %s to %s", owner, role))
			if options != "" {
				lacks("REPLICATION", "alter role "+role+" noreplication", "alter role "+role+" replication")
			}
			e.marker(true, 0)
			require.NotContains(t, d.text(), "awa-counterd finish is running")
			code, out, errs := e.commandOn(url, "finish", "--quiet-period", "1s", "--timeout", "30s")
			require.Zero(t, code, out+errs)
			require.Zero(t, d.wait(10*time.Second))
			e.byBucket()
			e.marker(true, 0)
			e.nothingOfOurs()
		})
	}
}

// What finish takes beside the rights on awa's tables it could not do without: teardown, which removes the same, does not ask first.
func TestRemovalTakesWhatFinishAsksFor(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fleet.Layout{Shape: fleet.Ledger, Slots: 2})
	d := e.daemon("--checkpoint-interval", "200ms")
	e.marker(true, 20*time.Second)
	require.Zero(t, d.stop())
	role, owner := e.operatorOfFinish("replication")
	url := e.server.URL(role, "", e.db)
	for _, without := range []struct{ take, give, fails string }{ // in the order in which it removes them
		{"alter role " + role + " noreplication", "alter role " + role + " replication", "drop replication slot"},
		{"alter publication awa_counterd_awa owner to postgres", "alter publication awa_counterd_awa owner to " + owner, "drop publication awa_counterd_awa"},
		{"alter schema awa_counterd owner to postgres; grant usage on schema awa_counterd to " + role, "alter schema awa_counterd owner to " + owner, "drop schema awa_counterd"},
	} {
		e.exec(without.take)
		code, out, errs := e.commandOn(url, "teardown")
		require.Equal(t, refused, code, out+errs)
		require.Contains(t, errs, "this role may not "+without.fails)
		e.exec(without.give)
	}
	code, out, errs := e.commandOn(url, "teardown")
	require.Zero(t, code, out+errs)
	e.nothingOfOurs()
}
