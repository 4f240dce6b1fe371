package awa

import (
	"context"
	"fmt"
)

// deleteFunction is behind DELETE FROM awa.jobs, in every release.
const deleteFunction = "delete_job_compat"

// DeletesUncounted reports that it takes rows away and counts nothing: migrate() of a release before 0.6.2 takes a newer
// schema for one of 0.3, and puts its own function back. Then new binaries and psql write uncounted for as long as nobody
// migrates again.
func (l *Layout) DeletesUncounted(ctx context.Context, q Querier) (yes bool, err error) {
	err = q.QueryRow(ctx, `select exists (select 1 from pg_proc p join pg_namespace n on n.oid = p.pronamespace
		where n.nspname = 'awa' and p.proname = $1 and position($2 in p.prosrc) > 0 and position($3 in p.prosrc) = 0)`,
		deleteFunction, rowsTable, l.ifLedger(ledgerTable, countersTable)).Scan(&yes)
	if err != nil {
		return false, fmt.Errorf("look at awa.%s: %w", deleteFunction, err)
	}
	return yes, nil
}
