package awa

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// TriggerOrRule is a trigger or a rule that can change what is written to a table.
type TriggerOrRule struct{ Kind, Name, Table string }

func (i TriggerOrRule) String() string { return fmt.Sprintf("%s %s on %s", i.Kind, i.Name, i.Table) }

// DropSQL is the statement that takes it away.
func (i TriggerOrRule) DropSQL() string {
	return fmt.Sprintf("DROP %s %s ON %s", strings.ToUpper(i.Kind), pgx.Identifier{i.Name}.Sanitize(), i.Table)
}

// TriggersAndRules lists triggers and rules on the tables that we write or count; awa has none there.
func (l *Layout) TriggersAndRules(ctx context.Context, q Querier) ([]TriggerOrRule, error) {
	return triggersAndRules(ctx, q, "any($1)", l.followed())
}

// triggersAndRules lists those on tables, an expression of $1. The one that is left out is awa's own, on the ring.
func triggersAndRules(ctx context.Context, q Querier, tables string, arg any) ([]TriggerOrRule, error) {
	rows, err := q.Query(ctx, fmt.Sprintf(`
		select 'trigger', tgname::text, tgrelid::regclass::text from pg_trigger
		where tgrelid = %[1]s and not tgisinternal and tgparentid = 0 and tgenabled <> 'D'
		  and tgname <> 'reject_compat_ring_cursor_update_after_flip'
		union all select 'rule', rulename::text, ev_class::regclass::text from pg_rewrite where ev_class = %[1]s and ev_enabled <> 'D'
		order by 3, 2`, tables), arg)
	if err != nil {
		return nil, fmt.Errorf("look for triggers and rules: %w", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[TriggerOrRule])
	if err != nil {
		return nil, fmt.Errorf("look for triggers and rules: %w", err)
	}
	return out, nil
}

// KeptError says that the marker is set although it was cleared, and by what that may be.
type KeptError struct{ By []TriggerOrRule }

func (e *KeptError) Error() string {
	const problem = "the marker is set although it was cleared"
	if len(e.By) == 0 {
		return problem + "; look for somebody who sets it again at once"
	}
	names := make([]string, 0, len(e.By))
	for _, one := range e.By {
		names = append(names, one.String())
	}
	return fmt.Sprintf("%s, by %s; run: %s", problem, strings.Join(names, ", "), e.By[0].DropSQL())
}

// WhoKeeps looks for what keeps the marker set in the table that RingTable or RingName names.
func WhoKeeps(ctx context.Context, q Querier, ring string) error {
	by, err := triggersAndRules(ctx, q, "$1::text::regclass", ring)
	if err != nil {
		return err
	}
	return &KeptError{by}
}
