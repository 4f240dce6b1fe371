package checkpoint

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/awa-counterd/awa-counterd/internal/base/pg"
)

// What is kept of the trust marker's history. A change takes the place of the one that was made mostChanges before it, so
// nothing has to be deleted, and nothing grows.
const (
	mostChanges   = 500
	longestReason = 500 // characters

	// ToldFor is for how many days changes are told.
	ToldFor = 7
	// MostTold is how many are told at most.
	MostTold = 100
)

// MarkerChange is one time that the marker was set or cleared. Times are in seconds, by the server's clock.
type MarkerChange struct {
	Set    bool    `json:"set"`
	Ago    float64 `json:"ago"`
	Lasted float64 `json:"lasted"` // until the next change, or now
	Reason string  `json:"reason"` // why it was cleared
	Who    string  `json:"who"`    // the process that did it; "" where it is not known
}

// note is a statement that remembers changes: each row of from, in the order of its column k, which counts from 1. Further columns
// of from are at, is_set, reason and who. $1 is the awa schema.
func note(from string) string {
	return fmt.Sprintf(`insert into awa_counterd.marker_changes (awa_schema, place, number, at, is_set, reason, who)
		select $1, (last.number + f.k) %% %d, last.number + f.k, f.at, f.is_set, left(f.reason, %d), f.who
		from (select coalesce(max(number), 0) as number from awa_counterd.marker_changes where awa_schema = $1) last, %s f
		on conflict (awa_schema, place) do update set number = excluded.number, at = excluded.at, is_set = excluded.is_set,
			reason = excluded.reason, who = excluded.who`, mostChanges, longestReason, from)
}

// lastState is an expression that tells whether the marker of schema $1 was set after the last change that is remembered.
const lastState = `coalesce((select m.is_set from awa_counterd.marker_changes m where m.awa_schema = $1 order by m.number desc limit 1), false)`

const (
	setByOthers     = "set by somebody else"
	clearedByOthers = "cleared by somebody else"
)

// NoteOwn is a statement that remembers a change by the daemon that leads, if there is a row in the relation "changed": $1 is the
// awa schema, the reason is a parameter. What somebody else must have done before it is remembered as well.
func NoteOwn(set bool, reasonParam int) string {
	others := setByOthers
	if set {
		others = clearedByOthers
	}
	return note(fmt.Sprintf(`(select case when b.twice then w.k else 1 end as k, clock_timestamp() as at, w.is_set, w.reason, w.who
			from changed, (select %[1]s = %[2]t as twice) b,
			     (values (1, not %[2]t, '%[3]s', ''), (2, %[2]t, $%[4]d::text, %[5]s)) w (k, is_set, reason, who)
			where w.k = 2 or b.twice)`, lastState, set, others, reasonParam, leaderName))
}

// NoteMarker remembers a change that was made by itself. It is history: whoever calls it has done what was to be done,
// and goes on when this fails.
func NoteMarker(ctx context.Context, c Conn, awaSchema string, set bool, reason, who string) error {
	_, err := c.Exec(ctx, note(`(select 1 as k, clock_timestamp() as at, $2::boolean as is_set, $3::text as reason, $4::text as who)`), awaSchema, set, pg.Storable(reason), who)
	if err != nil {
		return fmt.Errorf("remember a change of the marker: %w", err)
	}
	return nil
}

// NoteState is a statement that remembers in which state the marker is, if the last change did not leave it in that one, on behalf
// of the instance $2 that leads; isSet and since are expressions that tell whether it is set, and since when, reason is one that may
// look at m.is_set.
func NoteState(isSet, since, reason, who string) string {
	return note(fmt.Sprintf(`(select 1 as k, case when isfinite(m.since) then m.since else clock_timestamp() end as at, m.is_set, %s as reason, %s as who
			from (select %s as is_set, %s as since) m where m.is_set is distinct from %s and %s)`, reason, who, isSet, since, lastState, Guard(1, 2)))
}

// leaderName is an expression for the process that leads.
var leaderName = `coalesce((select l.host || ' pid ' || l.pid from ` + newestOf("$1") + ` l), '')`

// NoteOwnState is NoteState after a change by the daemon that leads; the reason is $3.
func NoteOwnState(isSet string) string {
	return NoteState(isSet, "null::timestamptz", "$3::text", leaderName)
}

// SettleMarker remembers what somebody else has done to the marker. A change of the daemon's own is remembered by the statement that
// makes it, so this one sees both or neither. A lock on the history is not waited for: whoever calls it has better things to do.
func SettleMarker(ctx context.Context, c Conn, awaSchema, instance, isSet, since string) error {
	if err := settle(ctx, c, awaSchema, instance, isSet, since); err != nil {
		return fmt.Errorf("look whether the marker is as it was left: %w", err)
	}
	return nil
}

func settle(ctx context.Context, c Conn, awaSchema, instance, isSet, since string) error {
	tx, err := c.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if _, err := tx.Exec(ctx, `set local lock_timeout = '100ms'`); err != nil {
		return err
	}
	var changed bool
	err = tx.QueryRow(ctx, fmt.Sprintf(`select %s is distinct from %s and %s`, isSet, lastState, Guard(1, 2)), awaSchema, instance).Scan(&changed)
	if err != nil || !changed {
		return err
	}
	reason := fmt.Sprintf(`case when m.is_set then '%s' else '%s' end`, setByOthers, clearedByOthers)
	if _, err := tx.Exec(ctx, NoteState(isSet, since, reason, "''"), awaSchema, instance); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// History is the table of the marker's changes.
const History = "awa_counterd.marker_changes"

// MarkerChanges returns what is told of the changes, newest first.
func MarkerChanges(ctx context.Context, c Conn, awaSchema string) ([]MarkerChange, error) {
	there, err := historyExists(ctx, c)
	if err != nil {
		return nil, err
	}
	if !there {
		return []MarkerChange{}, nil
	}
	rows, err := c.Query(ctx, `select is_set, greatest(0, extract(epoch from statement_timestamp() - at))::float8,
			greatest(0, extract(epoch from coalesce(ends, statement_timestamp()) - at))::float8, reason, who
		from (select *, lead(at) over (order by number) as ends from awa_counterd.marker_changes where awa_schema = $1) c
		where coalesce(ends, statement_timestamp()) > statement_timestamp() - make_interval(days => $2) order by number desc limit $3`, awaSchema, ToldFor, MostTold)
	if err != nil {
		return nil, fmt.Errorf("read the changes of the marker: %w", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[MarkerChange])
	if err != nil {
		return nil, fmt.Errorf("read the changes of the marker: %w", err)
	}
	return out, nil
}
