package fleet

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// awa's migrator holds this advisory lock on its session while it works.
const migrationLock = 0x4157415f4d494752

// Migrate brings tables from what is found to the layout's shape: from no counter at all, from #306, from
// the striped shape, from an earlier release of the ledger. As awa's, each step commits by itself, up to
// 0.7, and what is there already is left alone.
func (l Layout) Migrate(ctx context.Context, c *pgx.Conn) error {
	have, err := found(ctx, c, l.Schema)
	if err != nil {
		return err
	}
	steps := l.steps()
	if l.form().ledger() && have.ledger {
		steps = []string{l.CounterDDL() + l.compatDDL(Ledger)} // nothing re-aggregates after migration 28
	}
	return l.run(ctx, c, steps)
}

// MigrateAgain is a migration over tables that are migrated already, as it happens after a binary before
// 0.6.2 has rewound awa's version (F§4.3): the counter is truncated and created again, the ledger is not, so
// that pending deltas count twice.
func (l Layout) MigrateAgain(ctx context.Context, c *pgx.Conn) error {
	return l.run(ctx, c, l.steps())
}

func (l Layout) run(ctx context.Context, c *pgx.Conn, steps []string) error {
	if !l.form().bucketed() { // #306 came with the workers' prepare_schema, not with a migration
		if _, err := c.Exec(ctx, strings.Join(steps, "\n")); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
		return nil
	}
	if l.form().deferred() {
		steps = []string{strings.Join(steps, "\n")}
	}
	if _, err := c.Exec(ctx, `select pg_advisory_lock($1)`, int64(migrationLock)); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	for _, sql := range steps {
		if _, err := c.Exec(ctx, sql); err != nil {
			_, _ = c.Exec(context.WithoutCancel(ctx), `select pg_advisory_unlock($1)`, int64(migrationLock))
			return fmt.Errorf("migrate: %w", err)
		}
	}
	if _, err := c.Exec(ctx, `select pg_advisory_unlock($1)`, int64(migrationLock)); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// steps are the migrations that matter here, each a transaction.
func (l Layout) steps() []string {
	backfill := `insert into %[1]s.queue_terminal_live_counts (%[2]s, live_terminal_count) select %[3]s, count(*) from %[1]s.done_entries %[4]s group by %[5]s on conflict do nothing;`
	if !l.form().bucketed() {
		return []string{l.CounterDDL() + fmt.Sprintf(backfill, l.Schema, l.form().key(), l.form().key(), "", "1, 2, 3, 4") + l.compatDDL(Direct) + l.autoTrust()}
	}
	// Migration 23, the installer: it counts what is there only into an empty table.
	empty := fmt.Sprintf("where not exists (select 1 from %s.queue_terminal_live_counts)", l.Schema)
	install := l.CounterDDL() + fmt.Sprintf(backfill, l.Schema, l.form().key(), bucketOf, empty, "1, 2, 3, 4, 5") + l.autoTrust()
	steps := []string{install, l.reaggregate(), l.reaggregate() + l.compatDDL(Striped)} // 23, 27, 28
	if l.form().ledger() {
		steps = append(steps, l.CounterDDL()+l.compatDDL(Ledger)) // 30 and later
	}
	return steps
}

const bucketOf = "ready_slot, queue, priority, enqueue_shard, mod(job_id, 256)::int2"

// reaggregate is what migrations 27 and 28 do: count everything again, pending deltas or not, and trust it.
// Whatever drift there was is over, and what is pending is the new one; it is recorded from the same snapshot.
func (l Layout) reaggregate() string {
	pending := "select 1"
	if l.form().ledger() {
		pending = fmt.Sprintf(`insert into fleet_log.uncounted_%[1]s select ready_slot, queue, priority, enqueue_shard, -sum(terminal_delta)
			from %[1]s.queue_terminal_count_deltas group by 1, 2, 3, 4 having sum(terminal_delta) <> 0`, l.Schema)
	}
	return fmt.Sprintf(`
		truncate %[1]s.queue_terminal_live_counts;
		with again as (insert into %[1]s.queue_terminal_live_counts (ready_slot, queue, priority, enqueue_shard, counter_bucket, live_terminal_count)
			select %[2]s, count(*) from %[1]s.done_entries group by 1, 2, 3, 4, 5
			on conflict (ready_slot, queue, priority, enqueue_shard, counter_bucket) do update set live_terminal_count = excluded.live_terminal_count)
		%[3]s;
		update %[1]s.queue_ring_state set terminal_counter_trusted_at = now() where singleton;
		insert into fleet_log.disturbed_%[1]s values (null, 'migration');`, l.Schema, bucketOf, pending)
}
